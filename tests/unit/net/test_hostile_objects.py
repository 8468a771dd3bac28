"""No text of an object reaches a rule, a route or a record unless it was proved to be what it should be."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service

from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from kubelite.api.kinds.model import to_wire
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from kubelite.net import policies
from kubelite.net.overlay import peers
from kubelite.net.policies import members, policy_rules
from kubelite.net.ruleset import ProxySettings, Ruleset, merge, replace_all
from kubelite.net.services import host_port_rules, service_rules

SETTINGS = ProxySettings(node_name=NODE)
EVIL = "EVIL"
# Appended to, or instead of, a text that was valid; numbers are beyond what a field may say.
SPOILED = [f" }} {EVIL}", f"\n{EVIL}", f"; flush ruleset # {EVIL}", f"%{EVIL}", f"/{EVIL}"]
NUMBERS = [-1, 0, 65536, 2**31 - 1]


def spoiled(value: Any) -> Iterator[Any]:
    """Yield copies of a JSON value in each of which one text or number is spoiled."""
    match value:
        case str():
            yield from (value + more for more in SPOILED)
            yield EVIL
        case bool() | None:
            return
        case int():
            yield from NUMBERS
        case list():
            for number, item in enumerate(value):
                for bad in spoiled(item):
                    yield [*value[:number], bad, *value[number + 1 :]]
        case dict():
            for key, item in value.items():
                for bad in spoiled(item):
                    yield {**value, key: bad}
        case _:
            raise AssertionError(f"{value!r} is no JSON")


def variants(item: Any) -> list[Any]:
    """Return the object with each of its texts and numbers spoiled in turn, as far as it can be read then."""
    found = []
    for body in spoiled(to_wire(item)):
        try:
            found.append(msgspec.convert(body, type(item)))
        except msgspec.ValidationError:
            continue
    assert len(found) > 30
    return found


def texts_of(rules: Ruleset) -> str:
    return replace_all(merge([rules]), SETTINGS)


SERVICE = service(
    type="LoadBalancer",
    ports=[port(80, name="http", node_port=30080)],
    externalIPs=["203.0.113.8"],
    loadBalancerSourceRanges=["192.0.2.0/24", *(f"198.51.{n}.0/25" for n in range(9))],
    sessionAffinity="ClientIP",
    externalTrafficPolicy="Local",
    healthCheckNodePort=31000,
)
SLICE = endpoint_slice(endpoint("10.42.0.2"), port_name="http")
CONTAINER = Container(
    name="c",
    ports=[
        ContainerPort(
            name="http", containerPort=80, hostPort=8080, hostIP="192.0.2.1", protocol="TCP"
        )
    ],
)
POD = Pod(
    metadata=ObjectMeta(namespace="default", name="p", uid="u", labels={"app": "web"}),
    spec=PodSpec(nodeName=NODE, containers=[CONTAINER]),
    status=PodStatus(phase="Running", podIP="10.42.0.2"),
)
PEERS = [
    NetworkPolicyPeer(ipBlock=IPBlock(cidr="192.0.2.0/24", except_=["192.0.2.0/28"])),
    NetworkPolicyPeer(
        podSelector=LabelSelector(matchLabels={"app": "web"}),
        namespaceSelector=LabelSelector(
            matchExpressions=[LabelSelectorRequirement(key="t", operator="Exists")]
        ),
    ),
]
PORTS = [
    NetworkPolicyPort(port=80, endPort=90, protocol="TCP"),
    NetworkPolicyPort(port="http", protocol="TCP"),
]
POLICY = NetworkPolicy(
    metadata=ObjectMeta(namespace="default", name="p"),
    spec=NetworkPolicySpec(
        podSelector=LabelSelector(matchLabels={"app": "web"}),
        ingress=[NetworkPolicyIngressRule(from_=PEERS, ports=PORTS)],
        egress=[NetworkPolicyEgressRule(to=PEERS, ports=PORTS)],
        policyTypes=["Ingress", "Egress"],
    ),
)


def of_service(item: Service) -> Ruleset:
    return service_rules(item, [SLICE], SETTINGS)


def of_slice(item: EndpointSlice) -> Ruleset:
    return service_rules(SERVICE, [item], SETTINGS)


def of_host_ports(item: Pod) -> Ruleset:
    return host_port_rules([item])


def of_policy(item: NetworkPolicy) -> Ruleset:
    return policy_rules([item], members([POD], NODE, {}), {"default": {"t": ""}})


def of_member(item: Pod) -> Ruleset:
    return policy_rules(
        [POLICY], members([item], NODE, {"u": ["10.42.0.7"]}), {"default": {"t": ""}}
    )


@pytest.mark.parametrize(
    ("item", "rules"),
    [
        (SERVICE, of_service),
        (SLICE, of_slice),
        (POD, of_host_ports),
        (POLICY, of_policy),
        (POD, of_member),
    ],
)
@pytest.mark.parametrize("lines_a_rule", [32, -1])
def test_nothing_unproved_reaches_a_rule(
    monkeypatch: pytest.MonkeyPatch,
    lines_a_rule: int,
    item: Any,
    rules: Callable[[Any], Ruleset],
) -> None:
    monkeypatch.setattr(policies, "LINES_A_RULE", lines_a_rule)
    assert rules(item).elements or rules(item).chains
    wide = ("65536", "2147483647", " . -1", "dport -1", " . 0 ", "dport 0 ")
    for bad in variants(item):
        text = texts_of(rules(bad))
        assert EVIL not in text
        for line in text.splitlines():
            assert not any(number in line for number in wide), line


def test_an_address_of_a_node_that_is_none_costs_no_other_its_route() -> None:
    good = msgspec.convert(
        {
            "metadata": {"name": "good"},
            "spec": {"podCIDR": "10.42.1.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]},
        },
        Node,
    )
    expected = peers([good], "own", [])
    assert len(expected) == 1
    for bad in variants(good):
        found = peers(
            [msgspec.structs.replace(bad, metadata=ObjectMeta(name="bad")), good], "own", []
        )
        assert expected[0] in found
        assert not any(EVIL in one.address + one.pod_cidr for one in found)
    loopback = msgspec.convert(
        {
            "metadata": {"name": "bad"},
            "spec": {"podCIDR": "10.42.2.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]},
        },
        Node,
    )
    assert peers([loopback], "own", []) == []


@pytest.mark.parametrize(
    "fields", [{"cluster_cidr": "x"}, {"service_cidr": "10.0.0.0/8 accept"}, {"bridge": 'a" drop'}]
)
def test_settings_are_proved_too(fields: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        ProxySettings(node_name=NODE, **fields)
