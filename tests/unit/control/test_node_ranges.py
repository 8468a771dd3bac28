"""Parts of the cluster's addresses, against the plain way to find a free one."""

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.core.nodes import Node, NodeSpec
from kubelite.control.node_ranges import CIDRNotAvailable, NodeRanges, Parts
from kubelite.control.options import Options

WHOLE = ip_network("10.42.0.0/20")

networks = st.builds(
    lambda prefix, number: ip_network((int(WHOLE.network_address) - 2048 + number * 64, prefix), strict=False),
    st.sampled_from([19, 20, 21, 23, 24, 24, 24, 24, 26]),
    st.integers(0, 128),
)  # fmt: skip


def plainly_free(taken: list[IPv4Network | IPv6Network]) -> str:
    for part in WHOLE.subnets(new_prefix=24):
        if not any(part.overlaps(other) for other in taken):
            return str(part)
    return ""


@given(st.lists(st.tuples(st.booleans(), networks), max_size=60))
def test_the_first_free_part_is_found(steps: list[tuple[bool, IPv4Network | IPv6Network]]) -> None:
    parts = Parts(WHOLE, 24)
    taken: list[IPv4Network | IPv6Network] = []
    for takes, network in steps:
        if takes:
            parts.take(network)
            taken.append(network)
        elif taken:
            parts.release(taken.pop(0))
        try:
            found = str(parts.free())
        except CIDRNotAvailable:
            found = ""
        assert found == plainly_free(taken)


def test_a_range_of_millions_of_parts_is_searched_in_few_steps() -> None:
    parts = Parts(ip_network("fd00::/32"), 64)
    parts.take(ip_network("fd00::/33"))
    assert str(parts.free()) == "fd00:0:8000::/64"
    parts.take(ip_network("fd00:0:8000::/33"))
    with pytest.raises(CIDRNotAvailable, match="no part of fd00::/32 is free"):
        parts.free()
    parts.release(ip_network("fd00::/33"))
    assert str(parts.free()) == "fd00::/64"


def node(*cidrs: str) -> Node:
    return Node(spec=NodeSpec(podCIDR=cidrs[0] if cidrs else "", podCIDRs=list(cidrs)))


def test_nodes_take_and_give_back() -> None:
    options = Options(
        cluster_cidrs=(ip_network("10.42.0.0/16"), ip_network("fd00::/56")), node_prefix_v4=26
    )
    ranges = NodeRanges(options)
    assert ranges.free() == ["10.42.0.0/26", "fd00::/64"]
    first = node(*ranges.free())
    ranges.node_changed(None, first)
    ranges.node_changed(first, first)
    assert ranges.free() == ["10.42.0.64/26", "fd00:0:0:1::/64"]
    ranges.node_changed(node(), node("10.42.0.64/26"))
    assert ranges.free() == ["10.42.0.128/26", "fd00:0:0:1::/64"]
    ranges.node_changed(first, None)
    assert ranges.free() == ["10.42.0.0/26", "fd00::/64"]
    # Two nodes with the same part, by somebody's hand: it is free when both are gone.
    ranges.node_changed(None, first)
    ranges.node_changed(None, first)
    ranges.node_changed(first, None)
    assert ranges.free()[0] == "10.42.0.128/26"
