"""The network of a node: what connects its pods, the rules of services and policies, DNS and announced addresses."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubelite.api.auth.secret_files import write_file
from kubelite.api.client.events import EventRecorder
from kubelite.api.client.protocol import Client, Mirror
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.clock import Clock
from kubelite.config import ClusterSettings, NodeConfig
from kubelite.folder_watch import FolderWatch
from kubelite.net.announcer import Announcer
from kubelite.net.dns import DNSServer
from kubelite.net.dns_loops import LoopGuard
from kubelite.net.families import IPV6, family_of
from kubelite.net.ipv6_host import ipv6_problem
from kubelite.net.overlay import Overlay
from kubelite.net.pod_network import PodNetwork
from kubelite.net.records import ZoneSettings
from kubelite.net.ruleset import ProxySettings
from kubelite.net.service_proxy import ServiceProxy
from kubelite.net.upstream import HostServers, Upstream
from kubelite.network_config import CNI_NETWORK, DNS, KUBE_PROXY, NETWORK_POLICY, parts
from kubelite.node.machine import read_host_file
from kubelite.offload import Offload
from kubelite.prerequisites import CannotStart
from kubelite.randomness import Randomness

if TYPE_CHECKING:
    from kubelite.net.cni.network import CniNetwork

log = logging.getLogger(__name__)

DNS_PORT = 53
RANGE_SECONDS = 10.0  # that a node which had a pod CIDR before waits for the API to tell it
NO_RANGE = "Network plugin returns error: no pod CIDR is assigned to the node"

Run = Callable[[], Coroutine[Any, Any, None]]


class RangeChanged(Exception):
    """The node was assigned another pod CIDR."""


class NodeNetwork:
    """The parts of a node's network, composed; `serving` starts them."""

    def __init__(
        self,
        config: NodeConfig,
        cluster: ClusterSettings,
        node: Client,
        client: Client,
        clock: Clock,
        randomness: Randomness,
        offload: Offload,
    ) -> None:
        """`node` has the node's identity, `client` that of its network."""
        self.on_change: Callable[[], None] = lambda: None  # called when `problem` has changed
        self.problem = NO_RANGE  # why pods cannot be connected; empty: they can
        self._config = config
        self._cluster = cluster
        self._node = node
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._offload = offload
        self._followers: list[Callable[[tuple[str, ...]], None]] = []  # of the node's addresses
        self.pods = self._pod_network()

    def check(self) -> None:
        """Raise CannotStart if this host cannot have the families of the cluster."""
        cluster = self._cluster
        has_ipv6 = any(family_of(text) is IPV6 for text in cluster.cluster_cidrs)
        if has_ipv6 and (problem := ipv6_problem()):
            ranges = f"--cluster-cidr {cluster.cluster_cidr}"
            raise CannotStart(f"cannot give pods addresses of IPv6 ({ranges}): {problem}")

    def move(self, addresses: tuple[str, ...]) -> None:
        """Follow the node to other addresses."""
        for follow in self._followers:
            follow(addresses)

    def service_proxy(self) -> ServiceProxy:
        """Return what makes the rules of services and policies."""
        events = self._events("kube-proxy")
        disabled = self._cluster.disabled
        return ServiceProxy(
            self._client,
            self._proxy_settings(),
            self._offload,
            events,
            has_services=KUBE_PROXY not in disabled,
            has_policies=NETWORK_POLICY not in disabled,
        )

    def connect(self, proxy: ServiceProxy) -> None:
        """Have the rules of a pod in force before its containers start. Call it before `serving`."""
        self.pods.listener = proxy
        if isinstance(self.pods, PodNetwork):
            self.pods.bindings = proxy.bindings

    @asynccontextmanager
    async def serving(self, addresses: tuple[str, ...]) -> AsyncIterator[Sequence[Run]]:
        """Set up what connects pods, and DNS; yield what is to run while there are pods.

        `addresses` are the node's. Waits for pod CIDRs where kubelite connects pods. Raises NetworkForbidden and
        CannotListen.
        """
        announcers = [
            Announcer(self._client, settings, addresses) for settings in self._proxy_settings()
        ]
        followers: list[Callable[[tuple[str, ...]], None]] = [one.move for one in announcers]
        runs: list[Run] = [announcer.run for announcer in announcers]
        if isinstance(self.pods, PodNetwork):
            pod_cidrs = await self._pod_cidrs()
            await self.pods.start(*pod_cidrs)
            overlay = Overlay(self._client, self._config.name_of_node, addresses, *pod_cidrs)
            followers.append(overlay.move)
            runs += [overlay.run, lambda: self._leave_ranges(pod_cidrs)]
        else:
            await self.pods.start()
            runs.append(self.pods.run)
        dns = self._dns_server() if DNS not in self._cluster.disabled else None
        if dns is not None:
            await dns.start()
            runs.append(dns.run)
        self._followers = followers
        try:
            yield runs
        finally:
            self._followers = []
            if dns is not None:
                await dns.stop()

    def _pod_network(self) -> "PodNetwork | CniNetwork":
        config, addresses = self._config, self._cluster.served_addresses
        if config.network_plugin != CNI_NETWORK:
            return PodNetwork(local_addresses=addresses)
        from kubelite.net.cni.network import CniNetwork

        network = CniNetwork(
            files=config.cni_connections,
            configs=Path(config.cni_conf_dir),
            programs=[Path(folder) for folder in config.cni_bin_dirs],
            local_addresses=addresses,
            annotations=self._annotations,
            watch=FolderWatch,
        )
        network.on_change = lambda: self._tell(network.problem)
        return network

    def _tell(self, problem: str) -> None:
        self.problem = problem
        self.on_change()

    def _annotations(self, key: str) -> Mapping[str, str]:
        namespace, _, name = key.partition("/")
        pod = self._own_pods.get(name, namespace)
        return {} if pod is None else pod.metadata.annotations

    @cached_property
    def _own_pods(self) -> Mirror[Pod]:
        selector = f"spec.nodeName={self._config.name_of_node}"
        return self._client.mirror(Pod, field_selector=selector)

    def _events(self, component: str) -> EventRecorder:
        return EventRecorder(self._client, self._clock, self._randomness, component=component)

    def _proxy_settings(self) -> list[ProxySettings]:
        """Return the settings of the rules of each family."""
        cluster = self._cluster
        served = cluster.served_addresses
        return [
            ProxySettings(
                self._config.name_of_node,
                pods,
                services,
                local_addresses=tuple(one for one in served if family_of(one) is family_of(pods)),
            )
            for pods, services in zip(cluster.cluster_cidrs, cluster.service_cidrs, strict=True)
        ]

    def _dns_server(self) -> DNSServer:
        cluster = self._cluster
        networks = tuple(map(ip_network, (*cluster.cluster_cidrs, *cluster.service_cidrs)))
        domain = tuple(label.encode() for label in cluster.cluster_domain.split("."))
        upstream = Upstream(
            HostServers(own_addresses=cluster.dns_addresses),
            self._randomness,
            LoopGuard(self._randomness),
        )
        return DNSServer(
            self._client,
            upstream,
            ZoneSettings(domain, networks),
            [(address, DNS_PORT) for address in cluster.dns_addresses],
            self._offload,
            self._events("kube-dns"),
        )

    async def _pod_cidrs(self) -> tuple[str, ...]:
        """Wait until the control plane has assigned pod CIDRs to this node, and return them.

        If the API is silent for some seconds, return those of the last run: static pods run without it.
        """
        file = self._config.agent_dir / "pod-cidr"
        known = await asyncio.to_thread(_remembered_ranges, file)
        async with asyncio.timeout(RANGE_SECONDS if known else None) as patience:
            with suppress(TimeoutError):
                known = await self._assigned_ranges(lambda _: True)
        if patience.expired():
            log.warning("the API does not answer; going on with the pod CIDR of the last run")
        await asyncio.to_thread(_remember_ranges, file, known)
        self._tell("")
        return known

    async def _leave_ranges(self, used: tuple[str, ...]) -> None:
        """Raise once the control plane has assigned other pod CIDRs than those in use; so all starts anew."""
        assigned = await self._assigned_ranges(lambda cidrs: cidrs != used)
        raise RangeChanged(
            f"the pod CIDR of this node is {','.join(assigned)}, no longer {','.join(used)}"
        )

    async def _assigned_ranges(
        self, is_wanted: Callable[[tuple[str, ...]], bool]
    ) -> tuple[str, ...]:
        name = self._config.name_of_node
        given: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()

        def look(_: Node | None, node: Node | None) -> None:
            if node is None or given.done():
                return
            ranges = pod_ranges(node, self._cluster)
            if ranges and is_wanted(ranges):
                given.set_result(ranges)

        unsubscribe = self._node.mirror(Node, field_selector=f"metadata.name={name}").subscribe(
            look
        )
        try:
            return await given
        finally:
            unsubscribe()


def pod_ranges(node: Node, cluster: ClusterSettings) -> tuple[str, ...]:
    """Return the pod CIDRs of a node in the families of the cluster; none until it has one of each."""
    of_family = {family_of(text): text for text in node.spec.podCIDRs or (node.spec.podCIDR,)}
    wanted = tuple(of_family.get(family_of(text), "") for text in cluster.cluster_cidrs)
    return wanted if all(wanted) else ()


def _remembered_ranges(file: Path) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(text)) for text in parts(read_host_file(file)))
    except ValueError:
        return ()


def _remember_ranges(file: Path, pod_cidrs: tuple[str, ...]) -> None:
    text = ",".join(pod_cidrs)
    if read_host_file(file) != text:
        write_file(file, text.encode())
