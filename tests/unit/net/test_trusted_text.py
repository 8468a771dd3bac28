"""What may stand in a rule, and what must not."""

import pytest
from fakes.network_objects import NODE, endpoint_slice, port, service

from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.families import IPV4, IPV6
from kubelite.net.ruleset import ProxySettings, Ruleset, difference, merge
from kubelite.net.services import service_rules
from kubelite.net.trusted_text import address_text, endpoint_text, is_name, is_port, range_of

EVIL = "10.42.0.2 }; flush ruleset; #"


@pytest.mark.parametrize(
    "text", ["", EVIL, "None", "10.42.0", "10.42.0.256", "fd00::1", "10.42.0.2 ", "\u0661.2.3.4"]
)
def test_no_addresses(text: str) -> None:
    assert address_text(text, IPV4) is None
    assert endpoint_text(text, IPV4) is None


@pytest.mark.parametrize("text", ["127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0"])
def test_addresses_that_no_service_may_lead_to(text: str) -> None:
    assert address_text(text, IPV4) == text
    assert endpoint_text(text, IPV4) is None


@pytest.mark.parametrize(
    "text",
    ["", "10.42.0.2", "fd00::1%eth0", "fd00::1%}; flush ruleset", "fd00::1 ", "fd00::g", "[::1]"],
)
def test_no_addresses_of_ipv6(text: str) -> None:
    assert address_text(text, IPV6) is None


def test_an_address_of_ipv6_has_one_text() -> None:
    assert address_text("FD00:0:0::0001", IPV6) == "fd00::1" == endpoint_text("fd00::1", IPV6)
    for text in ("::1", "fe80::1", "ff02::1", "::", "::ffff:a2a:2"):
        assert address_text(text, IPV6) == text
        assert endpoint_text(text, IPV6) is None


def test_names() -> None:
    assert is_name("web-1.a")
    for text in ("", "a b", "A", "-a", "a-", "a\n", "a/b", "a;", "a" * 254):
        assert not is_name(text)


def test_ports() -> None:
    assert is_port(1)
    assert is_port(65535)
    for number in (0, -1, 65536, 2**31):
        assert not is_port(number)


@pytest.mark.parametrize("number", [-1, 65536, 2**31])
def test_a_number_that_is_no_port_gets_into_no_rule(number: int) -> None:
    """One object with such a number would have the whole transaction refused, and with it those of all others."""
    settings = ProxySettings(node_name=NODE)
    bad = service(type="NodePort", ports=[port(80, node_port=number), port(number, name="b")])
    rules = service_rules(bad, [endpoint_slice("10.42.0.2")], settings)
    rules = merge(
        [rules, service_rules(service(), [endpoint_slice("10.42.0.2", port=number)], settings)]
    )
    assert str(number) not in difference(Ruleset(), rules)
    assert ("services", "10.43.0.5 . tcp . 80") in rules.elements


def test_ranges() -> None:
    assert str(range_of(" 10.1.2.3/8", IPV4)) == "10.0.0.0/8"
    assert str(range_of("FD00:1::/16", IPV6)) == "fd00::/16"
    for text in ("", "10.0.0.0/8", "fd00::/129", "fd00::%a/64", f"fd00::/8; {EVIL}"):
        assert range_of(text, IPV6) is None
    for text in ("", "fd00::/8", "10.0.0.0/33", f"10.0.0.0/8; {EVIL}"):
        assert range_of(text, IPV4) is None


def test_nothing_of_it_gets_into_a_rule() -> None:
    settings = ProxySettings(node_name=NODE)
    evil = service(
        externalIPs=[EVIL],
        loadBalancerSourceRanges=[EVIL],
        type="LoadBalancer",
        ports=[port(name=EVIL)],
    )
    rules = service_rules(evil, [endpoint_slice(EVIL, "127.0.0.1", port_name=EVIL)], settings)
    assert "flush ruleset" not in difference(Ruleset(), rules)
    assert not rules.chains
    named = service("a; flush ruleset")
    assert service_rules(named, [], settings) == Ruleset()
    placed = type(evil)(metadata=ObjectMeta(name="a", namespace=EVIL), spec=service().spec)
    assert service_rules(placed, [], settings) == Ruleset()
    assert service_rules(service(ip=EVIL), [], settings) == Ruleset()
