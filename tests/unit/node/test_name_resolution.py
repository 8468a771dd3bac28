"""/etc/hosts, /etc/resolv.conf and host names."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.name_resolution import (
    DNSSettings,
    host_name,
    host_network_hosts_file,
    hosts_file,
    read_resolv_conf,
    resolv_conf,
)

SETTINGS = read_resolv_conf(
    "nameserver 127.0.0.53\nnameserver 192.0.2.53 # comment\nsearch example.com\noptions timeout:1\n",
    DNSSettings(("10.43.0.10",)),
)


def pod_of(**spec: Any) -> Pod:
    return msgspec.convert({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec}, Pod)


def test_pods_ask_the_cluster_first() -> None:
    assert resolv_conf(pod_of(), SETTINGS) == (
        "search ns.svc.cluster.local svc.cluster.local cluster.local example.com\n"
        "nameserver 10.43.0.10\noptions ndots:5\n"
    )


@pytest.mark.parametrize(
    ("text", "servers", "searches", "options"),
    [
        ("nameserver\t192.0.2.1\r\n", ("192.0.2.1",), (), ()),
        ("nameserver 192.0.2.1;old\n; nameserver 192.0.2.2\n", ("192.0.2.1",), (), ()),
        ("nameserver 192.0.2.\ufffd\nnameserver 2001:db8::1\n", ("2001:db8::1",), (), ()),
        ("nameserver ::1\nnameserver 127.0.0.53\nnameserver fe80::1%eth0\n", ("fe80::1%eth0",), (), ()),
        ("search a.example \ufffd\x00 b.example\n", (), ("a.example", "b.example"), ()),
        ("options ndots:2 \ufffd\n", (), (), ("ndots:2",)),
        ("nameserver\nsearch\n\ufffd\n \n", (), (), ()),
    ],
)  # fmt: skip
def test_odd_lines_of_the_host_are_left_out(
    text: str, servers: tuple[str, ...], searches: tuple[str, ...], options: tuple[str, ...]
) -> None:
    found = read_resolv_conf(text, DNSSettings())
    assert (found.host_servers, found.host_searches, found.host_options) == (
        servers,
        searches,
        options,
    )


def test_default_and_host_network_use_the_hosts_servers() -> None:
    expected = "search example.com\nnameserver 192.0.2.53\noptions timeout:1\n"
    assert resolv_conf(pod_of(dnsPolicy="Default"), SETTINGS) == expected
    assert resolv_conf(pod_of(hostNetwork=True, dnsPolicy="ClusterFirst"), SETTINGS) == expected
    with_host = pod_of(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    assert "10.43.0.10" in resolv_conf(with_host, SETTINGS)


def test_a_pods_own_settings_are_added() -> None:
    config = {
        "nameservers": ["9.9.9.9"],
        "searches": ["x"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    assert resolv_conf(pod_of(dnsPolicy="None", dnsConfig=config), SETTINGS) == (
        "search x\nnameserver 9.9.9.9\noptions ndots:2\n"
    )
    assert "options ndots:2\n" in resolv_conf(pod_of(dnsConfig=config), SETTINGS)


def test_hosts_name_the_pod_and_its_aliases() -> None:
    aliases = [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]
    pod = pod_of(hostname="h", subdomain="sub", hostAliases=aliases)
    text = hosts_file(pod, ["10.42.0.2"], "cluster.local")
    assert "10.42.0.2\th.sub.ns.svc.cluster.local\th\n" in text
    assert text.endswith("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")


def test_host_names_fit_and_may_be_complete() -> None:
    assert host_name(pod_of(), "cluster.local") == "p"
    long = msgspec.convert({"metadata": {"name": "a" * 62 + "-bc"}}, Pod)
    assert host_name(long, "cluster.local") == "a" * 62
    complete = pod_of(subdomain="s", setHostnameAsFQDN=True)
    assert host_name(complete, "cluster.local") == "p.s.ns.svc.cluster.local"


BROKEN = ["a\n10.0.0.1 api", "a\rb", "a b", "a\tb", "a\x1bb", "a\0b", "a\u2028b"]


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize(
    "spec",
    [
        lambda text: {"hostname": text},
        lambda text: {"subdomain": text},
        lambda text: {"hostnameOverride": text},
        lambda text: {"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["good", text]}]},
        lambda text: {"hostAliases": [{"ip": text, "hostnames": ["good"]}]},
        lambda text: {"dnsConfig": {"nameservers": [text]}},
        lambda text: {"dnsConfig": {"searches": [text]}},
        lambda text: {"dnsConfig": {"options": [{"name": text}]}},
        lambda text: {"dnsConfig": {"options": [{"name": "ndots", "value": text}]}},
    ],
)
def test_text_that_would_break_a_line_is_refused(
    spec: Callable[[str], dict[str, Any]], text: str
) -> None:
    pod = pod_of(**spec(text))
    with pytest.raises(ConfigUnavailable, match="invalid"):
        "".join(
            [
                host_name(pod, "cluster.local"),
                hosts_file(pod, ["10.42.0.2"], "cluster.local"),
                host_network_hosts_file(pod, ""),
                resolv_conf(pod, SETTINGS),
            ]
        )
