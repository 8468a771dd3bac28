"""Which other nodes there are, and how they are reached."""

from ipaddress import IPv4Interface, IPv6Interface

from kubelite.api.kinds.core.nodes import Node, NodeAddress, NodeSpec, NodeStatus
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.families import IPV4, IPV6
from kubelite.net.overlay import Interface, Peer, peers, tunnel_mac

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
    assert far == Peer("198.51.100.7", "10.42.2.0/24", False, tunnel_mac("10.42.2.0/24"))
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


def dual(name: str, *addresses: str, first: str = "10.42.7.0/24") -> Node:
    made = node(name, first, *(("InternalIP", address) for address in addresses))
    made.spec.podCIDRs.extend([first, "fd42:0:0:7::/64"])
    return made


def test_a_range_of_each_family_is_reached_by_its_own_way() -> None:
    own: list[Interface] = [IPv4Interface("192.0.2.5/24"), IPv6Interface("fd00::5/64")]
    mac = tunnel_mac("10.42.7.0/24")

    def found(*addresses: str) -> list[Peer]:
        return peers([dual("n", *addresses)], "own", own, IPV4, (IPV4, IPV6))

    assert found("192.0.2.6", "fd00::6") == [
        Peer("192.0.2.6", "10.42.7.0/24", True),
        Peer("fd00::6", "fd42:0:0:7::/64", True),
    ]
    # No next hop of the family: the tunnel takes it, which carries both.
    assert found("192.0.2.6") == [
        Peer("192.0.2.6", "10.42.7.0/24", True),
        Peer("192.0.2.6", "fd42:0:0:7::/64", False, mac),
    ]
    assert found("198.51.100.6", "fd01::6") == [
        Peer("198.51.100.6", "10.42.7.0/24", False, mac),
        Peer("198.51.100.6", "fd42:0:0:7::/64", False, mac),
    ]


def test_a_tunnel_over_ipv6() -> None:
    own = [IPv6Interface("fd00::5/64")]
    first = "fd42:0:0:7::/64"
    far = node("far", first, ("InternalIP", "fd01::6"))
    (found,) = peers([far], "own", own, IPV6, (IPV6,))
    assert found == Peer("fd01::6", first, False, tunnel_mac(first))
    assert found.tunnel_address == "fd42:0:0:7::"


def test_hardware_addresses_of_ipv6_differ_from_node_to_node() -> None:
    assert tunnel_mac("fd42:0:0:7::/64").hex(":") == "0a:59:00:00:00:07"
    assert tunnel_mac("fd42::1:100/120") != tunnel_mac("fd42::1:200/120")
