"""A node: the agent that runs pods, their network, the service proxy and DNS, over one API.

The same parts run in the server's process, over its verbs, and on a joining machine, over HTTPS.
"""

import asyncio
import errno
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.machinery.csi_volumes import MANAGED_ATTACH
from kubelite.api.machinery.local_volumes import STORAGE_PATH
from kubelite.api.machinery.node_flags import parse_labels, parse_taints
from kubelite.api.machinery.times import parse_duration
from kubelite.clock import Clock
from kubelite.config import AgentConfig, ClusterSettings, Config, NodeConfig
from kubelite.grpc.client import GrpcClient
from kubelite.ingress.node import NodeIngress
from kubelite.inotify import Inotify
from kubelite.net.dns import CannotListen
from kubelite.net.nftables import RulesUnavailable
from kubelite.network_config import listening_address
from kubelite.node.allocatable import (
    MEMORY_RESOURCE,
    InvalidReservation,
    amounts_of_pods,
    check,
)
from kubelite.node.configuration import ShownSettings, kubelet_configuration
from kubelite.node.cri.log_rotation import RotatedLogs
from kubelite.node.csi.paths import KubeletFolders
from kubelite.node.csi.service import CSIService
from kubelite.node.dependencies import Collaborators, NodeFacts
from kubelite.node.devices.node_devices import NodeDevices
from kubelite.node.devices.protocol import PodDevices
from kubelite.node.engine_choice import Wanted
from kubelite.node.engine_watch import EngineWatch
from kubelite.node.eviction.flags import eviction_settings, reservations
from kubelite.node.eviction.manager import EvictionManager
from kubelite.node.eviction.memory_notifier import KernelNotifier
from kubelite.node.eviction.oom_watch import SYSTEM_OOM, OOMWatch, Victim
from kubelite.node.eviction.pod_group import PodGroup
from kubelite.node.eviction.readings import HostReadings, MeasuredReadings
from kubelite.node.eviction.reclaim import EndedContainers
from kubelite.node.healthz import Healthz
from kubelite.node.http import NodeAPI
from kubelite.node.images.archives import LocalImages
from kubelite.node.images.collection import CollectionPolicy
from kubelite.node.images.collector import ImageCollector
from kubelite.node.images.credential_config import (
    CredentialConfigInvalid,
    read_credential_providers,
)
from kubelite.node.images.hosts_files import write_hosts
from kubelite.node.images.records import PullRecords
from kubelite.node.images.registries import (
    RegistriesInvalid,
    insecure_hosts,
    limitations,
    read_registries,
)
from kubelite.node.images.settings import ImageSettings
from kubelite.node.images.verification import Verification
from kubelite.node.kubelet import Kubelet
from kubelite.node.kubelet_folders import prepare
from kubelite.node.local_storage import LocalStorage
from kubelite.node.log_policy import read_dead_policy, read_log_policy
from kubelite.node.machine import Machine, read_host_file, read_machine
from kubelite.node.manifest_folder import ManifestFolder
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.node_door import NodeDoor
from kubelite.node.node_engine import NodeEngine
from kubelite.node.plugins.registry import PluginRegistry
from kubelite.node.pod_files import HostFiles
from kubelite.node.probes import NetworkProber
from kubelite.node.profiles import apparmor_enabled
from kubelite.node.registration import (
    NodeIdentity,
    NodeRegistration,
    allocatable_of,
    node_labels,
)
from kubelite.node.runtime import IdRange
from kubelite.node.shutdown.dbus import system_bus
from kubelite.node.shutdown.logind import Logind
from kubelite.node.shutdown.manager import NodeShutdown
from kubelite.node.shutdown.periods import periods_of
from kubelite.node.storage_room import StorageRoom
from kubelite.node.sysctls import allow_list
from kubelite.node.usage import HostMeasure
from kubelite.node.usage_files import Filesystem, read_filesystem
from kubelite.node.user_namespaces import host_ids
from kubelite.node.volumes.host import HostVolumes
from kubelite.node.volumes.local_folders import LocalFolders
from kubelite.node_network import NodeNetwork
from kubelite.offload import Offload
from kubelite.prerequisites import CannotStart, in_url
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.ingress.service import IngressService

log = logging.getLogger(__name__)

