"""What network policies let through."""

import pytest

from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus
from kubelite.api.kinds.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from kubelite.net.policies import Member, dns_members, isolation, members, policy_rules
from kubelite.net.ruleset import ProxySettings, Ruleset
from kubelite.net.trusted_text import AddressText

WEB = Member("default", {"app": "web"}, AddressText("10.42.0.2"), True, (("http", "tcp", 8080),))
DATABASE = Member("default", {"app": "db"}, AddressText("10.42.0.3"), True)
FAR = Member("default", {"app": "web"}, AddressText("10.42.1.2"))
OTHER = Member("other", {"app": "web"}, AddressText("10.42.0.4"), True, (("http", "tcp", 80),))
PODS = [WEB, DATABASE, FAR, OTHER]
NAMESPACES = {"default": {"team": "a"}, "other": {"team": "b"}}
EVERY = LabelSelector()


def chosen(**labels: str) -> LabelSelector:
    return LabelSelector(matchLabels=labels)


def policy(
    name: str = "p",
    selector: LabelSelector = EVERY,
    *,
    ingress: list[NetworkPolicyIngressRule] | None = None,
    egress: list[NetworkPolicyEgressRule] | None = None,
    types: list[str] | None = None,
) -> NetworkPolicy:
    if types is None:
        types = [
            word for word, rules in (("Ingress", ingress), ("Egress", egress)) if rules is not None
        ]
    return NetworkPolicy(
        metadata=ObjectMeta(namespace="default", name=name),
        spec=NetworkPolicySpec(
            podSelector=selector, ingress=ingress or [], egress=egress or [], policyTypes=types
        ),
    )


def rules(*policies: NetworkPolicy) -> Ruleset:
    return policy_rules(policies, PODS, NAMESPACES)


def chain_of(found: Ruleset, pod: Member, direction: str = "ingress") -> tuple[str, ...]:
    """The pod's rules, each set written out."""
    verb, name = found.elements[f"{direction}-pods", pod.address].split()
    assert verb == "jump"
    texts = []
    for rule in found.chains[name]:
        text = rule
        for set_name in found.sets:
            keys = sorted(key for (where, key) in found.elements if where == set_name)
            text = text.replace(f"@{set_name}", "{" + ", ".join(keys) + "}")
        texts.append(text)
    return tuple(texts)


def ingress(
    *peers: NetworkPolicyPeer, ports: list[NetworkPolicyPort] | None = None
) -> NetworkPolicyIngressRule:
    return NetworkPolicyIngressRule(from_=list(peers), ports=ports or [])


def egress(
    *peers: NetworkPolicyPeer, ports: list[NetworkPolicyPort] | None = None
) -> NetworkPolicyEgressRule:
    return NetworkPolicyEgressRule(to=list(peers), ports=ports or [])


def test_without_policies_there_are_no_rules() -> None:
    assert rules() == Ruleset()


def test_a_policy_without_rules_shuts_local_pods_of_its_namespace() -> None:
    found = rules(policy(ingress=[]))
    assert set(found.elements) == {
        ("ingress-pods", WEB.address),
        ("ingress-pods", DATABASE.address),
    }
    assert chain_of(found, WEB) == ("drop",)


@pytest.mark.parametrize(
    ("types", "ruled", "directions"),
    [
        ([], [], {"ingress"}),
        ([], [egress()], {"ingress", "egress"}),
        (["Egress"], [], {"egress"}),
        (["Ingress", "Egress"], [], {"ingress", "egress"}),
    ],
)
def test_directions(
    types: list[str], ruled: list[NetworkPolicyEgressRule], directions: set[str]
) -> None:
    found = rules(policy(egress=ruled, types=types))
    assert {where.removesuffix("-pods") for where, _ in found.elements} == directions


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        (ingress(), ["return"]),
        (
            ingress(NetworkPolicyPeer(podSelector=chosen(app="web"))),
            ["ip saddr {10.42.0.2, 10.42.1.2} return"],
        ),
        (
            ingress(NetworkPolicyPeer(namespaceSelector=chosen(team="b"))),
            ["ip saddr {10.42.0.4} return"],
        ),
        (
            ingress(NetworkPolicyPeer(namespaceSelector=EVERY, podSelector=chosen(app="web"))),
            ["ip saddr {10.42.0.2, 10.42.0.4, 10.42.1.2} return"],
        ),
        (ingress(NetworkPolicyPeer(podSelector=chosen(app="none"))), ["ip saddr {} return"]),
        (
            ingress(
                NetworkPolicyPeer(
                    podSelector=LabelSelector(
                        matchExpressions=[
                            LabelSelectorRequirement(key="app", operator="NotIn", values=["web"])
                        ]
                    )
                )
            ),
            ["ip saddr {10.42.0.3} return"],
        ),
        (
            ingress(
                NetworkPolicyPeer(ipBlock=IPBlock(cidr="192.0.2.9/24", except_=["192.0.2.0/28"]))
            ),
            ["ip saddr 192.0.2.0/24 ip saddr != 192.0.2.0/28 return"],
        ),
        (ingress(NetworkPolicyPeer(ipBlock=IPBlock(cidr="fd00::/8"))), []),
        (
            ingress(
                ports=[
                    NetworkPolicyPort(port=80),
                    NetworkPolicyPort(port=8000, endPort=8010, protocol="UDP"),
                    NetworkPolicyPort(protocol="SCTP"),
                    NetworkPolicyPort(port="http"),
                ]
            ),
            [
                "tcp dport 80 return",
                "udp dport 8000-8010 return",
                "meta l4proto sctp return",
                "ip daddr . tcp dport {10.42.0.2 . 8080} return",
            ],
        ),
    ],
)
def test_what_an_ingress_rule_allows(rule: NetworkPolicyIngressRule, lines: list[str]) -> None:
    assert chain_of(rules(policy(ingress=[rule])), WEB) == (*lines, "drop")


