from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from kubelite.api.kinds.core.nodes import Node, NodeAddress, NodeStatus
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.join_secrets import Binding
from kubelite.control.certificate_decisions import (
    LEAVE,
    Verdict,
    forbidden_address,
    is_of_server,
    name_denial,
    node_of,
    parsed_address,
    reported_addresses,
    serving_verdict,
    unusable_name,
)
from kubelite.control.options import ServerIdentity

NOW = datetime(2026, 9, 1, tzinfo=UTC)
SERVER = ServerIdentity(
    node_name="server",
    names=("kubernetes", "kubernetes.default.svc", "API.example.com", "*.lb.example.com"),
    addresses=("127.0.0.1", "192.0.2.1", "2001:db8::1", "10.43.0.1"),
    domain="cluster.local",
    networks=(ip_network("10.42.0.0/16"), ip_network("10.43.0.0/16")),
)
NODE = Node(metadata=ObjectMeta(name="one"))
MINE, THEIRS = Binding("mine", NOW), Binding("theirs", NOW)
RELEASED = Binding("theirs", NOW, released_at=NOW)


class Names(Struct, frozen=True):
    common_name: str = "system:node:one"
    organizations: tuple[str, ...] = ("system:nodes",)
    dns_names: tuple[str, ...] = ("one",)
    addresses: tuple[str, ...] = ()


class Asked(Struct, frozen=True):
    wanted: Names = Names()
    emails: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    key_hash: str = "mine"


@pytest.mark.parametrize(
    ("binding", "node", "is_own", "denial"),
    [
        (None, None, False, ""),
        (None, NODE, False, 'a node "one" exists'),
        (None, None, True, ""),
        (None, NODE, True, ""),
        (MINE, None, False, ""),
        (MINE, NODE, False, ""),
        (MINE, NODE, True, ""),
        (THEIRS, None, False, "another machine is joining"),
        (THEIRS, NODE, False, "belongs to another machine"),
        (THEIRS, NODE, True, "must renew its certificate with the key"),
        (RELEASED, None, False, ""),
        (RELEASED, NODE, False, 'a node "one" exists'),
        (Binding("mine", NOW, released_at=NOW), NODE, False, ""),
    ],
)
def test_who_gets_a_name(
    binding: Binding | None, node: Node | None, is_own: bool, denial: str
) -> None:
    says = name_denial("one", "mine", binding, node, is_own=is_own)
    assert denial in says
    assert bool(denial) == bool(says)
    assert "\n" not in says


@pytest.mark.parametrize(
    ("name", "is_server"),
    [
        ("one", False),
        ("one.example.com", False),
        ("server", True),
        ("kubernetes", True),
        ("api.example.com", True),
        ("a.lb.example.com", True),
        ("a.b.lb.example.com", False),
        ("lb.example.com", False),
        ("localhost", True),
        ("a.localhost", True),
        ("localhost.localdomain", True),
        ("x.y.svc", True),
        ("cluster.local", True),
        ("x.y.svc.cluster.local", True),
        ("svc", False),
        ("192.0.2.1", True),
        ("10.42.3.4", True),
        ("192.0.2.2", False),
    ],
)
def test_names_of_the_server(name: str, is_server: bool) -> None:
    assert is_of_server(name, SERVER) is is_server
    assert bool(unusable_name(name, SERVER)) is is_server


@pytest.mark.parametrize("name", ["", "a" * 53, "A", "a_b", "a\nb", "a/b", "a\x1b[2J", "ä", "*.a"])
def test_what_is_no_name_is_refused_in_one_printable_line(name: str) -> None:
    says = unusable_name(name, SERVER)
    assert says
    assert says.isprintable()


