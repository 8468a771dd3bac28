"""Listeners of Gateways: ports, TLS and what is told of them."""

from typing import Any

import pytest

from kubelite.api.kinds.core.services import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    PortStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.ingress.gateway_listeners import Chain, World, certificate_secrets, covers
from kubelite.ingress.gateway_objects import Gateway, GatewayClass, ReferenceGrant, read
from kubelite.ingress.gateway_plan import GatewayPlan
from kubelite.ingress.routes import Scope, Tables
from kubelite.limits import GATEWAY_PORTS
from unit.ingress.gateways import (
    CLASS,
    conditions,
    gateway,
    grant,
    listener,
    of_listener,
    planned,
    route,
)

GOOD = Chain(names=("a.x",))


def secured(
    *refs: dict[str, Any], name: str = "https", hostname: str = "", port: int = 443, **more: Any
) -> dict[str, Any]:
    tls = {"mode": "Terminate", "certificateRefs": list(refs)}
    return listener(name, hostname, port=port, protocol="HTTPS", tls=tls, **more)


def certificate_grant(
    from_namespace: str = "default", namespace: str = "other", kind: str = "Gateway"
) -> dict[str, Any]:
    found = grant(from_namespace, namespace)
    found["spec"]["from"][0]["kind"] = kind
    found["spec"]["to"] = [{"group": "", "kind": "Secret", "name": "cert"}]
    return found


def listener_conditions(found: GatewayPlan, index: int = 0, name: str = "gate") -> Any:
    return conditions(of_listener(found, index, name))


