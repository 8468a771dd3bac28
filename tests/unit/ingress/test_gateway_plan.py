"""Plans of Gateways: the rules of the Gateway API's specification, as tables."""

from typing import Any

import pytest

from kubelite.ingress.gateway_objects import GatewayClass, LabelSelector, read
from kubelite.ingress.gateway_plan import common_hosts, selects
from kubelite.ingress.routes import Tables
from kubelite.limits import GATEWAY_ROUTES, GATEWAY_ROUTES_PER_HTTP_ROUTE
from unit.ingress.gateways import (
    BACKEND,
    CLASS,
    conditions,
    gateway,
    grant,
    listener,
    of_listener,
    of_route,
    planned,
    route,
)

ALL = {"allowedRoutes": {"namespaces": {"from": "All"}}}


def test_a_route_at_a_listener_is_served_and_all_conditions_say_so() -> None:
    found = planned(route(hosts=("a.x",)))
    (one,) = found.routes
    assert (one.owner, one.host, one.scope, one.path) == ("default/route", "a.x", "", "/")
    assert [each.key for each in one.backends] == ["default/web:80"]
    assert {each.key for each in found.backends} == {"default/web:80"}
    assert of_route(found) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
    }
    status = found.statuses["gateways", "default", "gate"]
    assert conditions(status) == {
        "Accepted": ("True", "Accepted"),
        "Programmed": ("True", "Programmed"),
    }
    assert status["addresses"] == [{"type": "IPAddress", "value": "192.0.2.1"}]
    assert of_listener(found)["attachedRoutes"] == 1
    assert of_listener(found)["supportedKinds"] == [
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}
    ]
    assert conditions(of_listener(found)) == {
        "Accepted": ("True", "Accepted"),
        "Programmed": ("True", "Programmed"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Conflicted": ("False", "NoConflicts"),
    }
    assert all(one["observedGeneration"] == 3 for one in status["conditions"])


def test_classes_of_others_and_their_gateways_are_left_alone() -> None:
    theirs = {"metadata": {"name": "kubelite"}, "spec": {"controllerName": "example.com/other"}}
    found = planned(route(), classes=read([theirs], GatewayClass))
    assert (found.routes, found.statuses) == ((), {})


@pytest.mark.parametrize(
    ("more", "version", "accepted", "supported"),
    [
        ({}, "v1.4.0", ("True", "Accepted"), ("True", "SupportedVersion")),
        ({}, "", ("True", "Accepted"), ("False", "UnsupportedVersion")),
        ({}, "v2.0.0", ("True", "Accepted"), ("False", "UnsupportedVersion")),
        (
            {"parametersRef": {"kind": "ConfigMap"}},
            "v1.4.0",
            ("False", "InvalidParameters"),
            ("True", "SupportedVersion"),
        ),
    ],
)
def test_the_status_of_a_class(
    more: dict[str, Any], version: str, accepted: tuple[str, str], supported: tuple[str, str]
) -> None:
    one = {"metadata": CLASS["metadata"], "spec": {**CLASS["spec"], **more}}
    found = planned(classes=read([one], GatewayClass), bundle_version=version)
    status = found.statuses["gatewayclasses", "", "kubelite"]
    assert conditions(status) == {"Accepted": accepted, "SupportedVersion": supported}
    names = [one["name"] for one in status["supportedFeatures"]]
    assert names == sorted(names)
    assert {"Gateway", "HTTPRoute", "ReferenceGrant"} <= set(names)


@pytest.mark.parametrize(
    ("asked", "hosts", "namespace", "parent", "reason"),
    [
        ({}, (), "default", {"sectionName": "none"}, "NoMatchingParent"),
        ({}, (), "default", {"port": 81}, "NoMatchingParent"),
        ({}, (), "other", {}, "NotAllowedByListeners"),
        (
            {"allowedRoutes": {"kinds": [{"kind": "TLSRoute"}]}},
            (),
            "default",
            {},
            "NotAllowedByListeners",
        ),
        ({"hostname": "a.x"}, ("b.x",), "default", {}, "NoMatchingListenerHostname"),
        ({"hostname": "*.x"}, ("x",), "default", {}, "NoMatchingListenerHostname"),
    ],
)
def test_why_a_route_is_not_let_in(
    asked: dict[str, Any], hosts: tuple[str, ...], namespace: str, parent: Any, reason: str
) -> None:
    found = planned(
        route(hosts=hosts, namespace=namespace, parent=parent),
        gateways=(gateway(listener(**asked)),),
    )
    assert of_route(found, namespace=namespace)["Accepted"] == ("False", reason)
    assert (found.routes, of_listener(found)["attachedRoutes"]) == ((), 0)


@pytest.mark.parametrize(
    ("selector", "is_let_in"),
    [
        ({"matchLabels": {"team": "b"}}, True),
        ({"matchLabels": {"team": "a"}}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["b"]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Unknown"}]}, False),
    ],
)
def test_namespaces_are_selected_by_label(selector: dict[str, Any], is_let_in: bool) -> None:
    allowed = {"namespaces": {"from": "Selector", "selector": selector}}
    gate = gateway(listener(allowedRoutes=allowed))
    found = planned(route(namespace="other"), gateways=(gate,))
    assert bool(found.routes) is is_let_in
    (one,) = read([{**selector, "matchLabels": selector.get("matchLabels", {})}], LabelSelector)
    assert selects(one, {"team": "b"}) is is_let_in


@pytest.mark.parametrize(
    ("at_listener", "asked", "common"),
    [
        ("", [], [""]),
        ("a.x", [], ["a.x"]),
        ("", ["a.x", "*.y"], ["a.x", "*.y"]),
        ("a.x", ["a.x", "b.x"], ["a.x"]),
        ("a.x", ["*.x"], ["a.x"]),
        ("*.x", ["a.x", "b.a.x", "x", "y"], ["a.x", "b.a.x"]),
        ("*.x", ["*.a.x"], ["*.a.x"]),
        ("*.a.x", ["*.x"], ["*.a.x"]),
        ("*.x", ["*.y"], []),
        ("very.specific.com", ["specific.com", "*.specific.com"], ["very.specific.com"]),
    ],
)
def test_host_names_that_listener_and_route_have_in_common(
    at_listener: str, asked: list[str], common: list[str]
) -> None:
    assert common_hosts(at_listener, asked) == common


def test_a_route_gets_no_host_of_a_listener_that_does_not_let_its_namespace_in() -> None:
    listeners = listener("open", "*.x", **ALL), listener("closed", "secret.x")
    thief = route(name="thief", namespace="other", hosts=("secret.x", "*.x"))
    found = planned(thief, gateways=(gateway(*listeners),))
    table = Tables(found.routes, found.scopes).of(80, is_extra=False)
    assert table.find("secret.x", "/") is None
    assert table.find("else.x", "/") is not None
    assert table.find("deep.else.x", "/") is not None


def test_listeners_that_cannot_be_told_apart_conflict_and_serve_nothing() -> None:
    found = planned(
        route(),
        gateways=(
            gateway(
                listener("one", "a.x"),
                listener("two", "a.x"),
                listener("three", "b.x", port=443),
                listener("four", "c.x", port=443, protocol="HTTPS"),
                listener("five", "d.x"),
            ),
        ),
    )
    conflicts = [conditions(of_listener(found, index))["Conflicted"] for index in range(5)]
    assert conflicts == [
        ("True", "HostnameConflict"),
        ("True", "HostnameConflict"),
        ("True", "ProtocolConflict"),
        ("True", "ProtocolConflict"),
        ("False", "NoConflicts"),
    ]
    assert {one.host for one in found.routes} == {"d.x"}
    status = found.statuses["gateways", "default", "gate"]
    assert conditions(status)["Accepted"] == ("True", "ListenersNotValid")


def test_a_host_name_of_two_gateways_is_the_older_ones() -> None:
    older = gateway(listener(hostname="a.x"), name="older", age=1)
    younger = gateway(listener(hostname="a.x"), name="younger", age=2)
    wanted = route(parent={"name": "younger"}), route(name="own", parent={"name": "older"})
    found = planned(*wanted, gateways=(younger, older))
    assert conditions(of_listener(found, name="younger"))["Conflicted"] == (
        "True",
        "HostnameConflict",
    )
    assert [one.owner for one in found.routes] == ["default/own"]
    status = found.statuses["gateways", "default", "younger"]
    assert conditions(status)["Accepted"] == ("False", "ListenersNotValid")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"protocol": "TCP"}, "UnsupportedProtocol"),
        ({"protocol": "TLS", "port": 443}, "UnsupportedProtocol"),
        ({"port": 443}, "PortUnavailable"),
        ({"protocol": "HTTPS"}, "PortUnavailable"),
        ({"protocol": "HTTPS", "port": 443, "tls": {"mode": "Passthrough"}}, "UnsupportedValue"),
    ],
)
def test_listeners_that_are_not_served(asked: dict[str, Any], reason: str) -> None:
    found = planned(route(), gateways=(gateway(listener(**asked)),))
    assert conditions(of_listener(found))["Accepted"] == ("False", reason)
    assert conditions(of_listener(found))["Programmed"] == ("False", "Invalid")
    assert found.routes == ()


