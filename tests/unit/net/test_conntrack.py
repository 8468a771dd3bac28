"""Which UDP flows the kernel must forget."""

from ipaddress import IPv6Address

import pytest

from kubelite.net.conntrack import Flow, is_stale, parse_flow
from kubelite.net.netlink_messages import NESTED, encode_attributes

HEADER = bytes(4)  # family, version, resource

FRONTENDS = {
    ("10.43.0.5", 53): frozenset({"10.42.0.2"}),
    ("", 30053): frozenset({"10.42.0.2"}),
    ("192.0.2.1", 5353): frozenset({"10.42.0.4"}),
}


@pytest.mark.parametrize(
    ("protocol", "destination", "port", "answering", "is_forgotten"),
    [
        (17, "10.43.0.5", 53, "10.42.0.2", False),
        (17, "10.43.0.5", 53, "10.42.0.3", True),
        (17, "10.43.0.5", 53, "10.43.0.5", True),  # from before the service had endpoints
        (17, "10.43.0.5", 54, "10.42.0.3", False),
        (6, "10.43.0.5", 53, "10.42.0.3", False),
        (17, "192.0.2.1", 30053, "10.42.0.3", True),
        (17, "192.0.2.1", 30053, "10.42.0.2", False),
        (17, "192.0.2.1", 30053, "192.0.2.1", True),  # from before the port had endpoints
        (17, "8.8.8.8", 30053, "8.8.8.8", False),  # another machine's
        (17, "8.8.8.8", 30053, "10.42.0.3", False),
        (17, "127.0.0.7", 30053, "127.0.0.7", True),
        (17, "192.0.2.1", 5353, "192.0.2.1", True),
        (17, "192.0.2.9", 5353, "192.0.2.9", False),
    ],
)
def test_is_stale(
    protocol: int, destination: str, port: int, answering: str, is_forgotten: bool
) -> None:
    flow = Flow(b"", protocol, destination, port, answering)
    assert is_stale(flow, FRONTENDS, {"192.0.2.1", "192.0.2.9"}) is is_forgotten


def side(source: bytes, destination: bytes, port: int) -> bytes:
    ip = encode_attributes({1: source, 2: destination})
    protocol = encode_attributes({1: b"\x11", 2: b"\x30\x39", 3: port.to_bytes(2, "big")})
    return encode_attributes({1 | NESTED: ip, 2 | NESTED: protocol})


def test_parse_flow() -> None:
    original = side(b"\x0a\x2a\0\x07", b"\x0a\x2b\0\x05", 53)
    reply = side(b"\x0a\x2a\0\x02", b"\x0a\x2a\0\x07", 12345)
    payload = HEADER + encode_attributes({1 | NESTED: original, 2 | NESTED: reply})
    assert parse_flow(payload) == Flow(original, 17, "10.43.0.5", 53, "10.42.0.2")
    with pytest.raises(KeyError):
        parse_flow(HEADER)


def test_parse_flow_of_ipv6() -> None:
    def pair(source: str, destination: str) -> bytes:
        packed = (IPv6Address(source).packed, IPv6Address(destination).packed)
        ip = encode_attributes({3: packed[0], 4: packed[1]})
        protocol = encode_attributes({1: b"\x11", 2: b"\x30\x39", 3: b"\0\x35"})
        return encode_attributes({1 | NESTED: ip, 2 | NESTED: protocol})

    original, reply = pair("fd42::7", "fd43::5"), pair("fd42::2", "fd42::7")
    payload = HEADER + encode_attributes({1 | NESTED: original, 2 | NESTED: reply})
    assert parse_flow(payload) == Flow(original, 17, "fd43::5", 53, "fd42::2")