RESOLV_CONF = Path("/etc/resolv.conf")
DEFAULT_HOST = "ingress.kubelite.local"  # in the certificate for hosts that have none


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
        addresses: tuple[str, ...],
        tls: ssl.SSLContext,
        clock: Clock,
        randomness: Randomness,
        offload: Offload,
    ) -> None:
        """`addresses` are the node's, the primary one first (see `move`).

        `tls` is for its HTTPS endpoint and requests client certificates.
        """
        self._config = config
        self._cluster = cluster
        self._identities = identities
        self._addresses = addresses
        self._tls = tls
        self._clock = clock
        self._randomness = randomness
        self._offload = offload
        self._tasks = TaskSet()
        self._running = AsyncExitStack()  # the started components; stopped in reverse order
        self._network = NodeNetwork(
            config, cluster, identities.node, identities.network, clock, randomness, offload
        )
        self._followers: list[Callable[[tuple[str, ...]], None]] = []  # of the node's addresses

    @property
    def kubelet_port(self) -> int:
        """The port of the node's HTTPS endpoint, after `start`."""
        return self._api.port

    @property
    def address(self) -> str:
        """The address of the node, by which it is on this host; an external address may be another machine's."""
        return self._addresses[0]

    @property
    def pod_addresses(self) -> Sequence[str]:
        """The addresses of the node's pods, as the node gave them; the API is not asked."""
        return self._network.pods.pod_addresses

    def move(self, addresses: tuple[str, ...]) -> None:
        """Change the node's addresses: in its status, in its pods' status and in the overlay network."""
        self._addresses = addresses
        for follow in self._followers:
            follow(addresses)

    async def start(self) -> None:
        """Start the node. Raises NetworkForbidden, RulesUnavailable or CannotListen before any pod runs."""
        config = self._config
        data = config.agent_dir
        self._network.check()
        machine = await asyncio.to_thread(_machine, data)
        identity = identity_of(config, self._addresses)
        _check_reservations(identity, machine)
        self._running.push_async_callback(self._network.pods.stop)
        await self._choose_engine(identity.name, machine)
        self._events = self._recorder()
        self._running.push_async_callback(self._events.close)
        facts = facts_of(identity, machine, config, self._cluster)
        facts = replace(facts, pod_ids=await asyncio.to_thread(_pod_ids))
        self._records = PullRecords(self._clock, data / "image_manager")
        devices = NodeDevices(data, identity.name, self._identities.node, self._plugin)
        await devices.restore()
        kubelet = Kubelet(facts, self._collaborators(data, devices), static=self._static_pods())
        folders = await asyncio.to_thread(prepare, data, config.kubelet_root)
        csi = await self._csi(folders)
        plugins = PluginRegistry(
            folders.registry, {"CSIPlugin": csi.drivers, "DRAPlugin": devices}, self._plugin
        )
        door = NodeDoor(self._identities.node, identity.name)
        measure = HostMeasure(self._clock, data, machine.memory_bytes, self._runtime.image_folder)
        self._api = NodeAPI(
            identity.name,
            kubelet,
            self._runtime,
            self._clock,
            door,
            measure,
            configuration=_configuration(config, self._cluster),
        )
        self._api.files = HostFiles(data, self._volumes.claims_of, self._volumes.statistics)
        self._running.push_async_callback(self._api.stop)
        listening = listening_address(config.kubelet_address, self._cluster.cluster_cidr)
        await self._api.start(listening, config.kubelet_port, self._tls)
        registration = NodeRegistration(
            replace(identity, kubelet_port=self._api.port),
            machine,
            self._identities.node,
            self._clock,
            EngineWatch(self._runtime, kubelet, lambda: self._network.problem),
        )
        eviction = self._eviction(kubelet, measure, identity, machine)
        registration.pressure = lambda: eviction.conditions
        registration.storage_room = StorageRoom(config.local_storage_dir)
        eviction.on_change = registration.wake
        shutdown = self._node_shutdown(kubelet, registration)
        self._followers = [registration.move, kubelet.move]
        self._network.on_change = registration.wake
        _connect(devices, kubelet, registration)
        images = LocalImages(data / "images", self._runtime)

        async def before_pods() -> None:
            """Make the engine ready before pods, which would pull these images from a registry."""
            await self._engine.prepare()
            await images.load()
            await self._records.load(await self._runtime.images())

        kubelet.on_engine_change = registration.wake
        collector = eviction.images = self._collector(kubelet)
        collector.is_kept = images.has
        # Before the first pods, which would pull those images from a registry, and use others that they may not use.
        kubelet.before_pods = before_pods
        proxy = self._network.service_proxy()
        self._running.push_async_callback(proxy.stop)
        await proxy.start()
        self._network.connect(proxy)
        self.move(self._addresses)  # it may have changed during the start
        parts = {
            "node registration": registration.run,
            "service proxy": proxy.run,
            "local storage": self._local.run,
            "eviction": eviction.run,
            "kernel log": OOMWatch(self._out_of_memory).run,
            "limit of all pods": self._pod_group(identity, machine).run,
            "images from files": images.run,
            "image garbage collection": collector.run,
            "CSI drivers": csi.run,
            "plugins": plugins.run,
            "devices": devices.run,
            "ingress": self._ingress().run,
            "kubelet": lambda: self._run_pods(kubelet),
        }
        if config.healthz_port:
            parts["healthz"] = Healthz(config.healthz_bind_address, config.healthz_port).run
        if shutdown is not None:
            parts["shutdown of the node"] = shutdown.run
        for part, run in parts.items():
            self._tasks.supervise(run, name=part)

    async def _choose_engine(self, name: str, machine: Machine) -> None:
        """Choose the container engine of the node `name`, and read how it gets its images."""
        config = self._config
        self._image_settings = await self._read_image_settings()
        insecure = insecure_hosts(self._image_settings.registries)
        self._engine = NodeEngine(
            config.agent_dir,
            config.run_dir,
            Wanted(*config.wanted_engine),
            logs=Path(config.container_log_dir),
            log_policy=read_log_policy(
                config.container_log_max_size, config.container_log_max_files
            ),
            offload=self._offload,
            insecure=insecure,
        )
        self._running.push_async_callback(self._engine.close)
        self._runtime = await self._engine.start(
            name, machine.architecture, self._clock, self._randomness
        )

    def _eviction(
        self, kubelet: Kubelet, measure: HostMeasure, identity: NodeIdentity, machine: Machine
    ) -> EvictionManager:
        """Return what evicts the pods of a kubelet, which then asks it about each new pod."""
        reserved = identity.reservations
        allocatable = reserved.for_pods(MEMORY_RESOURCE, machine.memory_bytes)
        readings = HostReadings(
            MeasuredReadings(measure, allocatable),
            self._config.agent_dir,
            self._clock,
            self._runtime.image_folder,
        )
        manager = EvictionManager(
            eviction_settings(self._config),
            identity.name,
            kubelet.workers,
            readings,
            self._events,
            notifier=KernelNotifier(),
            containers=EndedContainers(kubelet.workers),
        )
        kubelet.workers.admission_checks.append(manager.refusal)
        return manager

    def _pod_group(self, identity: NodeIdentity, machine: Machine) -> PodGroup:
        reserved = identity.reservations
        amounts = amounts_of_pods(reserved, machine)
        return PodGroup(amounts, identity.name, self._events)

    def _out_of_memory(self, victim: Victim) -> None:
        node = ObjectReference(
            kind="Node", name=self._config.name_of_node, uid=self._config.name_of_node
        )
        self._events.event(node, WARNING, SYSTEM_OOM, victim.message())

    async def _read_image_settings(self) -> ImageSettings:
        """Return how the node gets its images. Raises CannotStart."""
        config = self._config
        has_default = not config.disable_default_registry_endpoint
        try:
            registries = await asyncio.to_thread(
                read_registries, config.registries_file, has_default=has_default
            )
        except RegistriesInvalid as error:
            raise CannotStart(str(error)) from error
        certificates = config.agent_dir / "containerd" / "certs.d"
        try:
            await asyncio.to_thread(write_hosts, certificates, registries)
        except OSError as error:
            raise CannotStart(f"cannot write {certificates}: {error.strerror}") from error
        for limitation in limitations(registries):
            log.warning("registries.yaml: %s", limitation)
        verification = Verification(
            config.image_pull_credentials_verification_policy,
            config.preloaded_images_verification_allowlist,
        )
        collection = CollectionPolicy(
            config.image_gc_high_threshold,
            config.image_gc_low_threshold,
            parse_duration(config.minimum_image_ttl_duration),
            parse_duration(config.image_maximum_gc_age),
        )
        rate = (config.registry_qps, config.registry_burst)
        try:
            providers = await asyncio.to_thread(
                read_credential_providers,
                config.image_credential_provider_config,
                config.image_credential_provider_bin_dir,
            )
        except CredentialConfigInvalid as error:
            raise CannotStart(f"failed to register CRI auth plugins: {error}") from error
        return ImageSettings(
            config.pulls_at_once, registries, verification, collection, *rate, providers
        )

    def _collector(self, kubelet: Kubelet) -> ImageCollector:
        async def disk() -> Filesystem | None:
            folder = await self._runtime.image_folder()
            return None if folder is None else await asyncio.to_thread(read_filesystem, folder)

        return ImageCollector(
            self._config.name_of_node,
            self._runtime,
            self._records,
            self._clock,
            self._events,
            wanted=kubelet.wanted_images,
            disk=disk,
            settings=self._image_settings,
        )

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
        dns = DNSSettings(self._cluster.dns_addresses, self._cluster.cluster_domain)
        folders = LocalFolders(config.local_storage_dir)
        local = self._local = LocalStorage(config.name_of_node, client, folders, self._events)
        volumes = self._volumes = HostVolumes(
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
            self._network.pods,
            volumes,
            NetworkProber(self._runtime),
            self._clock,
            self._events,
            self._pod_logs(),
            self._image_settings,
            self._records,
            devices,
        )

    def _node_shutdown(
        self, kubelet: Kubelet, registration: NodeRegistration
    ) -> NodeShutdown | None:
        """Return what ends the pods before the host shuts down, or None if it does not wait for them."""
        config = self._config
        periods = periods_of(
            config.shutdown_grace_period,
            config.shutdown_grace_period_critical_pods,
            config.shutdown_grace_period_by_pod_priority,
        )
        if not periods:
            return None
        delay_seconds = sum(period.seconds for period in periods)
        bus = system_bus(os.environ)
        shutdown = NodeShutdown(
            lambda: Logind(bus, delay_seconds),
            periods,
            kubelet.workers,
            self._events,
            config.name_of_node,
            self._clock,
            registration.wake,
        )
        registration.shutdown_error = lambda: shutdown.error
        kubelet.workers.admission_checks.append(shutdown.refusal)
        return shutdown

    def _static_pods(self) -> ManifestFolder:
        config = self._config
        return ManifestFolder(
            config.manifest_path, config.name_of_node, _complete_pod, self._clock, self._offload
        )

    def _plugin(self, socket: Path) -> GrpcClient:
        """Return a client of a plugin, whose large answers are decoded off the loop."""
        return GrpcClient(socket, offload=self._offload)

    async def _csi(self, folders: KubeletFolders) -> CSIService:
        """Return the node's side of CSI, with what was mounted before the start."""
        csi = CSIService(
            self._config.name_of_node,
            folders,
            self._identities.node,
            self._clock,
            self._events,
            self._volumes,
            self._plugin,
        )
        await csi.restore()
        return csi

    def _pod_logs(self) -> RotatedLogs:
        config, notices = self._config, Inotify()
        logs = RotatedLogs(
            Path(config.container_log_dir),
            self._runtime,
            read_log_policy(config.container_log_max_size, config.container_log_max_files),
            self._clock,
            notices,
        )
        self._running.callback(notices.close)
        self._running.push_async_callback(logs.close)
        return logs

    def _ingress(self) -> NodeIngress:
        """Return what serves Ingresses; its parts are imported with the first of them."""

        def make() -> "IngressService":
            from kubelite.api.auth.self_signed import self_signed
            from kubelite.ingress.front import FrontSettings
            from kubelite.ingress.service import IngressService

            config, identities = self._config, self._identities
            return IngressService(
                node=identities.node,
                network=identities.network,
                node_name=config.name_of_node,
                events=EventRecorder(
                    identities.network,
                    self._clock,
                    self._randomness,
                    component="kubelite-ingress",
                    host=config.name_of_node,
                ),
                offload=self._offload,
                settings=FrontSettings(
                    config.ingress_http_port,
                    config.ingress_https_port,
                    access_log=config.ingress_access_log,
                    own_ports=_own_ports(config),
                ),
                default_certificate=lambda: self_signed(DEFAULT_HOST, self._clock.now()),
            )

        return NodeIngress(self._identities.network, make)

    async def _run_pods(self, kubelet: Kubelet) -> None:
        """Set up network and DNS, then run pods."""
        async with self._network.serving(self._addresses) as runs:
            self._followers.append(self._network.move)
            try:
                async with (
                    self._engine.networking(self._network.pods, kubelet.memories),
                    asyncio.TaskGroup() as group,
                ):
                    for run in (kubelet.run, *runs):
                        group.create_task(run())
            finally:
                self._followers.remove(self._network.move)

    async def stop(self) -> None:
        """Stop the started components; containers, network links and rules stay."""
        await self._tasks.stop()
        await self._running.aclose()


