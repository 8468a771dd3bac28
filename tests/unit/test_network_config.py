from pathlib import Path

import pytest

from kubelite.config import ClusterSettings, Config, InvalidConfig, load, load_agent
from kubelite.network_config import NetworkConfig, dns_addresses, listening_address

NOWHERE = Path("/nowhere/config.yaml")
DUAL = {"cluster_cidr": "10.42.0.0/16,fd00:42::/56", "service_cidr": "10.43.0.0/16,fd00:43::/112"}
SIX = {"cluster_cidr": "fd00:42::/56", "service_cidr": "fd00:43::/112"}


def test_a_cluster_has_one_family_unless_told_otherwise() -> None:
    config = Config()
    assert config.cluster_cidrs == ("10.42.0.0/16",)
    assert config.service_cidrs == ("10.43.0.0/16",)
    assert config.cluster == ClusterSettings(
        "10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local"
    )
    assert config.node_prefixes[4] == 24


@pytest.mark.parametrize(
    ("given", "pods", "services", "dns", "api"),
    [
        (
            DUAL,
            ("10.42.0.0/16", "fd00:42::/56"),
            ("10.43.0.0/16", "fd00:43::/112"),
            ("10.43.0.10", "fd00:43::a"),
            "10.43.0.1",
        ),
        (
            {
                "cluster_cidr": "fd00:42:0::/56, 10.42.0.0/16",
                "service_cidr": "FD00:43::/112,10.43.0.0/16",
                "cluster_dns": "10.43.0.53",
            },
            ("fd00:42::/56", "10.42.0.0/16"),
            ("fd00:43::/112", "10.43.0.0/16"),
            ("fd00:43::a", "10.43.0.53"),
            "fd00:43::1",
        ),
        (SIX, ("fd00:42::/56",), ("fd00:43::/112",), ("fd00:43::a",), "fd00:43::1"),
    ],
)
def test_families_of_a_cluster(
    given: dict[str, str],
    pods: tuple[str, ...],
    services: tuple[str, ...],
    dns: tuple[str, ...],
    api: str,
) -> None:
    config = load(given, {}, NOWHERE)
    assert (config.cluster_cidrs, config.service_cidrs) == (pods, services)
    assert (config.dns_addresses, config.dns_address, config.api_address) == (dns, dns[0], api)
    settings = config.cluster
    assert (settings.cluster_cidrs, settings.service_cidrs) == (pods, services)
    assert settings.dns_addresses == dns


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        (DUAL, {4: 24, 6: 64}),
        ({**DUAL, "node_cidr_mask_size_ipv4": 26, "node_cidr_mask_size_ipv6": 80}, {4: 26, 6: 80}),
        ({**SIX, "node_cidr_mask_size": 72}, {6: 72}),
        ({**SIX, "node_cidr_mask_size_ipv6": 72}, {6: 72}),
        (SIX, {6: 64}),
        ({"node_cidr_mask_size": 26}, {4: 26}),
        ({"node_cidr_mask_size_ipv4": 26}, {4: 26}),
    ],
)
def test_parts_of_nodes_by_family(given: dict[str, object], sizes: dict[int, int]) -> None:
    found = load(given, {}, NOWHERE).node_prefixes
    assert {version: found[version] for version in sizes} == sizes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"cluster_cidr": "10.42.0.0/16,fd00:42::/56"},
            "--service-cidr 10.43.0.0/16: must have the",
        ),
        ({"cluster_cidr": "fd00:42::/56"}, "must have the families of --cluster-cidr fd00:42::/56"),
        (
            {**DUAL, "service_cidr": "fd00:43::/112,10.43.0.0/16"},
            "--service-cidr fd00:43::/112,10.43.0.0/16: must have the families of --cluster-cidr",
        ),
        (
            {"cluster_cidr": "10.42.0.0/16,10.44.0.0/16"},
            "must be one value, or one of IPv4 and one",
        ),
        ({"cluster_cidr": "10.42.0.0/16,fd00::/56,fd01::/56"}, "must be one value, or one of IPv4"),
        ({"cluster_cidr": ","}, "must be a range of addresses"),
        ({**SIX, "cluster_cidr": "fd00:43::/56"}, "must not overlap --cluster-cidr"),
        ({**SIX, "cluster_cidr": "fd00:42::1/56"}, "has host bits set"),
        ({**SIX, "cluster_cidr": "2000::/3"}, "must be a range of addresses that pods"),
        ({**SIX, "cluster_cidr": "fe80::/64"}, "must be a range of addresses that pods"),
        ({**SIX, "cluster_cidr": "::ffff:10.42.0.0/112"}, "must be a range of addresses that pods"),
        ({**SIX, "service_cidr": "fd00:43::/121"}, "an IPv6 range of at least 256 addresses"),
        ({**DUAL, "cluster_dns": "10.43.0.10,10.43.0.11"}, "must be one value, or one of IPv4"),
        ({**DUAL, "cluster_dns": "10.43.0.10,fd00::a"}, "fd00::a: must be within --service-cidr"),
        ({**DUAL, "cluster_dns": "fd00:43::1"}, "is the address of the API's Service"),
        (
            {**DUAL, "node_cidr_mask_size": 26},
            "--node-cidr-mask-size 26: is not for dual-stack clusters",
        ),
        (
            {**DUAL, "node_cidr_mask_size_ipv6": 127},
            "--node-cidr-mask-size-ipv6 127: must be 56 to 126 for pod addresses of fd00:42::/56",
        ),
        ({**DUAL, "node_cidr_mask_size_ipv4": 15}, "--node-cidr-mask-size-ipv4 15: must be 16 to"),
        ({**SIX, "node_cidr_mask_size_ipv4": 26}, "the cluster has no range of IPv4"),
        (
            {"node_cidr_mask_size": 26, "node_cidr_mask_size_ipv4": 27},
            "--node-cidr-mask-size is given too",
        ),
        ({"node_ip": "192.0.2.1,192.0.2.2"}, "--node-ip 192.0.2.1,192.0.2.2: must be one value"),
        ({"node_ip": "192.0.2.1,::"}, "--node-ip ::: must be an address of this host"),
        ({"node_ip": "fe80::1%eth0"}, "must not have a zone"),
        ({"node_ip": "::ffff:192.0.2.1"}, "nor be an address of IPv4 in IPv6"),
        ({"bind_address": "::ffff:192.0.2.1"}, "nor be an address of IPv4 in IPv6"),
        ({"network_plugin": "flannel"}, "--network-plugin flannel: must be kubelite or cni"),
        ({"cni_conf_dir": "net.d"}, "--cni-conf-dir net.d: must be an absolute path"),
        ({"cni_bin_dir": "/opt/cni/bin,bin"}, "--cni-bin-dir bin: must be an absolute path"),
        ({"cni_bin_dir": ","}, "must be an absolute path"),
        ({"node_external_ip": "192.0.2.1,ff02::1"}, "ff02::1: must be an address of this host"),
    ],
)
def test_families_that_do_not_fit(given: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        load(given, {}, NOWHERE)
    assert words in str(refused.value)


def test_a_node_has_an_address_of_each_family() -> None:
    given = {"node_ip": "192.0.2.1, 2001:db8::1", "node_external_ip": "2001:db8::2"}
    for config in (load(given, {}, NOWHERE), load_agent(given, {}, NOWHERE)):
        assert config.node_ips == ("192.0.2.1", "2001:db8::1")
        assert config.node_external_ips == ("2001:db8::2",)


@pytest.mark.parametrize("field", ["cluster_cidr", "service_cidr", "cluster_dns"])
def test_an_agent_may_expect_two_families(field: str) -> None:
    value = "10.43.0.10,fd00::a" if field == "cluster_dns" else "10.42.0.0/16,fd00::/56"
    assert getattr(load_agent({field: value}, {}, NOWHERE), field) == value
    with pytest.raises(InvalidConfig, match="must be one value, or one of IPv4 and one of IPv6"):
        load_agent({field: f"{value},{value}"}, {}, NOWHERE)


@pytest.mark.parametrize(
    ("address", "ranges", "listening"),
    [
        ("0.0.0.0", "10.42.0.0/16", "0.0.0.0"),
        ("0.0.0.0", "10.42.0.0/16,fd42::/56", "::"),
        ("0.0.0.0", "fd42::/56", "::"),
        ("192.0.2.1", "fd42::/56", "192.0.2.1"),
        ("::", "10.42.0.0/16", "::"),
    ],
)
def test_all_addresses_are_those_of_all_families(address: str, ranges: str, listening: str) -> None:
    assert listening_address(address, ranges) == listening


def test_an_address_has_one_text_however_it_is_given() -> None:
    assert dns_addresses("10.43.0.0/16,fd43::/112", "FD43:0::000A") == ("10.43.0.10", "fd43::a")
    given = NetworkConfig(node_ip="2001:DB8:0::1, 192.0.2.1", node_external_ip="2001:DB8::0:2")
    assert given.node_ips == ("2001:db8::1", "192.0.2.1")
    assert given.node_external_ips == ("2001:db8::2",)
