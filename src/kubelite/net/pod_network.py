"""Connects pods to the node: a bridge, a pair of links per pod, an address of each family.

A pod's address is a range of one whose gateway is the bridge, so all it sends is routed by the host, never switched
past it: service addresses and network policies work whether or not bridged packets are filtered (br_netfilter).
For the same reason a pod's link has none of the addresses that IPv6 gives each link by itself.
The host's end of a pair carries the pod's uid and addresses as its alias; from that, a restart learns what it gave out.
"""

import asyncio
import errno
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol, TypeVar

from kubelite.net import ipv6_host
from kubelite.net.addresses import AddressPool
from kubelite.net.families import family_of
from kubelite.net.link_bindings import Binding, LinkBindings
from kubelite.net.namespaces import opened_namespace
from kubelite.net.netlink import SCOPE_HOST, Link, Route, RouteSocket, open_in
from kubelite.net.netlink import inside as inside_namespace

log = logging.getLogger(__name__)

BRIDGE = "kubelite0"
LINK_PREFIX = "kl"  # link names have room for 15 characters
ALIAS_PREFIX = "kubelite"
POD_INTERFACE = "eth0"
DEFAULT_MTU = 1500
CARRIER_SECONDS_MAX = 2.0
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")

T = TypeVar("T")


class PodListener(Protocol):
    """A listener that must act before the containers of a pod start."""

    async def bridge_ready(self) -> None:
        """Called when the bridge exists."""
        ...

    async def pod_attached(self, pod_uid: str, addresses: Sequence[str]) -> None:
        """Wait until a pod with these addresses may run."""
        ...

    def pod_restored(self, pod_uid: str, addresses: Sequence[str]) -> None:
        """Handle a pod that was connected before this process began."""
        ...

    def pod_detached(self, pod_uid: str) -> None:
        """Called when a pod was disconnected."""
        ...


class NetworkForbidden(Exception):
    """The process may not change the host's network."""


def link_name(pod_uid: str) -> str:
    """Return the name of the host's end of a pod's link."""
    return LINK_PREFIX + hashlib.sha256(pod_uid.encode()).hexdigest()[:12]


def hardware_address(address: str) -> bytes:
    """Return the MAC address of the link with an address, the same for whichever pod has it.

    For a second after a packet the kernel ignores that a neighbour has another one, so a new sandbox that has the
    address of the former one would get no answers.
    """
    return b"\x0a\x58" + ip_address(address).packed[-4:]


def link_alias(pod_uid: str, addresses: Sequence[str]) -> str:
    """Return the alias of the host's end of a pod's pair of links, which `parse_alias` reads."""
    return " ".join((ALIAS_PREFIX, pod_uid, *addresses))


def parse_alias(link: Link) -> tuple[str, tuple[str, ...]] | None:
    """Return (pod uid, addresses) of a link of ours, else None."""
    match link.alias.split(" "):
        case [prefix, pod_uid, address, *others] if prefix == ALIAS_PREFIX and len(others) < 2:
            return (pod_uid, (address, *others)) if link.name == link_name(pod_uid) else None
    return None