NO_ROOM = errno.ENOSPC, errno.EDQUOT, errno.EROFS


@contextmanager
def node_failures(config: Config | AgentConfig) -> Iterator[None]:
    """Translate what keeps a node from starting to CannotStart, one line for the user."""
    try:
        yield
    except (RulesUnavailable, CannotListen, PermissionError) as error:
        raise CannotStart(f"cannot set up the node's network: {error}") from error
    except OSError as error:
        if error.filename is not None:
            raise CannotStart(f"cannot use {error.filename}: {error.strerror}") from error
        if error.errno in NO_ROOM:
            raise CannotStart(f"cannot write to {config.agent_dir}: {error.strerror}") from error
        raise CannotStart(
            f"cannot listen on {in_url(config.kubelet_address)}:{config.kubelet_port}: "
            f"{os.strerror(error.errno or 0)}; see --kubelet-port"
        ) from error


def _own_ports(config: Config | AgentConfig) -> dict[int, str]:
    """Return the ports of nodes that no listener of a Gateway may have, and whose they are."""
    if isinstance(config, Config):
        api_ports = [config.https_listen_port]
    else:
        api_ports = [urlsplit(url).port or 443 for url in config.servers]
    return {**dict.fromkeys(api_ports, "the API server"), config.kubelet_port: "the node agent"}