def test_port_names_of_egress_are_those_of_the_receivers() -> None:
    peer = NetworkPolicyPeer(namespaceSelector=EVERY, podSelector=chosen(app="web"))
    found = rules(policy(egress=[egress(peer, ports=[NetworkPolicyPort(port="http")])]))
    receivers = "ip daddr {10.42.0.2, 10.42.0.4, 10.42.1.2}"
    ports = "ip daddr . tcp dport {10.42.0.2 . 8080, 10.42.0.4 . 80}"
    assert chain_of(found, DATABASE, "egress") == (f"{receivers} {ports} return", "drop")


def test_policies_add_up_and_pods_selected_alike_share_a_chain() -> None:
    one = policy("one", ingress=[ingress(ports=[NetworkPolicyPort(port=80)])])
    two = policy("two", chosen(app="web"), ingress=[ingress(ports=[NetworkPolicyPort(port=81)])])
    found = rules(one, two)
    assert chain_of(found, WEB) == ("tcp dport 80 return", "tcp dport 81 return", "drop")
    assert chain_of(found, DATABASE) == ("tcp dport 80 return", "drop")
    assert len(rules(one).chains) == 1


def test_the_nodes_dns_server_is_the_pod_that_policies_know() -> None:
    peer = NetworkPolicyPeer(namespaceSelector=EVERY, podSelector=chosen(**{"k8s-app": "kube-dns"}))
    rule = egress(peer, ports=[NetworkPolicyPort(port=53, protocol="UDP")])
    pods = [*PODS, *dns_members(ProxySettings(node_name="n"))]
    found = policy_rules([policy(egress=[rule])], pods, NAMESPACES)
    assert chain_of(found, WEB, "egress")[0] == "ip daddr {10.43.0.10} udp dport 53 return"


def pod(uid: str, address: str = "", *, phase: str = "Running", on_host: bool = False) -> Pod:
    ports = [ContainerPort(containerPort=80, name="http"), ContainerPort(containerPort=81)]
    return Pod(
        metadata=ObjectMeta(namespace="default", name=uid, uid=uid, labels={"app": uid}),
        spec=PodSpec(nodeName="n", hostNetwork=on_host, containers=[Container(ports=ports)]),
        status=PodStatus(podIP=address, phase=phase),
    )


def test_members() -> None:
    pods = [
        pod("told", "10.42.0.2"),
        pod("expected"),
        pod("unknown"),
        pod("ended", "10.42.0.5", phase="Failed"),
        pod("ending", "10.42.0.6", phase="Failed"),
        pod("host", "192.0.2.1", on_host=True),
    ]
    attached = {"expected": ["10.42.0.3"], "ending": ["10.42.0.7"]}
    found = members(pods, "n", attached)
    ports = (("http", "tcp", 80),)
    assert found == [
        Member("default", {"app": "told"}, AddressText("10.42.0.2"), True, ports),
        Member("default", {"app": "expected"}, AddressText("10.42.0.3"), True, ports),
        # A status may be wrong, whoever wrote it: what is connected can talk.
        Member("default", {"app": "ending"}, AddressText("10.42.0.7"), True, ports),
    ]


def test_addresses_of_unknown_pods_are_shut() -> None:
    assert isolation(["10.42.0.7"]).elements == {
        ("ingress-pods", "10.42.0.7"): "drop",
        ("egress-pods", "10.42.0.7"): "drop",
    }


def test_a_wrong_selector_matches_nothing_and_harms_no_other_policy() -> None:
    wrong = LabelSelector(matchExpressions=[LabelSelectorRequirement(key="a", operator="Near")])
    assert rules(policy("wrong", wrong, ingress=[])) == Ruleset()
    found = rules(policy("wrong", wrong, ingress=[]), policy("right", ingress=[]))
    assert chain_of(found, WEB) == ("drop",)
    found = rules(policy(ingress=[ingress(NetworkPolicyPeer(podSelector=wrong))]))
    assert chain_of(found, WEB) == ("ip saddr {} return", "drop")
