"""Routes to the pods of other nodes: direct ones to nodes on the same link, through a VXLAN tunnel to all others.

Everything follows from the Node objects: a node's end of the tunnel has the first address of each of its pod ranges,
and a hardware address made from the primary one. The tunnel carries both families between the nodes' addresses of the
family that this node's own, primary address has. Routes carry a protocol number of kubelite's own, by which they are
found again after a restart.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.nodes import Node
from kubelite.net import ipv6_host
from kubelite.net.families import IPV4, IPV6, Family, family_of
from kubelite.net.netlink import PROTOCOL_KUBELITE, Route, RouteSocket
from kubelite.net.trusted_text import AddressText, endpoint_text, range_of

log = logging.getLogger(__name__)

TUNNEL = "kubelite-vxlan"
NETWORK_ID = 4217
PORT = 8472  # the default of Linux and of flannel
HEADER_BYTES = {4: 50, 6: 70}  # what the tunnel adds to a packet, by the version that carries it
DEFAULT_MTU, MTU_MIN = 1500, 1280  # IPv6 ends on a link whose packets are smaller
ROUND_SECONDS = 0.2
RETRY_SECONDS = 5.0


Interface = IPv4Interface | IPv6Interface


class Peer(Struct, frozen=True, order=True):
    """A range of the pods of another node, and the way there."""

    address: str  # the node's: the next hop of a neighbour, else where its end of the tunnel is
    pod_cidr: str
    is_neighbour: bool  # on the same link
    tunnel_mac: bytes = b""

    @property
    def tunnel_address(self) -> str:
        """The address of its end of the tunnel."""
        return str(ip_network(self.pod_cidr).network_address)


def tunnel_mac(pod_cidr: str) -> bytes:
    """Return the hardware address of a node's end of the tunnel, from the primary range of its pods.

    It is made of the part of the range that nodes differ in: of IPv6 that is the end of the prefix.
    """
    network = ip_network(pod_cidr)
    number = int(network.network_address)
    if network.version == IPV6.version:
        number >>= network.max_prefixlen - network.prefixlen
    return b"\x0a\x59" + (number & 0xFFFFFFFF).to_bytes(4, "big")


def peers(
    nodes: Iterable[Node],
    own_name: str,
    own: Sequence[Interface],
    family: Family = IPV4,
    families: Collection[Family] = (IPV4,),
) -> list[Peer]:
    """Return the ranges of the other nodes that have an address; `own` are this node's addresses.

    `family` is that of the tunnel: a node without an address of it is reached as a neighbour only. `families` are those
    of this node's pods.
    """
    found = []
    for node in nodes:
        if node.metadata.name == own_name:
            continue
        addresses = [entry.address for entry in node.status.addresses if entry.type == "InternalIP"]
        networks = ranges_of(node)
        for network in networks:
            of_family = family_of(network)
            if of_family not in families:
                continue
            hop = _first(addresses, of_family)
            is_neighbour = hop is not None and any(ip_address(hop) in one.network for one in own)
            machine = hop if is_neighbour else _first(addresses, family)
            if machine is not None:
                mac = b"" if is_neighbour else tunnel_mac(networks[0])
                found.append(Peer(machine, network, is_neighbour, mac))
    return sorted(found)


def ranges_of(node: Node) -> list[str]:
    """Return the ranges of a node's pods, the primary one first."""
    # A node writes its own object: a text that is no range must not cost the others their routes.
    texts = dict.fromkeys((node.spec.podCIDR, *node.spec.podCIDRs))
    found = ((range_of(text, IPV4) or range_of(text, IPV6)) for text in texts)
    return [str(network) for network in found if network is not None]


def _first(addresses: Iterable[str], family: Family) -> AddressText | None:
    return next(filter(None, (endpoint_text(text, family) for text in addresses)), None)


