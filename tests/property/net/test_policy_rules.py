"""A rule of many peers and ports lets through what its pairs of peer and port do."""

from ipaddress import IPv4Address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from kubelite.net import policies
from kubelite.net.intervals import merged, without
from kubelite.net.policies import Member, policy_rules
from kubelite.net.ruleset import Ruleset
from kubelite.net.trusted_text import AddressText

PODS = [
    Member(
        "default",
        {"app": "web"},
        AddressText("10.0.0.1"),
        True,
        (("http", "tcp", 3), ("dns", "udp", 5)),
    ),
    Member("default", {"app": "db"}, AddressText("10.0.0.2"), False, (("http", "tcp", 4),)),
    Member("other", {"app": "web"}, AddressText("10.0.0.3"), False, (("http", "tcp", 2),)),
]
LOCAL = PODS[0]

cidrs = st.builds(
    lambda number, size: f"10.0.0.{number}/{size}", st.integers(0, 15), st.integers(27, 32)
)
blocks = st.builds(
    lambda cidr, holes: NetworkPolicyPeer(ipBlock=IPBlock(cidr=cidr, except_=holes)),
    st.one_of(cidrs, st.just("0.0.0.0/0"), st.just("fd00::/8")),
    st.lists(cidrs, max_size=2),
)
labels = st.sampled_from([{}, {"app": "web"}, {"app": "db"}, {"app": "none"}])
selectors = st.builds(
    lambda pods, everywhere: NetworkPolicyPeer(
        podSelector=LabelSelector(matchLabels=pods),
        namespaceSelector=LabelSelector() if everywhere else None,
    ),
    labels,
    st.booleans(),
)
ports = st.one_of(
    st.builds(
        lambda first, length, protocol: NetworkPolicyPort(
            port=first, endPort=first + length if length else None, protocol=protocol
        ),
        st.integers(1, 5),
        st.integers(0, 2),
        st.sampled_from(["TCP", "UDP", None]),
    ),
    st.builds(lambda name: NetworkPolicyPort(port=name), st.sampled_from(["http", "dns"])),
    st.just(NetworkPolicyPort(protocol="UDP")),
)


def elements_of(found: Ruleset, name: str) -> list[str]:
    inline = found.sets[name].partition("elements = {")[2].partition("}")[0]
    here = [key for where, key in found.elements if where == name]
    return [*here, *(part.strip() for part in inline.split(",") if part.strip())]


def has_address(text: str, address: str) -> bool:
    if "-" in text:
        first, last = map(IPv4Address, text.split("-"))
        return first <= IPv4Address(address) <= last
    return IPv4Address(address) in ip_network(text)


def has_number(text: str, number: int) -> bool:
    first, _, last = text.partition("-")
    return int(first) <= number <= int(last or first)


def is_allowed(found: Ruleset, direction: str, packet: tuple[str, str, str, int]) -> bool:
    """Walk the chain of the local pod as the kernel does; a packet is source, target, protocol and port."""
    source, target, protocol, number = packet
    chain = found.elements[f"{direction}-pods", LOCAL.address].removeprefix("jump ")
    for line in found.chains[chain]:
        words = line.split()
        holds = True
        while holds and words and words[0] not in ("return", "drop"):
            match words:
                case ["ip", ("saddr" | "daddr") as side, "!=", network, *rest]:
                    holds = not has_address(network, source if side == "saddr" else target)
                case ["ip", "daddr", ".", its_protocol, "dport", where, *rest]:
                    place = f"{target} . {number}"
                    holds = its_protocol == protocol and place in elements_of(found, where[1:])
                case ["ip", ("saddr" | "daddr") as side, where, *rest]:
                    texts = elements_of(found, where[1:]) if where.startswith("@") else [where]
                    address = source if side == "saddr" else target
                    holds = any(has_address(text, address) for text in texts)
                case ["meta", "l4proto", its_protocol, *rest]:
                    holds = its_protocol == protocol
                case [its_protocol, "dport", where, *rest]:
                    texts = elements_of(found, where[1:]) if where.startswith("@") else [where]
                    holds = its_protocol == protocol and any(
                        has_number(one, number) for one in texts
                    )
                case _:
                    raise AssertionError(line)
            words = rest
        if holds:
            return words == ["return"]
    raise AssertionError("a chain ends without a verdict")


def rules(
    direction: str, peers: list[NetworkPolicyPeer], asked: list[NetworkPolicyPort]
) -> Ruleset:
    spec = NetworkPolicySpec(
        podSelector=LabelSelector(),
        policyTypes=[direction.capitalize()],
        ingress=[NetworkPolicyIngressRule(from_=peers, ports=asked)]
        if direction == "ingress"
        else [],
        egress=[NetworkPolicyEgressRule(to=peers, ports=asked)] if direction == "egress" else [],
    )
    item = NetworkPolicy(metadata=ObjectMeta(namespace="default", name="p"), spec=spec)
    return policy_rules([item], PODS, {"default": {}, "other": {}})


@given(
    st.sampled_from(["ingress", "egress"]),
    st.lists(st.one_of(blocks, selectors), max_size=4),
    st.lists(ports, max_size=4),
)
def test_sets_let_through_what_pairs_do(
    direction: str, peers: list[NetworkPolicyPeer], asked: list[NetworkPolicyPort]
) -> None:
    pairs = rules(direction, peers, asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policies, "LINES_A_RULE", -1)
        joined = rules(direction, peers, asked)
    for last in (0, 1, 2, 3, 7, 16):
        for protocol in ("tcp", "udp"):
            for number in range(1, 8):
                far = f"10.0.0.{last}"
                ends = (far, LOCAL.address) if direction == "ingress" else (LOCAL.address, far)
                packet = (*ends, protocol, number)
                assert is_allowed(joined, direction, packet) == is_allowed(pairs, direction, packet)


intervals = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda pair: (pair[0], sum(pair))),
    max_size=6,
)


@given(intervals, intervals)
def test_intervals_are_sets(some: list[tuple[int, int]], holes: list[tuple[int, int]]) -> None:
    numbers = {n for first, last in some for n in range(first, last + 1)}
    joined = merged(some)
    assert {n for first, last in joined for n in range(first, last + 1)} == numbers
    assert all(one[1] + 1 < other[0] for one, other in pairwise(joined))
    left = {
        n
        for whole in some[:1]
        for first, last in without(whole, holes)
        for n in range(first, last + 1)
    }
    gone = {n for first, last in holes for n in range(first, last + 1)}
    whole = {n for first, last in some[:1] for n in range(first, last + 1)}
    assert left == whole - gone