def test_a_listener_of_https_is_served_with_its_certificate() -> None:
    gate = gateway(secured({"name": "cert"}, hostname="*.x"))
    found = planned(route(), gateways=(gate,), chains={("default", "cert"): GOOD})
    assert listener_conditions(found) == {
        "Accepted": ("True", "Accepted"),
        "Programmed": ("True", "Programmed"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Conflicted": ("False", "NoConflicts"),
    }
    assert found.scopes == (Scope(443, "**.x"),)
    assert found.extra_ports == {}
    (terms,) = found.terms
    assert (terms.secret, terms.port, terms.hosts[0]) == (("default", "cert"), 443, "**.x")
    tables = Tables(found.routes, found.scopes)
    assert tables.of(443, is_extra=False).find("a.x", "/") is not None
    assert tables.of(80, is_extra=False).find("a.x", "/") is None


@pytest.mark.parametrize(
    ("ref", "chain", "reason"),
    [
        ({"name": "none"}, None, "InvalidCertificateRef"),
        ({"name": "cert"}, Chain("malformed"), "InvalidCertificateRef"),
        ({"name": "cert", "kind": "Bucket", "group": "x.io"}, GOOD, "InvalidCertificateRef"),
        ({"name": "cert", "kind": "ConfigMap"}, GOOD, "InvalidCertificateRef"),
        ({"name": "cert", "namespace": "other"}, GOOD, "RefNotPermitted"),
        (None, None, "InvalidCertificateRef"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_told_and_nothing_is_served(
    ref: dict[str, Any] | None, chain: Chain | None, reason: str
) -> None:
    gate = gateway(secured(*([ref] if ref else [])))
    chains = {("default", "cert"): chain, ("other", "cert"): chain} if chain else {}
    found = planned(route(), gateways=(gate,), chains=chains)
    told = listener_conditions(found)
    assert told["ResolvedRefs"] == ("False", reason)
    assert told["Accepted"] == ("True", "Accepted")
    assert told["Programmed"] == ("False", "Invalid")
    assert (found.routes, found.terms, found.scopes) == ((), (), ())
    status = found.statuses["gateways", "default", "gate"]
    assert conditions(status)["Accepted"] == ("True", "ListenersNotValid")
    assert conditions(status)["Programmed"] == ("False", "Invalid")
    assert of_listener(found)["attachedRoutes"] == 1


def test_of_several_certificates_those_that_can_be_used_are_served() -> None:
    gate = gateway(secured({"name": "one"}, {"name": "none"}, {"name": "two"}))
    chains = {("default", "one"): GOOD, ("default", "two"): Chain(names=("a.x", "b.x", "*.c.x"))}
    found = planned(gateways=(gate,), chains=chains)
    assert [one.hosts for one in found.terms] == [("", "a.x"), ("b.x", "*.c.x")]
    told = listener_conditions(found)
    assert told["ResolvedRefs"] == ("False", "InvalidCertificateRef")
    assert told["Programmed"] == ("False", "Invalid")


def test_a_certificate_is_for_no_names_beyond_its_listener() -> None:
    gate = gateway(secured({"name": "cert"}, hostname="a.x"))
    chains = {("default", "cert"): Chain(names=("a.x", "bank.com", "*.x"))}
    assert planned(gateways=(gate,), chains=chains).terms[0].hosts == ("a.x",)


@pytest.mark.parametrize(
    ("given", "is_permitted"),
    [
        (certificate_grant(), True),
        (certificate_grant("third"), False),
        (certificate_grant(namespace="default"), False),
        (certificate_grant(kind="HTTPRoute"), False),
        (grant("default", "other"), False),
    ],
)
def test_a_secret_of_another_namespace_is_read_only_with_a_grant(
    given: dict[str, Any], is_permitted: bool
) -> None:
    gate = gateway(secured({"name": "cert", "namespace": "other"}))
    world = World(
        classes=read([CLASS], GatewayClass),
        gateways=read([gate], Gateway),
        grants=read([given], ReferenceGrant),
    )
    assert certificate_secrets(world) == ({("other", "cert")} if is_permitted else set())
    found = planned(gateways=(gate,), grants=(given,), chains={("other", "cert"): GOOD})
    assert bool(found.terms) is is_permitted


def test_a_gateway_of_another_class_gives_no_right_to_a_secret() -> None:
    gate = gateway(secured({"name": "cert"}), spec={"gatewayClassName": "other"})
    world = World(classes=read([CLASS], GatewayClass), gateways=read([gate], Gateway))
    assert certificate_secrets(world) == set()


def test_further_ports_have_routes_of_their_own() -> None:
    gate = gateway(listener("one", port=8080), listener("two", port=9090))
    found = planned(route(parent={"sectionName": "one"}), gateways=(gate,))
    assert found.extra_ports == {8080: False, 9090: False}
    tables = Tables(found.routes, found.scopes)
    assert tables.of(8080, is_extra=True).find("a.x", "/") is not None
    assert tables.of(9090, is_extra=True).find("a.x", "/") is None


def test_the_protocol_of_a_port_is_that_of_the_older_gateway() -> None:
    older = gateway(listener("http", port=8443), name="older", age=1)
    younger = gateway(secured({"name": "cert"}, port=8443), age=2)
    found = planned(gateways=(younger, older), chains={("default", "cert"): GOOD})
    assert found.extra_ports == {8443: False}
    assert listener_conditions(found)["Conflicted"] == ("True", "ProtocolConflict")
    assert listener_conditions(found, name="older")["Accepted"] == ("True", "Accepted")


def balanced(port: int) -> dict[tuple[str, str], Service]:
    held = LoadBalancerIngress(ip="192.0.2.1", ports=[PortStatus(port=port, protocol="TCP")])
    spec = ServiceSpec(type="LoadBalancer", ports=[ServicePort(port=port, nodePort=30080)])
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=[held]))
    found = Service(metadata=ObjectMeta(name="web", namespace="default"), spec=spec, status=status)
    return {("default", "web"): found}


@pytest.mark.parametrize(
    ("port", "holder"),
    [(8080, "service default/web"), (30080, "service default/web"), (6443, "the API server")],
)
def test_ports_that_others_have_are_refused_with_their_holder(port: int, holder: str) -> None:
    found = planned(
        gateways=(gateway(listener(port=port)),),
        services=balanced(8080),
        own_ports={6443: "the API server"},
    )
    told = of_listener(found)["conditions"][0]
    assert (told["reason"], told["message"]) == (
        "PortUnavailable",
        f"port {port} of the nodes is in use by {holder}",
    )
    assert found.extra_ports == {}


def test_ports_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GATEWAY_PORTS, "value", 2)
    many = [listener(f"l{port}", port=port) for port in (80, 8080, 8081, 8082)]
    found = planned(gateways=(gateway(*many),))
    assert set(found.extra_ports) == {8080, 8081}
    assert listener_conditions(found, 3)["Accepted"] == ("False", "PortUnavailable")


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [("", "a.x", True), ("*.x", "a.x", True), ("*.x", "*.a.x", True), ("a.x", "*.x", False)],
)
def test_covers(pattern: str, host: str, expected: bool) -> None:
    assert covers(pattern, host) is expected
