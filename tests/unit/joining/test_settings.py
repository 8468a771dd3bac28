"""What the cluster says of itself, and what an agent was told."""

import pytest
from msgspec.structs import replace

from kubelite.config import AgentConfig, ClusterSettings
from kubelite.joining.refusal import JoinFailed
from kubelite.joining.settings import ClusterInfo, read_info, require_agreement

DATA = {
    "cluster-cidr": "10.42.0.0/16",
    "service-cidr": "10.43.0.0/16",
    "cluster-dns": "10.43.0.10",
    "cluster-domain": "cluster.local",
    "node-cidr-mask-size": "24",
    "version": "1.4.2",
}
SETTINGS = ClusterSettings("10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local")
URL = "https://server:6443"


def test_what_the_cluster_says() -> None:
    assert read_info(URL, DATA) == ClusterInfo(SETTINGS, "1.4.2")


def test_what_of_the_network_is_left_to_others() -> None:
    said = read_info(URL, {**DATA, "disabled": "coredns,kube-proxy"}).settings
    assert said.disabled == ("coredns", "kube-proxy")
    assert said.served_addresses == ()
    assert read_info(URL, {**DATA, "disabled": ""}).settings == SETTINGS


@pytest.mark.parametrize("key", sorted(set(DATA) - {"node-cidr-mask-size"}))
def test_what_the_cluster_does_not_say_yet(key: str) -> None:
    with pytest.raises(JoinFailed, match=f"does not say its {key}$") as caught:
        read_info(URL, {**DATA, key: ""})
    assert caught.value.may_pass


@pytest.mark.parametrize("key", ["cluster-cidr", "service-cidr", "cluster-dns"])
def test_what_nobody_can_read(key: str) -> None:
    with pytest.raises(JoinFailed, match="is malformed") as caught:
        read_info(URL, {**DATA, key: "10.43.0.1; drop"})
    assert not caught.value.may_pass


@pytest.mark.parametrize(
    ("own", "agrees"), [("1.4.0", True), ("1.4.9+x", True), ("1.5.2", False), ("2.4.2", False)]
)
def test_versions(own: str, agrees: bool) -> None:
    info = ClusterInfo(SETTINGS, "1.4.2")
    if agrees:
        require_agreement(URL, info, AgentConfig(), own)
        return
    with pytest.raises(
        JoinFailed, match=f"runs kubelite 1.4.2, and this is kubelite {own};"
    ) as caught:
        require_agreement(URL, info, AgentConfig(), own)
    assert not caught.value.may_pass


@pytest.mark.parametrize(
    ("field", "same", "other"),
    [
        ("cluster_cidr", "10.42.0.0/16", "10.44.0.0/16"),
        ("service_cidr", "10.43.0.0/16", "10.44.0.0/16"),
        ("cluster_dns", "10.43.0.10", "10.43.0.11"),
        ("cluster_domain", "cluster.local", "example"),
    ],
)
def test_settings_given_to_the_agent(field: str, same: str, other: str) -> None:
    info, flag = ClusterInfo(SETTINGS, "1.4.2"), "--" + field.replace("_", "-")
    require_agreement(URL, info, replace(AgentConfig(), **{field: same}), "1.4.2")
    with pytest.raises(
        JoinFailed, match=f"the cluster has {flag} {same}, and this agent was given {other}"
    ) as caught:
        require_agreement(URL, info, replace(AgentConfig(), **{field: other}), "1.4.2")
    assert not caught.value.may_pass


DUAL = {
    **DATA,
    "cluster-cidr": "10.42.0.0/16,fd00:42::/56",
    "service-cidr": "10.43.0.0/16,fd00:43::/112",
    "cluster-dns": "10.43.0.10,fd00:43::a",
}


def test_two_families() -> None:
    info = read_info(URL, DUAL)
    assert info.settings.cluster_cidrs == ("10.42.0.0/16", "fd00:42::/56")
    assert info.settings.service_cidrs == ("10.43.0.0/16", "fd00:43::/112")
    assert info.settings.dns_addresses == ("10.43.0.10", "fd00:43::a")
    given = AgentConfig(
        cluster_cidr="10.42.0.0/16, FD00:42::/56", cluster_dns="10.43.0.10,fd00:43:0::a"
    )
    require_agreement(URL, info, given, "1.4.2")
    with pytest.raises(JoinFailed, match="the cluster has --cluster-cidr"):
        require_agreement(URL, info, AgentConfig(cluster_cidr="10.42.0.0/16"), "1.4.2")


@pytest.mark.parametrize("key", ["cluster-cidr", "service-cidr", "cluster-dns"])
def test_a_family_that_is_not_everywhere(key: str) -> None:
    with pytest.raises(JoinFailed, match="is malformed"):
        read_info(URL, {**DUAL, key: DATA[key]})
