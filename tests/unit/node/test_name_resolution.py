"""/etc/hosts, /etc/resolv.conf and host names."""

from typing import Any

import msgspec

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.name_resolution import (
    DNSSettings,
    host_name,
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
