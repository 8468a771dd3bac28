"""Routes to the pods of other nodes: direct ones to nodes on the same link, through a VXLAN tunnel to all others.

Everything follows from the Node objects: a node's end of the tunnel has the first address of its pod range, and a
hardware address made from it. Routes carry a protocol number of kubelite's own, by which they are found again after
a restart.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.nodes import Node
from kubelite.net.netlink import PROTOCOL_KUBELITE, Route, RouteSocket
from kubelite.net.trusted_text import ipv4_range, is_endpoint

log = logging.getLogger(__name__)

TUNNEL = "kubelite-vxlan"
NETWORK_ID = 4217
PORT = 8472  # the default of Linux and of flannel
ROUND_SECONDS = 0.2
RETRY_SECONDS = 5.0


class Peer(Struct, frozen=True, order=True):
    """Another node: its address and the range of its pods."""

    address: str
    pod_cidr: str
    is_neighbour: bool  # on the same link

    @property
    def tunnel_address(self) -> str:
        """The address of its end of the tunnel."""
        return str(IPv4Network(self.pod_cidr).network_address)


def tunnel_mac(pod_cidr: str) -> bytes:
    """Return the hardware address of a node's end of the tunnel."""
    return b"\x0a\x59" + IPv4Network(pod_cidr).network_address.packed


def peers(nodes: Iterable[Node], own_name: str, own: Sequence[IPv4Interface]) -> list[Peer]:
    """Return the other nodes that have an address and a pod range; `own` are this node's addresses."""
    found = []
    for node in nodes:
        # A node writes its own address: one that is none must not cost the others their routes.
        network = ipv4_range(node.spec.podCIDR)
        if node.metadata.name == own_name or network is None:
            continue
        internal = [
            entry.address
            for entry in node.status.addresses
            if entry.type == "InternalIP" and is_endpoint(entry.address)
        ]
        if internal:
            address = IPv4Address(internal[0])
            is_neighbour = any(address in interface.network for interface in own)
            found.append(Peer(internal[0], str(network), is_neighbour))
    return sorted(found)


class Overlay:
    """Keeps this node's routes to the others' pods."""

    def __init__(self, client: Client, node_name: str, node_address: str, pod_cidr: str) -> None:
        """`node_address` is where other nodes reach this one; see `move`."""
        self._nodes = client.mirror(Node)
        self._node_name = node_name
        self._node_address = node_address
        self._pod_cidr = pod_cidr
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

    def move(self, node_address: str) -> None:
        """Follow a new address of this node by replacing its routes and its end of the tunnel."""
        if node_address != self._node_address:
            self._node_address = node_address
            self._wake.set()

    async def applied(self, count: int) -> None:
        """Wait until there are routes to `count` other nodes."""
        async with self._settled:
            await self._settled.wait_for(lambda: len(self._applied or ()) == count)

    def _changed(self, before: Node | None, after: Node | None) -> None:
        if _place(before) != _place(after):
            self._wake.set()

    async def _round(self) -> float:
        """Reconcile the routes; return the seconds until the next round."""
        nodes, address = list(self._nodes.list()), self._node_address
        try:
            self._applied = await asyncio.to_thread(self._apply, nodes, address)
        except OSError as error:
            log.warning("cannot set routes to other nodes", extra={"reason": str(error)})
            self._wake.set()
            return RETRY_SECONDS
        async with self._settled:
            self._settled.notify_all()
        return ROUND_SECONDS

    def _apply(self, nodes: list[Node], address: str) -> list[Peer]:
        with RouteSocket() as route:
            own = own_interfaces(route, address)
            wanted = peers(nodes, self._node_name, [interface for interface, _ in own])
            uplink = own[0][1] if own else 0
            tunnel = 0
            if any(not peer.is_neighbour for peer in wanted):
                tunnel = self._tunnel(route, address)
            routes = [_route(peer, uplink, tunnel) for peer in wanted]
            for peer in wanted:
                if not peer.is_neighbour:
                    mac = tunnel_mac(peer.pod_cidr)
                    route.set_tunnel_end(
                        tunnel, address=peer.tunnel_address, mac=mac, machine=peer.address
                    )
            standing = {entry for entry in route.routes() if entry.protocol == PROTOCOL_KUBELITE}
            for stale in standing - set(routes):
                route.delete_route(stale)
            for missing in [entry for entry in routes if entry not in standing]:
                route.replace_route(missing)
        return wanted

    def _tunnel(self, route: RouteSocket, address: str) -> int:
        link = route.find_link(TUNNEL)
        if link is not None and link.tunnel_source != address:
            # Its packets would come from an address that the host no longer has, also after a restart.
            route.delete_link(link.index)
            link = None
        if link is None:
            route.add_vxlan(
                TUNNEL,
                network_id=NETWORK_ID,
                local=address,
                port=PORT,
                mac=tunnel_mac(self._pod_cidr),
            )
            link = route.find_link(TUNNEL)
            assert link is not None
        first = str(IPv4Network(self._pod_cidr).network_address)
        route.add_address(link.index, first, 32)
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


def own_interfaces(route: RouteSocket, address: str) -> list[tuple[IPv4Interface, int]]:
    """Return the node's address with its network, and the link it is on; empty when it is on none."""
    return [
        (IPv4Interface(f"{address}/{length}"), link.index)
        for link in route.links()
        for found, length in route.addresses(link.index)
        if found == address
    ]


def _route(peer: Peer, uplink: int, tunnel: int) -> Route:
    network = IPv4Network(peer.pod_cidr)
    if peer.is_neighbour:
        gateway, link = peer.address, uplink
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
    return node and (node.spec.podCIDR, node.status.addresses)