@pytest.mark.parametrize(
    ("address", "is_forbidden"),
    [
        ("192.0.2.7", False),
        ("2001:db8::7", False),
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("2001:0db8:0::1", True),
        ("::ffff:192.0.2.1", True),
        ("::ffff:10.43.0.9", True),
        ("10.42.1.1", True),
        ("0.0.0.0", True),
        ("::", True),
        ("::1", True),
        ("127.9.9.9", True),
        ("169.254.169.254", True),
        ("fe80::1", True),
        ("224.0.0.1", True),
    ],
)
def test_addresses_that_no_node_may_prove(address: str, is_forbidden: bool) -> None:
    parsed = parsed_address(address)
    assert parsed is not None
    assert bool(forbidden_address(parsed, SERVER)) is is_forbidden


def test_a_range_in_a_request_is_no_address() -> None:
    """An iPAddress of eight bytes is a network to some readers."""
    assert parsed_address("192.0.2.0/24") is None
    asked = Asked(Names(addresses=("192.0.2.0/24",)))
    assert verdict(asked, "192.0.2.7") == Verdict("deny", "192.0.2.0/24 is no address")


def reporting(*addresses: str, kind: str = "InternalIP") -> Node:
    listed = [NodeAddress(type=kind, address=address) for address in addresses]
    return Node(metadata=ObjectMeta(name="one"), status=NodeStatus(addresses=listed))


def verdict(asked: Asked, *reported: str, **other: Any) -> Verdict:
    usages = other.get("usages", ("digital signature", "server auth"))
    holders: dict[Any, str] = other.get("holders", {})
    node = reporting(*reported)
    return serving_verdict(
        asked, usages, "one", node, SERVER, lambda address: holders.get(address, "")
    )


def test_serving_certificates() -> None:
    assert verdict(Asked()) == Verdict("approve")
    seven = Asked(Names(addresses=("192.0.2.7",)))
    assert verdict(seven, "192.0.2.7", "192.0.2.8") == Verdict("approve")
    assert verdict(seven, "192.0.2.8") == LEAVE
    held = verdict(seven, "192.0.2.7", holders={ip_address("192.0.2.7"): "two"})
    assert held.message == 'the address 192.0.2.7 is one of the node "two"'
    assert verdict(Asked(emails=("a@b",))) == LEAVE
    assert verdict(Asked(uris=("spiffe://a",))) == LEAVE
    assert verdict(Asked(), usages=("client auth", "digital signature")) == LEAVE
    assert verdict(Asked(Names(common_name="system:node:two"))) == LEAVE
    assert verdict(Asked(Names(organizations=("system:nodes", "system:masters")))) == LEAVE


def test_only_addresses_of_a_status_are_reported() -> None:
    assert reported_addresses(None) == frozenset()
    assert reported_addresses(reporting("192.0.2.7", kind="Hostname")) == frozenset()
    assert reported_addresses(reporting("junk", "192.0.2.7")) == {ip_address("192.0.2.7")}


def test_a_requester_is_a_node_by_user_and_group() -> None:
    assert node_of("system:node:one", ["system:nodes"]) == "one"
    assert node_of("system:node:one", ["system:authenticated"]) == ""
    assert node_of("one", ["system:nodes"]) == ""


@given(
    st.lists(st.sampled_from(["one", "two", "kubernetes", "localhost", "*"]), max_size=3),
    st.lists(
        st.sampled_from(["192.0.2.7", "192.0.2.1", "10.43.0.1", "127.0.0.1", "198.51.100.1"]),
        max_size=3,
    ),
    st.lists(st.sampled_from(["192.0.2.7", "192.0.2.1", "10.43.0.1", "127.0.0.1"]), max_size=4),
)
def test_what_is_approved_is_the_nodes_own_whatever_it_reports(
    names: list[str], addresses: list[str], reported: list[str]
) -> None:
    asked = Asked(Names(dns_names=tuple(names), addresses=tuple(addresses)))
    if verdict(asked, *reported).outcome == "approve":
        assert set(names) == {"one"}
        assert set(addresses) <= {"192.0.2.7"} & set(reported)
