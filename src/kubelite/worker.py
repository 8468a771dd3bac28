"""A node: the agent that runs pods, their network, the service proxy and DNS, over one API.

The same parts run in the server's process, over its verbs, and on a joining machine, over HTTPS.
"""

import asyncio
import ipaddress
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.errors import Forbidden, Unauthorized
from kubelite.api.kinds.authentication import TokenReview, TokenReviewSpec
from kubelite.api.kinds.authorization import (
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.machinery.local_volumes import STORAGE_PATH
from kubelite.api.machinery.node_flags import parse_labels, parse_taints
from kubelite.clock import Clock
from kubelite.config import AgentConfig, ClusterSettings, Config, NodeConfig
from kubelite.grpc.client import GrpcClient
from kubelite.net.dns import CannotListen, DNSServer
from kubelite.net.nftables import RulesUnavailable
from kubelite.net.overlay import Overlay
from kubelite.net.pod_network import PodNetwork
from kubelite.net.records import ZoneSettings
from kubelite.net.ruleset import ProxySettings
from kubelite.net.service_proxy import ServiceProxy
from kubelite.net.upstream import HostServers, Upstream
from kubelite.node.container_owner import ensure_owner
from kubelite.node.dependencies import Collaborators, NodeFacts
from kubelite.node.devices.manager import DeviceManager
from kubelite.node.devices.protocol import PodDevices
from kubelite.node.docker import DockerRuntime
from kubelite.node.engine import EngineFolders, OwnEngine, find_socket
from kubelite.node.engine_watch import EngineWatch
from kubelite.node.http import NodeAPI, NodeRequest
from kubelite.node.kubelet import Kubelet
from kubelite.node.local_storage import LocalStorage
from kubelite.node.log_links import LogLinks
from kubelite.node.machine import Machine, read_host_file, read_machine
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.probes import NetworkProber
from kubelite.node.profiles import Profiles, apparmor_enabled
from kubelite.node.registration import (
    NodeIdentity,
    NodeRegistration,
    allocatable_of,
    node_labels,
)
from kubelite.node.runtime import ContainerRuntime, EngineUnavailable, RuntimeFailure
from kubelite.node.sysctls import allow_list
from kubelite.node.usage import HostMeasure
from kubelite.node.volumes.host import HostVolumes
from kubelite.node.volumes.local_folders import LocalFolders
from kubelite.offload import Offload
from kubelite.prerequisites import CannotStart, in_url
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

RESOLV_CONF = Path("/etc/resolv.conf")
DNS_PORT = 53
NO_RANGE = "Network plugin returns error: no pod CIDR is assigned to the node"


class Identities(Struct, frozen=True):
    """The clients of a node's components, each with its own identity."""

    node: Client  # system:node:NAME
    network: Client  # system:kube-proxy


class Worker:
    """One real node. `start` does not wait for engine and network; the node's status reports what is missing."""

    def __init__(
        self,
        config: Config | AgentConfig,
        cluster: ClusterSettings,
        identities: Identities,
        *,
        address: str,
        tls: ssl.SSLContext,
        clock: Clock,
        randomness: Randomness,
        offload: Offload,
    ) -> None:
        """`address` is the node's (see `move`); `tls` is for its HTTPS endpoint and requests client certificates."""
        self._config = config
        self._cluster = cluster
        self._identities = identities
        self._address = address
        self._tls = tls
        self._clock = clock
        self._randomness = randomness
        self._offload = offload
        self._tasks = TaskSet()
        self._network_error = NO_RANGE
        self._running = AsyncExitStack()  # the started components; stopped in reverse order
        self._network = PodNetwork(local_addresses=(cluster.dns_address,))
        self._followers: list[Callable[[str], None]] = []  # called with a new address of the node

    @property
    def kubelet_port(self) -> int:
        """The port of the node's HTTPS endpoint, after `start`."""
        return self._api.port

    @property
    def address(self) -> str:
        """The address of the node, by which it is on this host; an external address may be another machine's."""
        return self._address

    @property
    def pod_addresses(self) -> Sequence[str]:
        """The addresses of the node's pods, as the node gave them; the API is not asked."""
        return self._network.pod_addresses

    def move(self, address: str) -> None:
        """Change the node's address: in its status, in its pods' status and in the overlay network."""
        self._address = address
        for follow in self._followers:
            follow(address)

    async def start(self) -> None:
        """Start the node. Raises NetworkForbidden, RulesUnavailable or CannotListen before any pod runs."""
        config = self._config
        data = config.agent_dir
        machine = await asyncio.to_thread(_machine, data)
        identity = identity_of(config, self._address)
        self._running.push_async_callback(self._network.stop)
        self._runtime = await self._engine(data, machine)
        self._running.push_async_callback(self._runtime.close)
        self._events = self._recorder()
        self._running.push_async_callback(self._events.close)
        facts = facts_of(identity, machine, config, self._cluster)
        devices = DeviceManager(data / "device-plugins", GrpcClient)
        await devices.restore()
        kubelet = Kubelet(facts, self._collaborators(data, devices))
        door = NodeDoor(self._identities.node, identity.name)
        measure = HostMeasure(self._clock, data, machine.memory_bytes)
        self._api = NodeAPI(identity.name, kubelet, self._runtime, self._clock, door, measure)
        self._running.push_async_callback(self._api.stop)
        await self._api.start(config.kubelet_address, config.kubelet_port, self._tls)
        registration = self._registration = NodeRegistration(
            replace(identity, kubelet_port=self._api.port),
            machine,
            self._identities.node,
            self._clock,
            EngineWatch(self._runtime, kubelet, lambda: self._network_error),
        )
        self._followers = [
            lambda address: registration.move((address,)),
            lambda address: kubelet.move((address,)),
        ]
        devices.active = kubelet.active_pods
        devices.on_health = kubelet.wake
        devices.on_capacity = registration.wake
        registration.devices = lambda: devices.capacity
        images = LocalImages(data / "images", self._runtime)

        def engine_changed() -> None:
            registration.wake()
            if not kubelet.engine_error:
                self._tasks.start(images.load(), name="load images")

        kubelet.on_engine_change = engine_changed
        kubelet.before_pods = (
            images.load
        )  # before the first pods, which would pull these images from a registry
        proxy = self._service_proxy()
        self._running.push_async_callback(proxy.stop)
        await proxy.start()
        self._network.listener = proxy  # a pod's policies are in force before its containers start
        self.move(self._address)  # it may have changed during the start
        self._tasks.supervise(registration.run, name="node registration")
        self._tasks.supervise(proxy.run, name="service proxy")
        self._tasks.supervise(self._local.run, name="local storage")
        self._tasks.supervise(devices.run, name="device plugins")
        self._tasks.supervise(lambda: self._run_pods(kubelet), name="kubelet")

    async def _engine(self, data: Path, machine: Machine) -> DockerRuntime:
        """Find the container engine and return its client; our own engine, if chosen, runs in the background."""
        config = self._config
        folders = EngineFolders(data / "docker", config.run_dir / "docker")
        given = Path(config.docker_socket) if config.docker_socket else None
        socket = await find_socket(given, folders)
        if socket == folders.socket:
            self._tasks.supervise(OwnEngine(folders).run, name="container engine")
        profiles = Profiles(data / "seccomp")
        owner = await asyncio.to_thread(ensure_owner, data, config.name_of_node, self._randomness)
        return DockerRuntime(socket, owner, machine.architecture, self._clock, profiles)

    def _recorder(self) -> EventRecorder:
        return EventRecorder(
            self._identities.node,
            self._clock,
            self._randomness,
            component="kubelet",
            host=self._config.name_of_node,
        )

    def _collaborators(self, data: Path, devices: PodDevices) -> Collaborators:
        client, config = self._identities.node, self._config
        dns = DNSSettings((self._cluster.dns_address,), self._cluster.cluster_domain)
        folders = LocalFolders(config.local_storage_dir)
        local = self._local = LocalStorage(config.name_of_node, client, folders, self._events)
        volumes = HostVolumes(
            data,
            client,
            self._clock,
            self._randomness,
            dns,
            host_resolver=lambda: read_host_file(RESOLV_CONF),
            local=local,
        )
        self._running.callback(volumes.close)
        return Collaborators(
            client,
            self._runtime,
            self._network,
            volumes,
            NetworkProber(self._runtime),
            self._clock,
            self._events,
            LogLinks(Path(config.container_log_dir)),
            devices,
        )

    def _service_proxy(self) -> ServiceProxy:
        cluster = self._cluster
        settings = ProxySettings(
            self._config.name_of_node,
            cluster.cluster_cidr,
            cluster.service_cidr,
            local_addresses=(cluster.dns_address,),
        )
        events = EventRecorder(
            self._identities.network, self._clock, self._randomness, component="kube-proxy"
        )
        return ServiceProxy(self._identities.network, settings, self._offload, events)

    async def _run_pods(self, kubelet: Kubelet) -> None:
        """Wait for the node's pod CIDR, set up network and DNS, then run pods."""
        pod_cidr = await self._pod_cidr()
        await self._network.start(pod_cidr)
        name = self._config.name_of_node
        overlay = Overlay(self._identities.network, name, self._address, pod_cidr)
        self._followers.append(overlay.move)
        dns = self._dns_server()
        await dns.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(dns.run())
                group.create_task(overlay.run())
                group.create_task(kubelet.run())
        finally:
            self._followers.remove(overlay.move)
            await dns.stop()

    async def _pod_cidr(self) -> str:
        """Wait until the control plane has assigned a pod CIDR to this node, and return it."""
        name = self._config.name_of_node
        given: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def look(_: Node | None, node: Node | None) -> None:
            if node is not None and node.spec.podCIDR and not given.done():
                given.set_result(node.spec.podCIDR)

        mirror = self._identities.node.mirror(Node, field_selector=f"metadata.name={name}")
        unsubscribe = mirror.subscribe(look)
        try:
            cidr = await given
            self._network_error = ""
            self._registration.wake()
            return cidr
        finally:
            unsubscribe()

    def _dns_server(self) -> DNSServer:
        cluster = self._cluster
        networks = tuple(
            ipaddress.IPv4Network(cidr) for cidr in (cluster.cluster_cidr, cluster.service_cidr)
        )
        domain = tuple(label.encode() for label in cluster.cluster_domain.split("."))
        upstream = Upstream(HostServers(own_addresses=(cluster.dns_address,)), self._randomness)
        return DNSServer(
            self._identities.network,
            upstream,
            ZoneSettings(domain, networks),
            [(cluster.dns_address, DNS_PORT)],
        )

    async def stop(self) -> None:
        """Stop the started components; containers, network links and rules stay."""
        await self._tasks.stop()
        await self._running.aclose()


@contextmanager
def node_failures(config: Config | AgentConfig) -> Iterator[None]:
    """Translate what keeps a node from starting to CannotStart, one line for the user."""
    try:
        yield
    except (RulesUnavailable, CannotListen, PermissionError) as error:
        raise CannotStart(f"cannot set up the node's network: {error}") from error
    except OSError as error:
        raise CannotStart(
            f"cannot listen on {in_url(config.kubelet_address)}:{config.kubelet_port}: "
            f"{os.strerror(error.errno or 0)}; see --kubelet-port"
        ) from error


def identity_of(config: NodeConfig, address: str) -> NodeIdentity:
    """Return the name, address, labels and taints under which a node registers."""
    return NodeIdentity(
        config.name_of_node,
        (address,),
        config.kubelet_port,
        labels=parse_labels(config.node_label),
        taints=parse_taints(config.node_taint),
        external_address=config.node_external_ip,
        annotations={STORAGE_PATH: str(config.local_storage_dir)},
    )


def facts_of(
    identity: NodeIdentity, machine: Machine, config: NodeConfig, cluster: ClusterSettings
) -> NodeFacts:
    """Return the facts about the node that pods are given and admitted by."""
    return NodeFacts(
        identity.name,
        identity.addresses,
        allocatable_of(machine, identity.pods_limit),
        machine.memory_bytes,
        node_labels(identity, machine),
        cluster.cluster_domain,
        allow_list(machine.kernel, config.allowed_unsafe_sysctls),
        apparmor_enabled(),
    )


class NodeDoor:
    """Delegated authentication and authorization of node requests (TokenReview and SubjectAccessReview)."""

    def __init__(self, client: Client, node_name: str) -> None:
        self._client = client
        self._node_name = node_name

    async def __call__(self, asked: NodeRequest) -> None:
        """Return if the request is allowed. Raises Unauthorized, Forbidden, or another APIError of the reviews."""
        user, groups = asked.user, asked.groups
        if asked.bearer_token:
            user, groups = await self._who(asked.bearer_token)
        if not user:
            raise Unauthorized("Unauthorized")
        review = SubjectAccessReview(
            spec=SubjectAccessReviewSpec(
                user=user,
                groups=[*groups, "system:authenticated"],
                resourceAttributes=ResourceAttributes(
                    verb=asked.verb,
                    version="v1",
                    resource="nodes",
                    subresource=asked.subresource,
                    name=self._node_name,
                ),
            )
        )
        answer = await self._client.create(review)
        if not answer.status.allowed:
            what = f"verb={asked.verb}, resource=nodes, subresource={asked.subresource}"
            raise Forbidden(f"Forbidden (user={user}, {what})")

    async def _who(self, token: str) -> tuple[str, tuple[str, ...]]:
        review = await self._client.create(TokenReview(spec=TokenReviewSpec(token=token)))
        user = review.status.user
        if not review.status.authenticated or user is None:
            raise Unauthorized("Unauthorized")
        return user.username, tuple(user.groups)


class LocalImages:
    """Image archives (``*.tar``) in a folder, loaded into the engine once per modification."""

    def __init__(self, folder: Path, runtime: ContainerRuntime) -> None:
        self._folder = folder
        self._runtime = runtime
        self._loaded: set[tuple[Path, float]] = set()

    async def load(self) -> None:
        """Load the archives that are new or were modified; a failure is logged and not retried."""
        for path, changed in await asyncio.to_thread(_archives, self._folder):
            if (path, changed) in self._loaded:
                continue
            self._loaded.add((path, changed))
            try:
                await self._runtime.load(path)
            except (OSError, RuntimeFailure, EngineUnavailable) as error:
                log.warning("cannot load image", extra={"file": path, "reason": str(error)})
            else:
                log.info("image loaded", extra={"file": path.name})


def _machine(data: Path) -> Machine:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return read_machine(data)


def _archives(folder: Path) -> list[tuple[Path, float]]:
    if not folder.is_dir():
        return []
    return [(path, path.stat().st_mtime) for path in sorted(folder.glob("*.tar"))]
