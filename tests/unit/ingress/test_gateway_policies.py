"""BackendTLSPolicies: which ports they hold for, and what is told of them."""

from typing import Any

import pytest

from kubelite.ingress.endpoints import BackendTLS
from kubelite.ingress.gateway_objects import BackendTLSPolicy, read
from kubelite.ingress.gateway_policies import Authority, Policy, policy_for
from unit.ingress.gateways import conditions, metadata, planned, route

AUTHORITIES = {("default", "ca"): Authority(b"PEM"), ("default", "bad"): Authority(problem="no")}
CA = {"group": "", "kind": "ConfigMap", "name": "ca"}


def policy(
    name: str = "policy", section: str = "", age: int = 1, **validation: Any
) -> dict[str, Any]:
    target = {"group": "", "kind": "Service", "name": "web"}
    if section:
        target["sectionName"] = section
    known = {"hostname": "web.test", "caCertificateRefs": [CA], **validation}
    return {
        "metadata": metadata(name, age=age),
        "spec": {"targetRefs": [target], "validation": known},
    }


def decided(*policies: dict[str, Any]) -> Any:
    return planned(route(), policies=read(policies, BackendTLSPolicy), authorities=AUTHORITIES)


def told(found: Any, name: str = "policy") -> dict[str, tuple[str, str]]:
    (ancestor,) = found.statuses["backendtlspolicies", "default", name]["ancestors"]
    assert ancestor["ancestorRef"]["name"] == "gate"
    return conditions(ancestor)


def test_a_policy_says_whom_to_trust_and_is_told_per_gateway() -> None:
    names = [
        {"type": "Hostname", "hostname": "a.x"},
        {"type": "URI", "uri": "spiffe://x/y"},
    ]
    found = decided(policy(subjectAltNames=names))
    tls = BackendTLS("web.test", b"PEM", ("a.x", "spiffe://x/y"))
    assert policy_for(found.policies, "default", "web", "http") == Policy(tls)
    assert policy_for(found.policies, "other", "web", "http") is None
    assert told(found) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
    }


@pytest.mark.parametrize(
    ("refs", "accepted", "resolved"),
    [
        ([{**CA, "name": "none"}], "NoValidCACertificate", "InvalidCACertificateRef"),
        ([{**CA, "name": "bad"}], "NoValidCACertificate", "InvalidCACertificateRef"),
        ([{**CA, "kind": "Secret"}], "NoValidCACertificate", "InvalidKind"),
        ([CA, {**CA, "name": "none"}], "Accepted", "InvalidCACertificateRef"),
        ([], "Invalid", "ResolvedRefs"),
    ],
)
def test_a_policy_without_anybody_to_trust_leaves_nobody_to_speak_to(
    refs: list[dict[str, str]], accepted: str, resolved: str
) -> None:
    found = decided(policy(caCertificateRefs=refs))
    assert told(found)["Accepted"][1] == accepted
    assert told(found)["ResolvedRefs"][1] == resolved
    held = policy_for(found.policies, "default", "web", "")
    assert held is not None
    assert (held.tls is None) is (accepted != "Accepted")


def test_the_authorities_of_the_system() -> None:
    found = decided(policy(caCertificateRefs=[], wellKnownCACertificates="System"))
    assert policy_for(found.policies, "default", "web", "") == Policy(BackendTLS("web.test"))


def test_the_older_policy_holds_and_that_of_a_port_comes_first() -> None:
    found = decided(
        policy("younger", age=2, hostname="b.x"),
        policy("older", age=1, hostname="a.x"),
        policy("port", section="grpc", age=3, hostname="c.x"),
    )
    for port, host in (("http", "a.x"), ("grpc", "c.x")):
        held = policy_for(found.policies, "default", "web", port)
        assert held is not None
        assert held.tls is not None
        assert held.tls.host == host
    assert told(found, "younger")["Accepted"] == ("False", "Conflicted")
    assert told(found, "port")["Accepted"] == ("True", "Accepted")