def identity_of(config: NodeConfig, addresses: tuple[str, ...]) -> NodeIdentity:
    """Return the name, addresses, labels and taints under which a node registers."""
    return NodeIdentity(
        config.name_of_node,
        addresses,
        config.kubelet_port,
        labels=parse_labels(config.node_label),
        taints=parse_taints(config.node_taint),
        external_addresses=config.node_external_ips,
        annotations={STORAGE_PATH: str(config.local_storage_dir), MANAGED_ATTACH: "true"},
        pods_limit=config.max_pods,
        reservations=reservations(config),
    )


def _check_reservations(identity: NodeIdentity, machine: Machine) -> None:
    try:
        check(identity.reservations, machine)
    except InvalidReservation as error:
        raise CannotStart(str(error)) from None


def _connect(devices: NodeDevices, kubelet: Kubelet, registration: NodeRegistration) -> None:
    """Let pods and the node's status follow the node's devices."""
    devices.on_health = kubelet.wake
    devices.on_driver = kubelet.retry
    devices.pods = kubelet.workers.active_pods
    plugins = devices.plugins
    plugins.active = kubelet.active_pods
    plugins.on_capacity = registration.wake
    registration.devices = lambda: plugins.capacity


def facts_of(
    identity: NodeIdentity, machine: Machine, config: NodeConfig, cluster: ClusterSettings
) -> NodeFacts:
    """Return the facts about the node that pods are given and admitted by."""
    return NodeFacts(
        identity.name,
        identity.addresses,
        allocatable_of(machine, identity.pods_limit, identity.reservations),
        machine.memory_bytes,
        node_labels(identity, machine),
        cluster.cluster_domain,
        allow_list(machine.kernel, config.allowed_unsafe_sysctls),
        apparmor_enabled(),
        dead_containers=read_dead_policy(
            config.maximum_dead_containers_per_container,
            config.minimum_container_ttl_duration,
            config.maximum_dead_containers,
        ),
        recursive_read_only=machine.recursive_read_only,
    )