@pytest.mark.parametrize(
    ("kinds", "supported"),
    [([{"kind": "TCPRoute"}], []), ([{"kind": "TCPRoute"}, {"kind": "HTTPRoute"}], ["HTTPRoute"])],
)
def test_unknown_kinds_of_routes(kinds: list[dict[str, str]], supported: list[str]) -> None:
    found = planned(gateways=(gateway(listener(allowedRoutes={"kinds": kinds})),))
    assert conditions(of_listener(found))["ResolvedRefs"] == ("False", "InvalidRouteKinds")
    assert [one["kind"] for one in of_listener(found)["supportedKinds"]] == supported


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ({"name": "web", "port": 80, "kind": "Bucket", "group": "x.io"}, "InvalidKind"),
        ({"name": "none", "port": 80}, "BackendNotFound"),
        ({"name": "web", "port": 81}, "BackendNotFound"),
        ({"name": "web", "port": 80, "namespace": "other"}, "RefNotPermitted"),
        ({"name": "none", "port": 80, "namespace": "other"}, "RefNotPermitted"),
    ],
)
def test_a_backend_that_is_not_resolved_has_its_share_of_500(
    backend: dict[str, Any], reason: str
) -> None:
    found = planned(route({"backendRefs": [{**BACKEND, "weight": 3}, {**backend, "weight": 2}]}))
    assert of_route(found)["ResolvedRefs"] == ("False", reason)
    assert of_route(found)["Accepted"] == ("True", "Accepted")
    (one,) = found.routes
    assert [(each.key, each.weight) for each in one.backends] == [("default/web:80", 3), ("", 2)]
    assert {each.key for each in found.backends} == {"default/web:80"}


