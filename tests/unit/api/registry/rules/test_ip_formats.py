import pytest

from kubelite.api.registry.rules.ip_formats import address, address_range, is_address
from kubelite.api.registry.rules.values import Out


def said(out: Out) -> str:
    return out[0].message if out else ""


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("10.9.8.7", ""),
        ("2001:db8::ffff", ""),
        ("2001:DB8:0::ffff", ""),
        ("10.9.8", "must be a valid IP address"),
        ("fe80::1%eth0", "must be a valid IP address"),
        ("010.9.8.7", "must not have leading 0s"),
        ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
    ],
)
def test_addresses(text: str, wrong: str) -> None:
    out = Out()
    address(out, "ip", text)
    assert (wrong in said(out)) if wrong else not out


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("10.0.0.0/8", ""),
        ("0.0.0.0/0", ""),
        ("2001:db8::/64", ""),
        ("10.0.0.0", "must be a valid CIDR value"),
        ("10.0.0.0/33", "must be a valid CIDR value"),
        ("10.0.0.0/255.0.0.0", "must be a valid CIDR value"),
        ("fe80::%1/64", "must be a valid CIDR value"),
        ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
        ("010.0.0.0/8", "must not have leading 0s in IP or prefix length"),
        ("::ffff:1.2.3.0/120", "must not have an IPv4-mapped IPv6 address"),
        ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
    ],
)
def test_ranges(text: str, wrong: str) -> None:
    out = Out()
    address_range(out, "cidr", text)
    assert (wrong in said(out)) if wrong else not out


def test_canonical_forms() -> None:
    out = Out()
    address(out, "ip", "2001:db8::1", canonical=True)
    address_range(out, "cidr", "2001:db8::/64", canonical=True)
    assert not out
    address(out, "ip", "2001:DB8::1", canonical=True)
    address_range(out, "cidr", "2001:db8:0::/64", canonical=True)
    assert ['must be in canonical form ("2001:db8::' in one.message for one in out] == [True, True]


def test_hosts_and_addresses_are_told_apart() -> None:
    assert is_address("10.0.0.1")
    assert not is_address("example.com")
