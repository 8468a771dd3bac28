import socket
from ipaddress import ip_network

import pytest

from kubelite.net.host_addresses import (
    ADDRESS,
    IFA_ADDRESS,
    IFA_LOCAL,
    HostAddress,
    HostAddresses,
    decoded,
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
        "192.0.2.7", 0, 0x80
    )
    six = encode_attributes({IFA_ADDRESS: socket.inet_pton(socket.AF_INET6, "2001:db8::7")})
    assert decoded(ADDRESS.pack(socket.AF_INET6, 64, 0x80, 0, 2) + six) == HostAddress(
        "2001:db8::7", 0, 0x80
    )
    assert decoded(ADDRESS.pack(socket.AF_INET, 24, 0, 0, 2)) is None
    assert decoded(ADDRESS.pack(99, 24, 0, 0, 2) + body) is None


async def test_what_differs_from_the_start_is_told() -> None:
    host = HostAddresses()
    try:
        changes = host.changes(("198.51.100.1",))
        assert await anext(changes) == host.read()
        await changes.aclose()  # type: ignore[attr-defined]  # an async generator
    finally:
        host.close()
