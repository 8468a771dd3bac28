"""Networks in CIDR notation."""

import pytest

from kubelite.cel.libraries import cidr
from kubelite.cel.libraries.ip import parse as parse_ip
from kubelite.cel.values import EvaluationFailed


@pytest.mark.parametrize(
    ("network", "other", "contains"),
    [
        ("192.168.0.0/16", "192.168.10.0/24", True),
        ("192.168.1.0/24", "192.168.2.0/24", False),
        ("10.0.0.0/8", "0.0.0.0/0", False),
        ("0.0.0.0/0", "10.0.0.0/8", True),
        ("10.1.2.3/8", "10.9.9.9/8", True),
        ("::/0", "1.2.3.4/32", False),
    ],
)
def test_networks_within_networks(network: str, other: str, contains: bool) -> None:
    assert cidr.contains_cidr(cidr.parse(network), cidr.parse(other)) is contains


def test_addresses_within_networks() -> None:
    network = cidr.parse("10.0.0.0/8")
    assert cidr.contains_ip(network, parse_ip("10.1.2.3"))
    assert not cidr.contains_ip(network, parse_ip("::1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x",
            (
                "network address parse error during conversion from string: network address parse error during "
                "conversion from string: netip.ParsePrefix(\"x\"): no '/'"
            ),
        ),
        (
            "::ffff:1.2.3.4/96",
            (
                "network address parse error during conversion from string: "
                'IPv4-mapped IPv6 address "::ffff:1.2.3.4/96" is not allowed'
            ),
        ),
    ],
)
def test_what_is_no_network(text: str, message: str) -> None:
    assert not cidr.is_cidr(text)
    with pytest.raises(EvaluationFailed) as failure:
        cidr.parse(text)
    assert failure.value.text == message


def test_size_and_equality() -> None:
    assert [cidr.parse(text).size for text in ("0.0.0.0/0", "10.0.0.0/9", "::/64")] == [0, 2, 8]
    assert cidr.parse("10.0.0.0/8") != cidr.parse("10.0.0.1/8")
    assert len({cidr.parse("10.0.0.0/8"), cidr.parse("10.0.0.0/8")}) == 1