class PodNetwork:
    """Gives pods their addresses; changes are made one after the other in a thread of its own.

    `local_addresses` are further addresses the node itself answers: the cluster's DNS server's.
    `mtu` 0 takes the one of the link the default route uses. `listener` is the service proxy, which enforces
    network policies from a pod's first packet on; `bindings` keep pods from sending with others' addresses.
    """

    def __init__(
        self,
        *,
        local_addresses: Sequence[str] = (),
        mtu: int = 0,
        listener: PodListener | None = None,
        bindings: LinkBindings | None = None,
    ) -> None:
        self.listener = listener
        self.bindings = bindings
        self._local_addresses = tuple(local_addresses)
        self._mtu = mtu
        self._pool: AddressPool | None = None
        self._bridge_index = 0
        self._bridge_mac = b""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kubelite-links")

    @property
    def gateways(self) -> tuple[str, ...]:
        """The bridge's addresses, one of each family."""
        return self._addresses.gateways

    @property
    def pod_addresses(self) -> Sequence[str]:
        """The addresses of the pods on this node, which it gave them itself; empty before `start`."""
        return () if self._pool is None else self._pool.allocated

    @property
    def _addresses(self) -> AddressPool:
        assert self._pool is not None, "start comes first"
        return self._pool

    async def start(self, *pod_cidrs: str) -> None:
        """Create the bridge for the node's ranges, or adopt an existing one.

        Raises NetworkForbidden, and RulesRefused where pods cannot be bound to their addresses.
        """
        self._pool = AddressPool(*pod_cidrs)
        try:
            await self._run(self._set_up_bridge)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
                raise
            raise NetworkForbidden(
                "cannot set up pod networking: needs root (CAP_NET_ADMIN)"
            ) from error
        if self.bindings is not None:
            owners = filter(None, map(parse_alias, await self._run(_pod_links)))
            standing = {link_name(uid): _binding(addresses) for uid, addresses in owners}
            await self.bindings.start(self._bridge_mac, standing)
        if self.listener is not None:
            await self.listener.bridge_ready()

    async def stop(self) -> None:
        """Stop the thread; links stay, so pods keep their connections."""
        await asyncio.to_thread(self._thread.shutdown)

    async def attach(
        self,
        pod_uid: str,
        pod_key: str,
        netns: str,
        *,
        host_ports: Sequence[object] = (),  # noqa: ARG002 - told by the node, read from its pods
    ) -> tuple[str, ...]:
        """Connect the network namespace of the file `netns`; return its addresses.

        Answers the same addresses as long as the pod is not detached, also after a restart. `host_ports` are not
        needed here: the service proxy takes them from the pods themselves. Raises AddressesExhausted,
        ProcessLookupError when the namespace is gone, OSError when the file is no pod's namespace, and RulesRefused
        when the kernel does not bind the pod to its addresses.
        """
        addresses = self._addresses.allocate(pod_uid)
        if self.bindings is not None:
            await self.bindings.bind(link_name(pod_uid), _binding(addresses))
        try:
            await self._run(lambda: self._connect(pod_uid, netns, addresses))
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ProcessLookupError(
                f"cannot connect pod {pod_key}: its sandbox has ended"
            ) from error
        if self.listener is not None:
            await self.listener.pod_attached(pod_uid, addresses)
        log.debug("pod connected", extra={"pod": pod_key, "addresses": addresses})
        return addresses

    async def addresses_in(self, pod_uid: str, netns: str) -> tuple[str, ...]:
        """Return the addresses by which a pod is connected in a namespace; none if it is not connected there."""
        return await self._run(lambda: _addresses_in(pod_uid, netns))

    async def detach(self, pod_uid: str) -> None:
        """Remove a pod's link and release its addresses."""
        await self._run(lambda: _delete_links(lambda link: link.name == link_name(pod_uid)))
        if self.bindings is not None:
            await self.bindings.unbind(link_name(pod_uid))
        self._addresses.release(pod_uid)
        if self.listener is not None:
            self.listener.pod_detached(pod_uid)

    async def restore(self, live: Mapping[str, int]) -> None:
        """Keep the addresses of the pods of `live` (uid to sandbox pid); remove all other links that were left."""
        standing = await self._run(_pod_links)
        leftover: dict[int, str] = {}
        kept: dict[int, bytes] = {}
        for link in standing:
            owner = parse_alias(link)
            if owner is None or owner[0] not in live or not self._addresses.reserve(*owner):
                leftover[link.index] = link.name
                continue
            kept[link.index] = hardware_address(owner[1][0])
            if self.listener is not None:
                self.listener.pod_restored(*owner)
        await self._run(lambda: _delete_links(lambda link: link.index in leftover))
        await self._run(lambda: _set_up_ports(kept))
        if self.bindings is not None:
            await self.bindings.unbind(*leftover.values())

    async def connected(self) -> frozenset[str]:
        """Return the uids of all pods with a link on this host, whichever cluster they belong to."""
        aliases = map(parse_alias, await self._run(_pod_links))
        return frozenset(alias[0] for alias in aliases if alias is not None)

    async def remove_all(self) -> None:
        """Remove the bridge and every pod link from the host."""
        await self._run(
            lambda: _delete_links(lambda link: link.name == BRIDGE or parse_alias(link) is not None)
        )

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _set_up_bridge(self) -> None:
        pool = self._addresses
        versions = {network.version for network in pool.networks}
        with RouteSocket() as route:
            mtu = self._mtu = self._mtu or _default_route_mtu(route)
            if (bridge := route.find_link(BRIDGE)) is None:
                route.add_bridge(BRIDGE, mac=hardware_address(pool.gateways[0]), mtu=mtu)
                bridge = route.find_link(BRIDGE)
                assert bridge is not None
            if 6 in versions:
                ipv6_host.set_link(BRIDGE)
            gateways = [
                (gateway, network.prefixlen)
                for gateway, network in zip(pool.gateways, pool.networks, strict=True)
            ]
            local = [(address, _length(address)) for address in self._local_addresses]
            for stale in set(route.addresses(bridge.index)) - {*gateways, *local}:
                route.delete_address(bridge.index, *stale)
            for gateway in gateways:
                route.add_address(bridge.index, *gateway)
            for address in local:
                # Of host scope, so that the kernel never chooses it as the source of the node's own packets.
                route.add_address(bridge.index, *address, scope=SCOPE_HOST)
            route.set_link(bridge.index, up=True)
            self._bridge_index, self._bridge_mac = bridge.index, bridge.mac
        if 4 in versions and IP_FORWARD.read_text().strip() != "1":
            IP_FORWARD.write_text("1")
        if 6 in versions:
            ipv6_host.forward()

    def _connect(self, pod_uid: str, netns: str, addresses: Sequence[str]) -> None:
        name = link_name(pod_uid)
        with (
            opened_namespace(netns) as namespace,
            RouteSocket() as host,
            open_in(namespace) as pod,
        ):
            link = host.find_link(name)
            inside = pod.find_link(POD_INTERFACE)
            if link and inside and _has(pod, inside, addresses):
                return
            if link:
                host.delete_link(link.index)  # led to an earlier sandbox of the pod
            host.add_veth(
                name,
                peer=POD_INTERFACE,
                peer_namespace=namespace,
                peer_mac=hardware_address(addresses[0]),
                mtu=self._mtu,
            )
            self._set_up_host_end(host, name, pod_uid, addresses)
            if any(_length(address) == 128 for address in addresses):
                with inside_namespace(namespace):
                    ipv6_host.set_link(POD_INTERFACE, is_pods=True)
            self._set_up_pod_end(pod, addresses)
            carrying = (
                host.wait_until_running(name, CARRIER_SECONDS_MAX)
                and host.wait_until_running(BRIDGE, CARRIER_SECONDS_MAX)
                and pod.wait_until_running(POD_INTERFACE, CARRIER_SECONDS_MAX)
            )
        if not carrying:
            log.warning("a pod's link does not carry packets yet", extra={"link": name})

    def _set_up_host_end(
        self, host: RouteSocket, name: str, pod_uid: str, addresses: Sequence[str]
    ) -> None:
        link = host.find_link(name)
        assert link is not None
        alias = link_alias(pod_uid, addresses)
        host.set_link(link.index, master=self._bridge_index, alias=alias)
        host.set_bridge_port(link.index, mac=hardware_address(addresses[0]))
        host.set_link(link.index, up=True)

    def _set_up_pod_end(self, pod: RouteSocket, addresses: Sequence[str]) -> None:
        loopback = pod.find_link("lo")
        link = pod.find_link(POD_INTERFACE)
        assert loopback is not None
        assert link is not None
        pod.set_link(loopback.index, up=True)
        for address in addresses:
            pod.add_address(link.index, address, _length(address))
        pod.set_link(link.index, up=True)
        lengths = set(map(_length, addresses))
        for gateway in self.gateways:
            if _length(gateway) in lengths:
                pod.replace_route(Route(gateway, _length(gateway), link.index))
                pod.replace_route(Route("", 0, link.index, gateway))


