"""Kinds of IP addresses."""

import pytest

from kubelite.cel.libraries import ip
from kubelite.cel.values import EvaluationFailed

KINDS = {
    ip.is_unspecified: {"0.0.0.0", "::"},
    ip.is_loopback: {"127.0.0.1", "127.255.0.1", "::1"},
    ip.is_link_local_multicast: {"224.0.0.1", "ff02::1", "ff12::1"},
    ip.is_link_local_unicast: {"169.254.169.254", "fe80::1", "febf::1"},
    ip.is_global_unicast: {"192.168.0.1", "2001:db8::abcd", "fd80::1", "169.253.0.1", "fec0::1"},
}
OTHERS = {"255.255.255.255", "224.0.1.1", "ff00::1", "239.0.0.1"}


@pytest.mark.parametrize("text", sorted(OTHERS.union(*KINDS.values())))
def test_the_kind_of_an_address(text: str) -> None:
    address = ip.parse(text).address
    assert {kind for kind in KINDS if kind(address)} == {
        kind for kind, members in KINDS.items() if text in members
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1.2.3",
            (
                'IP Address "1.2.3" parse error during conversion from string: ParseAddr("1.2.3"): '
                "IPv4 address too short"
            ),
        ),
        ("fe80::1%eth0", 'IP address "fe80::1%eth0" with zone value is not allowed'),
        ("::ffff:1.2.3.4", 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed'),
    ],
)
def test_what_is_no_address(text: str, message: str) -> None:
    assert not ip.is_ip(text)
    with pytest.raises(EvaluationFailed) as failure:
        ip.is_canonical(text)
    assert failure.value.text == message


def test_equality_size_and_canonical_form() -> None:
    assert ip.is_canonical("2001:db8::abcd")
    assert not ip.is_canonical("2001:DB8::ABCD")
    assert ip.parse("::1") == ip.parse("0::1")
    assert len({ip.parse("::1"), ip.parse("0::1"), ip.parse("0.0.0.1")}) == 2
    assert (ip.parse("::1").size, ip.parse("1.2.3.4").size) == (16, 4)