@pytest.mark.parametrize(
    ("given", "is_permitted"),
    [
        (grant("default", "other"), True),
        (grant("default", "other", "web"), True),
        (grant("default", "other", "else"), False),
        (grant("third", "other"), False),
        (grant("default", "default"), False),
    ],
)
def test_a_grant_permits_what_it_names_and_no_more(
    given: dict[str, Any], is_permitted: bool
) -> None:
    backend = {**BACKEND, "namespace": "other"}
    found = planned(route({"backendRefs": [backend]}), grants=(given,))
    assert bool(found.backends) is is_permitted
    assert (of_route(found)["ResolvedRefs"][0] == "True") is is_permitted


@pytest.mark.parametrize(
    "rule",
    [
        {"filters": [{"type": "RequestMirror"}]},
        {"filters": [{"type": "ExtensionRef"}]},
        {"matches": [{"path": {"type": "RegularExpression", "value": "/(a"}}]},
        {"matches": [{"path": {"type": "RegularExpression", "value": "/a)|(?:/b"}}]},
        {"matches": [{"path": {"type": "RegularExpression", "value": "/((a{100}){100}){100}"}}]},
        {"matches": [{"headers": [{"type": "RegularExpression", "name": "a", "value": "*"}]}]},
        {"matches": [{"queryParams": [{"type": "Glob", "name": "a", "value": "b"}]}]},
        {"timeouts": {"request": "soon"}},
        {"backendRefs": [{**BACKEND, "filters": [{"type": "URLRewrite"}]}]},
    ],
)
def test_a_route_with_what_is_not_served_is_refused_whole(rule: dict[str, Any]) -> None:
    found = planned(route({"backendRefs": [BACKEND]}, rule))
    assert of_route(found)["Accepted"] == ("False", "UnsupportedValue")
    assert (found.routes, of_listener(found)["attachedRoutes"]) == ((), 0)


def test_routes_are_bounded_for_one_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = [{"path": {"value": f"/{number}"}} for number in range(128)]
    hosts = tuple(f"{number}.x" for number in range(16))
    many = [{"matches": matches, "backendRefs": [BACKEND]}]
    found = planned(route(*many, hosts=hosts), route(name="small"))
    assert len(hosts) * len(matches) > GATEWAY_ROUTES_PER_HTTP_ROUTE.value
    assert of_route(found)["Accepted"] == ("False", "UnsupportedValue")
    assert [one.owner for one in found.routes] == ["default/small"]

    full = [route(*many, hosts=hosts[:8], name=f"r{number}", age=number) for number in range(21)]
    found = planned(*full)
    assert len(found.routes) <= GATEWAY_ROUTES.value
    assert of_route(found, "r20")["Accepted"] == ("False", "UnsupportedValue")
    assert of_route(found, "r0")["Accepted"] == ("True", "Accepted")


def test_the_older_route_comes_first_and_then_the_name() -> None:
    young, old = route(name="a", age=9), route(name="z", age=1)
    assert [one.owner for one in planned(young, old).routes] == ["default/z", "default/a"]
    one, two = route(name="b"), route(name="a")
    assert [one.owner for one in planned(one, two).routes] == ["default/a", "default/b"]
