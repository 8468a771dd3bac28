import asyncio
import socket
from ipaddress import ip_network

import pytest

from kubelite.net import host_addresses
from kubelite.net.families import IPV4, IPV6
from kubelite.net.host_addresses import (
    ADDRESS,
    IFA_ADDRESS,
    IFA_LOCAL,
    HostAddress,
    HostAddresses,
    HostView,
    decoded,
    primary_address,
)
from kubelite.net.netlink_messages import encode_attributes

PODS = [ip_network("10.42.0.0/16")]


@pytest.mark.parametrize(
    ("text", "scope", "flags", "serves"),
    [
        ("192.0.2.7", 0, 0x80, True),
        ("192.0.2.7", 0, 0x01, True),  # a second one of the same range
        ("127.0.0.1", 254, 0x80, False),
        ("169.254.1.1", 253, 0x80, False),
        ("10.42.0.1", 0, 0x80, False),
        ("2001:db8::7", 0, 0x80, True),
        ("2001:db8::7", 0, 0x01, False),
        ("2001:db8::7", 0, 0x40, False),
        ("fe80::1", 253, 0x80, False),
        ("::1", 254, 0x80, False),
    ],
)
def test_which_addresses_others_reach(text: str, scope: int, flags: int, serves: bool) -> None:
    assert HostAddress(text, scope, flags).serves(PODS) is serves


def test_messages() -> None:
    local, peer = socket.inet_aton("192.0.2.7"), socket.inet_aton("192.0.2.9")
    body = encode_attributes({IFA_ADDRESS: peer, IFA_LOCAL: local})
    assert decoded(ADDRESS.pack(socket.AF_INET, 24, 0x80, 0, 2) + body) == HostAddress(
        "192.0.2.7", 0, 0x80, 2
    )
    six = encode_attributes({IFA_ADDRESS: socket.inet_pton(socket.AF_INET6, "2001:db8::7")})
    assert decoded(ADDRESS.pack(socket.AF_INET6, 64, 0x80, 0, 2) + six) == HostAddress(
        "2001:db8::7", 0, 0x80, 2
    )
    assert decoded(ADDRESS.pack(socket.AF_INET, 24, 0, 0, 2)) is None
    assert decoded(ADDRESS.pack(99, 24, 0, 0, 2) + body) is None


@pytest.mark.parametrize(
    ("addresses", "preferred", "current", "primary"),
    [
        ((), "", "", ""),
        ((), "192.0.2.7", "192.0.2.7", ""),  # the last one went
        (("2001:db8::7",), "", "", ""),
        (("192.0.2.7",), "", "", "192.0.2.7"),  # no default route
        (("192.0.2.7", "192.0.2.8"), "192.0.2.8", "", "192.0.2.8"),
        (("192.0.2.7", "192.0.2.8"), "192.0.2.8", "192.0.2.7", "192.0.2.8"),  # the route came later
        (("192.0.2.7", "192.0.2.8"), "", "192.0.2.8", "192.0.2.8"),  # what is good stays
        (("192.0.2.7",), "", "192.0.2.8", "192.0.2.7"),
        (("192.0.2.7",), "10.42.0.1", "", "192.0.2.7"),  # a default route through the cluster's own
        (("192.0.2.7", "2001:db8::7"), "2001:db8::7", "", "192.0.2.7"),
    ],
)
def test_the_primary_address(
    addresses: tuple[str, ...], preferred: str, current: str, primary: str
) -> None:
    assert primary_address(addresses, preferred, current) == primary


def test_a_host_without_a_network_has_its_node_on_loopback() -> None:
    assert HostView().node_address == "127.0.0.1"
    assert HostView(("192.0.2.7",), "192.0.2.7").node_address == "192.0.2.7"


async def test_a_configured_address_is_the_primary_whatever_the_host_has() -> None:
    host = HostAddresses(fixed="203.0.113.9")
    try:
        assert host.view.primary == host.read().primary == "203.0.113.9"
    finally:
        host.close()


async def test_the_present_view_is_told_first_and_then_only_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = HostAddresses()
    try:
        changes = host.changes()
        views = [HostView((text,), text) for text in ("192.0.2.1", "192.0.2.2", "192.0.2.3")]
        monkeypatch.setattr(HostAddresses, "read", lambda _: views[0])
        assert await host.start() == await anext(changes) == views[0]
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        for view in (views[0], *views[1:]):
            host._publish(view)
        assert await waiting == views[2]
        await changes.aclose()  # type: ignore[attr-defined]  # an async generator
    finally:
        host.close()


async def test_the_address_of_an_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        HostAddress("192.0.2.1", 0, 0, 2),
        HostAddress("198.51.100.9", 0, 0, 3),
        HostAddress("198.51.100.8", 0, 0, 3),
        HostAddress("10.42.0.1", 0, 0, 3),
    ]
    monkeypatch.setattr(host_addresses, "_addresses", lambda: found)
    monkeypatch.setattr(host_addresses, "link_index", {"eth1": 3}.get)
    host = HostAddresses(besides=PODS, interface="eth1")
    try:
        assert (await host.start()).primary == "198.51.100.8"
        host.view = HostView(primary="198.51.100.9")
        assert host.read().primary == "198.51.100.9"  # what is good stays
        del found[1:]
        view = host.read()
        assert view.primary == "198.51.100.9"  # and an interface that is gone may come back
        assert view.addresses == ("192.0.2.1",)
    finally:
        host.close()


async def test_the_addresses_of_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        HostAddress("192.0.2.1", 0, 0, 2),
        HostAddress("2001:db8::7", 0, 0, 2),
        HostAddress("fd42::1", 0, 0, 3),
    ]
    monkeypatch.setattr(host_addresses, "_addresses", lambda: found)
    monkeypatch.setattr(host_addresses, "preferred_source", lambda _: "")
    pods = [ip_network("fd42::/56")]
    host = HostAddresses(besides=pods, families=(IPV6, IPV4))
    try:
        assert host.read().node_addresses == ("2001:db8::7", "192.0.2.1")
        del found[1]
        assert host.read().node_addresses == ("::1", "192.0.2.1")
    finally:
        host.close()
    host = HostAddresses(fixed="192.0.2.9", fixed_secondary="2001:db8::9", families=(IPV4, IPV6))
    try:
        assert host.read().node_addresses == ("192.0.2.9", "2001:db8::9")
    finally:
        host.close()
