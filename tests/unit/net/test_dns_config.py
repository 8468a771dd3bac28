"""What an administrator may set of DNS, and what is wrong with it."""

import json

import pytest

from kubelite.limits import DNS_CONFIG_ENTRIES, DNS_REWRITES, DNS_SERVERS
from kubelite.net.dns_config import DNSConfig, InvalidDNSConfig, Rewrite, parse_config
from kubelite.net.dns_hosts import HostNames
from kubelite.net.dns_wire import AAAA, ANY, PTR, TXT, A, parse_name
from unit.net.questions import told


def test_nothing_set_leaves_all_to_the_host() -> None:
    assert parse_config({}) == DNSConfig()
    assert parse_config({"stubDomains": " ", "hosts": "\n# only a comment\n"}) == DNSConfig()


def test_each_key_is_read() -> None:
    config = parse_config(
        {
            "stubDomains": '{"Acme.local": ["1.2.3.4", "1.2.3.5:5353"], "v6.org.": ["fd00::1", "[fd00::2]:54"]}',
            "upstreamNameservers": '["8.8.8.8"]',
            "hosts": "10.0.0.1 a.example B.example # the printer\n10.0.0.2 a.example\n",
            "rewrites": "exact old.example new.example\nsuffix .prod.example default.svc.cluster.local\n",
        }
    )
    assert config.stubs == {
        (b"acme", b"local"): (("1.2.3.4", 53), ("1.2.3.5", 5353)),
        (b"v6", b"org"): (("fd00::1", 53), ("fd00::2", 54)),
    }
    assert config.servers == (("8.8.8.8", 53),)
    assert config.hosts == {
        (b"a", b"example"): ("10.0.0.1", "10.0.0.2"),
        (b"b", b"example"): ("10.0.0.1",),
    }
    assert config.rewrites == (
        Rewrite("exact", parse_name("old.example"), parse_name("new.example")),
        Rewrite("suffix", parse_name("prod.example"), parse_name("default.svc.cluster.local")),
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"stubDomain": "{}"}, r"data\[stubDomain\]: unknown key; known are stubDomains, "),
        ({"stubDomains": "[]"}, r"data\[stubDomains\]: must be a JSON object"),
        ({"stubDomains": '{"a": "1.2.3.4"}'}, r"data\[stubDomains\]: must be a JSON object"),
        ({"stubDomains": '{"a": []}'}, r"data\[stubDomains\], domain 'a': needs an address"),
        ({"stubDomains": '{"a": ["x"]}'}, r"data\[stubDomains\], domain 'a': 'x' is not an IP"),
        ({"stubDomains": '{"a": ["1.2.3.4:0"]}'}, "'1.2.3.4:0' has no valid port"),
        ({"stubDomains": '{"a": ["1.2.3.4:70000"]}'}, "has no valid port"),
        ({"stubDomains": '{"a": ["[::1]x"]}'}, "has no valid port"),
        ({"stubDomains": '{"a..b": ["1.2.3.4"]}'}, "'a..b' is not a domain name"),
        ({"stubDomains": '{"": ["1.2.3.4"]}'}, "'' is not a domain name"),
        ({"upstreamNameservers": "1.2.3.4"}, r"data\[upstreamNameservers\]: must be a JSON list"),
        ({"upstreamNameservers": '["dns.example"]'}, "'dns.example' is not an IP address"),
        ({"hosts": "\n10.0.0.1\n"}, r"data\[hosts\], line 2: '10.0.0.1' has no name"),
        ({"hosts": "host 10.0.0.1"}, r"data\[hosts\], line 1: 'host' is not an IP address"),
        ({"hosts": "10.0.0.1 " + "x" * 64}, "is not a domain name"),
        ({"hosts": "10.0.0.1 b\u00fccher"}, "is not a domain name"),
        ({"rewrites": "regex a b"}, r"data\[rewrites\], line 1: must be 'exact NAME NAME'"),
        ({"rewrites": "exact a"}, "must be 'exact NAME NAME'"),
    ],
)
def test_what_cannot_be_used_names_its_place(data: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidDNSConfig, match=said):
        parse_config(data)


def test_their_number_is_bounded() -> None:
    hosts = "\n".join(f"10.0.0.1 h{number}" for number in range(DNS_CONFIG_ENTRIES.value + 1))
    rewrites = "\n".join(f"exact r{number} x" for number in range(DNS_REWRITES.value + 1))
    for data, limit in (
        ({"hosts": hosts}, DNS_CONFIG_ENTRIES),
        ({"rewrites": rewrites}, DNS_REWRITES),
    ):
        before = limit.times_reached
        with pytest.raises(InvalidDNSConfig, match=f"at most {limit.value} are allowed"):
            parse_config(data)
        assert limit.times_reached == before + 1


def test_servers_and_addresses_are_bounded() -> None:
    servers = json.dumps(["10.0.0.1"] * (DNS_SERVERS.value + 1))
    addresses = "\n".join(f"10.0.{n // 256}.{n % 256} h" for n in range(DNS_CONFIG_ENTRIES.value))
    for data in (
        {"upstreamNameservers": servers},
        {"stubDomains": f'{{"a": {servers}}}'},
        {"hosts": addresses},
    ):
        with pytest.raises(InvalidDNSConfig, match="are allowed"):
            parse_config(data)


def test_the_longest_domain_says_who_is_asked() -> None:
    config = parse_config(
        {
            "stubDomains": '{"example": ["1.1.1.1"], "a.example": ["2.2.2.2"]}',
            "upstreamNameservers": '["3.3.3.3"]',
        }
    )
    asked = {
        name: config.servers_for(parse_name(name))[0][0]
        for name in ("x.a.example", "a.example", "b.example", "example", "org", "nexample")
    }
    assert asked == {
        "x.a.example": "2.2.2.2",
        "a.example": "2.2.2.2",
        "b.example": "1.1.1.1",
        "example": "1.1.1.1",
        "org": "3.3.3.3",
        "nexample": "3.3.3.3",
    }
    assert DNSConfig().servers_for(parse_name("org")) == ()


def test_the_first_rewrite_about_a_name_holds() -> None:
    config = parse_config({"rewrites": "exact x.a one\nsuffix a two.b\nsuffix b three"})
    rewritten = {
        name: config.rewritten(parse_name(name)) for name in ("x.a", "y.a", "a", "z.b", "c")
    }
    assert rewritten == {
        "x.a": (b"one",),
        "y.a": (b"y", b"two", b"b"),
        "a": (b"two", b"b"),
        "z.b": (b"z", b"three"),
        "c": (b"c",),
    }


def test_hosts_have_addresses_of_both_families_and_pointers() -> None:
    hosts = HostNames(parse_config({"hosts": "10.0.0.1 a b\nfd00::1 a"}))

    def records(name: str, record_type: int) -> list[str] | None:
        found = hosts.answer(parse_name(name), record_type)
        return None if found is None else [told(record) for record in found.records]

    assert records("a", A) == ["a A 10.0.0.1"]
    assert records("a", AAAA) == ["a 28"]
    assert len(records("a", ANY) or []) == 2
    assert records("a", TXT) == []  # the name exists
    assert records("1.0.0.10.in-addr.arpa", PTR) == [
        "1.0.0.10.in-addr.arpa PTR a",
        "1.0.0.10.in-addr.arpa PTR b",
    ]
    assert records("2.0.0.10.in-addr.arpa", PTR) is None
    assert records("c", A) is None
