"""Which other nodes there are, and how they are reached."""

from ipaddress import IPv4Interface

from kubelite.api.kinds.core.nodes import Node, NodeAddress, NodeSpec, NodeStatus
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.overlay import Peer, peers, tunnel_mac

OWN = [IPv4Interface("192.0.2.5/24")]


def node(name: str, pod_cidr: str, *addresses: tuple[str, str]) -> Node:
    listed = [NodeAddress(type=kind, address=address) for kind, address in addresses]
    return Node(
        metadata=ObjectMeta(name=name),
        spec=NodeSpec(podCIDR=pod_cidr),
        status=NodeStatus(addresses=listed),
    )


def test_neighbours_are_on_the_same_link() -> None:
    nodes = [
        node("own", "10.42.0.0/24", ("InternalIP", "192.0.2.5")),
        node("near", "10.42.1.0/24", ("Hostname", "near"), ("InternalIP", "192.0.2.6")),
        node("far", "10.42.2.0/24", ("InternalIP", "198.51.100.7")),
    ]
    near, far = peers(nodes, "own", OWN)
    assert near == Peer("192.0.2.6", "10.42.1.0/24", True)
    assert far == Peer("198.51.100.7", "10.42.2.0/24", False)
    assert far.tunnel_address == "10.42.2.0"


def test_nodes_without_range_or_address_are_not_reached_yet() -> None:
    nodes = [
        node("new", "", ("InternalIP", "192.0.2.6")),
        node("nameless", "10.42.1.0/24", ("Hostname", "x")),
        node("six", "10.42.2.0/24", ("InternalIP", "fd00::1")),
        node("six-pods", "fd00:1::/64", ("InternalIP", "192.0.2.7")),
    ]
    assert peers(nodes, "own", OWN) == []


def test_hardware_addresses_follow_from_ranges() -> None:
    assert tunnel_mac("10.42.2.0/24").hex(":") == "0a:59:0a:2a:02:00"
    assert tunnel_mac("10.42.3.0/24") != tunnel_mac("10.42.2.0/24")
