"""Addresses and networks, read as Go reads them."""

from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.cel.libraries.netip import Unreadable, parse_address, parse_prefix


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::", "::"),
        ("::1", "::1"),
        ("1::", "1::"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("FE80::1", "fe80::1"),
        ("::1.2.3.4", "::102:304"),
        ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
        ("1:0:0:4:5:0:0:8", "1::4:5:0:0:8"),
    ],
)
def test_addresses(text: str, written: str) -> None:
    assert str(parse_address(text)) == written


def test_zones_and_mapped_addresses_are_recognised() -> None:
    assert parse_address("fe80::1%eth0").zone == "eth0"
    assert parse_address("::ffff:1.2.3.4").is_mapped
    assert not parse_address("::1").is_mapped


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "unable to parse IP"),
        ("abc", "unable to parse IP"),
        ("%eth0", "missing IPv6 address"),
        ("1.2.3", "IPv4 address too short"),
        ("1.2.3.4.5", "IPv4 address too long"),
        ("01.2.3.4", "IPv4 field has octet with leading zero"),
        ("256.1.1.1", "IPv4 field has value >255"),
        ("1..2.3", 'IPv4 field must have at least one digit (at ".2.3")'),
        ("1.2.3.", 'IPv4 field must have at least one digit (at ".")'),
        ("1.2.3.4/8", 'unexpected character (at "/8")'),
        ("fe80::1%", "zone must be a non-empty string"),
        (":::1", 'each colon-separated field must have at least one digit (at ":1")'),
        ("1:2", "address string too short"),
        ("1::2::3", 'multiple :: in address (at ":3")'),
        ("12345::", 'each group must have 4 or less digits (at "12345::")'),
        ("1:2:3:4:5:6:7:8:9", 'trailing garbage after address (at "9")'),
        ("1:2:3:4::5:6:7:8", "the :: must expand to at least one field of zeros"),
        ("1:", 'colon must be followed by more characters (at ":")'),
        ("1:2x", 'unexpected character, want colon (at "x")'),
        (
            "1:1.2.3.4",
            'embedded IPv4 address must replace the final 2 fields of the address (at "1.2.3.4")',
        ),
        (
            "::1:2:3:4:5:6:7:1.2.3.4",
            'too many hex fields to fit an embedded IPv4 at the end of the address (at "1.2.3.4")',
        ),
        ("::1.2.3.400", "IPv4 field has value >255"),
    ],
)
def test_what_is_wrong_with_an_address(text: str, problem: str) -> None:
    with pytest.raises(Unreadable) as failure:
        parse_address(text)
    assert str(failure.value) == f'ParseAddr("{text}"): {problem}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", "no '/'"),
        ("1.2.3/8", 'ParseAddr("1.2.3"): IPv4 address too short'),
        ("fe80::1%a/8", "IPv6 zones cannot be present in a prefix"),
        ("10.0.0.0/08", 'bad bits after slash: "08"'),
        ("10.0.0.0/", 'bad bits after slash: ""'),
        ("10.0.0.0/+8", 'bad bits after slash: "+8"'),
        ("10.0.0.0/99999999999999999999", 'bad bits after slash: "99999999999999999999"'),
        ("10.0.0.0/33", "prefix length out of range"),
        ("::/129", "prefix length out of range"),
    ],
)
def test_what_is_wrong_with_a_network(text: str, problem: str) -> None:
    with pytest.raises(Unreadable) as failure:
        parse_prefix(text)
    assert str(failure.value) == f'netip.ParsePrefix("{text}"): {problem}'


def test_networks() -> None:
    prefix = parse_prefix("10.1.2.3/8")
    assert (str(prefix), str(prefix.masked())) == ("10.1.2.3/8", "10.0.0.0/8")
    assert prefix.contains(parse_address("10.9.9.9"))
    assert not prefix.contains(parse_address("11.0.0.0"))
    assert not parse_prefix("::/0").contains(parse_address("1.2.3.4"))
    assert parse_prefix("0.0.0.0/0").contains(parse_address("1.2.3.4"))


@given(st.ip_addresses())
def test_what_is_written_is_read(address: object) -> None:
    assert str(parse_address(str(address))) == str(ip_address(str(address)))


@given(st.text("0123456789abf:.", max_size=20))
def test_python_reads_the_same_addresses(text: str) -> None:
    try:
        expected = int(ip_address(text))
    except ValueError:
        with pytest.raises(Unreadable):
            parse_address(text)
        return
    assert parse_address(text).number == expected


def test_a_long_text_is_refused_at_once() -> None:
    with pytest.raises(Unreadable, match="4 or less"):
        parse_address("1:" + "0" * 1_000_000)
    assert str(IPv6Address(parse_address("::a").number)) == "::a"