class Overlay:
    """Keeps this node's routes to the others' pods."""

    def __init__(
        self, client: Client, node_name: str, node_addresses: Sequence[str], *pod_cidrs: str
    ) -> None:
        """`node_addresses` is where other nodes reach this one, the primary one first; see `move`."""
        self._nodes = client.mirror(Node)
        self._node_name = node_name
        self._node_addresses = tuple(node_addresses)
        self._pod_cidrs = pod_cidrs
        self._wake = asyncio.Event()
        self._applied: list[Peer] | None = None
        self._settled = asyncio.Condition()

    async def run(self) -> None:
        """Follow the nodes until cancelled."""
        await self._nodes.synced()
        unsubscribe = self._nodes.subscribe(self._changed)
        self._wake.set()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await asyncio.sleep(await self._round())
        finally:
            unsubscribe()

    def move(self, node_addresses: Sequence[str]) -> None:
        """Follow new addresses of this node by replacing its routes and its end of the tunnel."""
        if tuple(node_addresses) != self._node_addresses:
            self._node_addresses = tuple(node_addresses)
            self._wake.set()

    async def applied(self, count: int) -> None:
        """Wait until there are routes to `count` ranges of other nodes."""
        async with self._settled:
            await self._settled.wait_for(lambda: len(self._applied or ()) == count)

    def _changed(self, before: Node | None, after: Node | None) -> None:
        if _place(before) != _place(after):
            self._wake.set()

    async def _round(self) -> float:
        """Reconcile the routes; return the seconds until the next round."""
        nodes, addresses = list(self._nodes.list()), self._node_addresses
        try:
            self._applied = await asyncio.to_thread(self._apply, nodes, addresses)
        except OSError as error:
            log.warning("cannot set routes to other nodes", extra={"reason": str(error)})
            self._wake.set()
            return RETRY_SECONDS
        async with self._settled:
            self._settled.notify_all()
        return ROUND_SECONDS

    def _apply(self, nodes: list[Node], addresses: Sequence[str]) -> list[Peer]:
        with RouteSocket() as route:
            own = [pair for address in addresses for pair in own_interfaces(route, address)]
            interfaces = [interface for interface, _ in own]
            families = tuple(map(family_of, self._pod_cidrs))
            wanted = peers(nodes, self._node_name, interfaces, family_of(addresses[0]), families)
            uplinks: dict[int, int] = {one.version: link for one, link in reversed(own)}
            tunnel = 0
            if any(not peer.is_neighbour for peer in wanted):
                lower = next((link for _, link in own), 0)
                tunnel = self._tunnel(route, addresses[0], lower)
            routes = [_route(peer, uplinks, tunnel) for peer in wanted]
            for peer in wanted:
                if not peer.is_neighbour:
                    route.set_tunnel_end(
                        tunnel,
                        address=peer.tunnel_address,
                        mac=peer.tunnel_mac,
                        machine=peer.address,
                    )
            standing = {entry for entry in route.routes() if entry.protocol == PROTOCOL_KUBELITE}
            for stale in standing - set(routes):
                route.delete_route(stale)
            for missing in [entry for entry in routes if entry not in standing]:
                route.replace_route(missing)
        return wanted

    def _tunnel(self, route: RouteSocket, address: str, lower: int) -> int:
        """Return the tunnel's link, which sends from `address`, an address of the link `lower`."""
        link = route.find_link(TUNNEL)
        mtus = {one.index: one.mtu for one in route.links()}
        mtu = max(MTU_MIN, mtus.get(lower, DEFAULT_MTU) - HEADER_BYTES[family_of(address).version])
        if link is not None and (link.tunnel_source != address or link.mtu != mtu):
            # Its packets would come from an address that the host no longer has, also after a restart, or be sent in
            # fragments, which many networks drop.
            route.delete_link(link.index)
            link = None
        if link is None:
            route.add_vxlan(
                TUNNEL,
                network_id=NETWORK_ID,
                local=address,
                port=PORT,
                mac=tunnel_mac(self._pod_cidrs[0]),
                mtu=mtu,
            )
            link = route.find_link(TUNNEL)
            assert link is not None
            if any(family_of(cidr) is IPV6 for cidr in self._pod_cidrs):
                ipv6_host.set_link(TUNNEL)
        for cidr in self._pod_cidrs:
            first = str(ip_network(cidr).network_address)
            route.add_address(link.index, first, family_of(first).bits)
        route.set_link(link.index, up=True)
        return link.index


def remove_routes() -> None:
    """Remove the routes and the tunnel from the host. Blocks."""
    with RouteSocket() as route:
        for entry in route.routes():
            if entry.protocol == PROTOCOL_KUBELITE:
                route.delete_route(entry)
        link = route.find_link(TUNNEL)
        if link is not None:
            route.delete_link(link.index)


def own_interfaces(route: RouteSocket, address: str) -> list[tuple[Interface, int]]:
    """Return the node's address with its network, and the link it is on; empty when it is on none."""
    return [
        (ip_interface(f"{address}/{length}"), link.index)
        for link in route.links()
        for found, length in route.addresses(link.index)
        if found == address
    ]


def _route(peer: Peer, uplinks: Mapping[int, int], tunnel: int) -> Route:
    """Return the route to a peer; `uplinks` are the links of this node's addresses by family."""
    network = ip_network(peer.pod_cidr)
    if peer.is_neighbour:
        gateway, link = peer.address, uplinks.get(network.version, 0)
    else:
        gateway, link = peer.tunnel_address, tunnel
    return Route(
        str(network.network_address),
        network.prefixlen,
        link,
        gateway,
        is_onlink=not peer.is_neighbour,
    )


def _place(node: Node | None) -> object:
    return node and (node.spec.podCIDR, node.spec.podCIDRs, node.status.addresses)