def _binding(addresses: Sequence[str]) -> Binding:
    return Binding(hardware_address(addresses[0]), tuple(addresses))


def _length(address: str) -> int:
    """Return the prefix length of a range of one address."""
    return family_of(address).bits


def _has(pod: RouteSocket, link: Link, addresses: Sequence[str]) -> bool:
    """Return whether a link has all of the addresses."""
    return {(one, _length(one)) for one in addresses}.issubset(pod.addresses(link.index))


def _addresses_in(pod_uid: str, netns: str) -> tuple[str, ...]:
    with RouteSocket() as host:
        link = host.find_link(link_name(pod_uid))
    owner = None if link is None else parse_alias(link)
    if owner is None:
        return ()
    try:
        with opened_namespace(netns) as namespace, open_in(namespace) as pod:
            inside = pod.find_link(POD_INTERFACE)
            if inside is not None and _has(pod, inside, owner[1]):
                return owner[1]
    except (FileNotFoundError, ProcessLookupError):
        return ()  # the namespace is gone, and its end of the link with it
    return ()


def _pod_links() -> list[Link]:
    """Return the links that are or look like a pod's: a crash may have come before the alias was written."""
    with RouteSocket() as route:
        return [link for link in route.links() if _is_pod_link(link)]


def _is_pod_link(link: Link) -> bool:
    is_half_made = not link.alias and not link.is_up and not link.master
    return (
        link.name.startswith(LINK_PREFIX)
        and len(link.name) == len(LINK_PREFIX) + 12
        and (is_half_made or parse_alias(link) is not None)
    )


def _delete_links(is_wanted: Callable[[Link], bool]) -> None:
    with RouteSocket() as route:
        for link in route.links():
            if is_wanted(link):
                route.delete_link(link.index)


def _set_up_ports(macs: Mapping[int, bytes]) -> None:
    with RouteSocket() as route:
        for index, mac in macs.items():
            with suppress(OSError):  # its pod ends meanwhile
                route.set_bridge_port(index, mac=mac)


def _default_route_mtu(route: RouteSocket) -> int:
    uplinks = [entry.link_index for entry in route.routes() if entry.prefix_length == 0]
    mtus = {link.index: link.mtu for link in route.links()}
    return mtus.get(uplinks[0], DEFAULT_MTU) if uplinks else DEFAULT_MTU