def _configuration(config: Config | AgentConfig, cluster: ClusterSettings) -> dict[str, Any]:
    by_priority = config.shutdown_grace_period_by_pod_priority
    shown = ShownSettings(
        address=config.kubelet_address,
        port=config.kubelet_port,
        static_pod_path=str(config.manifest_path),
        cluster_domain=cluster.cluster_domain,
        cluster_dns=cluster.dns_addresses,
        allowed_unsafe_sysctls=config.allowed_unsafe_sysctls,
        shutdown_periods=periods_of("0s", "0s", by_priority) if by_priority else (),
        shutdown_grace_period=config.shutdown_grace_period,
        shutdown_grace_period_critical_pods=config.shutdown_grace_period_critical_pods,
        pod_log_dir=config.container_log_dir,
        policies={
            "cpu": config.cpu_manager_policy,
            "memory": config.memory_manager_policy,
            "topology": config.topology_manager_policy,
            "swap": config.memory_swap_behavior,
        },
        flags=config,
    )
    return kubelet_configuration(shown)


def _pod_ids() -> IdRange:
    try:
        return host_ids()
    except (ValueError, OSError) as error:
        raise CannotStart(f"cannot find ids for user namespaces of pods: {error}") from error


def _complete_pod(body: dict[str, Any]) -> Pod:
    # The rules of a pod are much code, which a node without static pods does not need.
    from kubelite.api.registry.manifests import complete_pod

    return complete_pod(body)


def _machine(data: Path) -> Machine:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    return read_machine(data)
