"""Objects of the Gateway API for tests, with what a definition's defaults would add left out."""

from typing import Any

from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.ingress.gateway_listeners import World
from kubelite.ingress.gateway_objects import (
    CONTROLLER,
    Gateway,
    GatewayClass,
    HTTPRoute,
    ReferenceGrant,
    read,
)
from kubelite.ingress.gateway_plan import GatewayPlan, plan

CLASS = {"metadata": {"name": "kubelite"}, "spec": {"controllerName": CONTROLLER}}
BACKEND = {"name": "web", "port": 80}


def metadata(name: str, namespace: str = "default", age: int = 1) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": namespace,
        "uid": f"{namespace}-{name}",
        "generation": 3,
        "creationTimestamp": f"2026-01-01T00:00:{age:02}Z",
    }


def gateway(*listeners: dict[str, Any], name: str = "gate", **more: Any) -> dict[str, Any]:
    spec = {"gatewayClassName": "kubelite", "listeners": list(listeners), **more.pop("spec", {})}
    return {"metadata": metadata(name, **more), "spec": spec}


def listener(name: str = "http", hostname: str = "", **more: Any) -> dict[str, Any]:
    host = {"hostname": hostname} if hostname else {}
    return {"name": name, "port": 80, "protocol": "HTTP", **host, **more}


def route(
    *rules: dict[str, Any],
    name: str = "route",
    hosts: tuple[str, ...] = (),
    parent: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "metadata": metadata(name, **more),
        "spec": {
            "parentRefs": [{"name": "gate", "namespace": "default", **(parent or {})}],
            "hostnames": list(hosts),
            "rules": list(rules) or [{"backendRefs": [BACKEND]}],
        },
    }


def grant(from_namespace: str, namespace: str, name: str = "") -> dict[str, Any]:
    source = {
        "group": "gateway.networking.k8s.io",
        "kind": "HTTPRoute",
        "namespace": from_namespace,
    }
    target = {"group": "", "kind": "Service", **({"name": name} if name else {})}
    return {"metadata": metadata("grant", namespace), "spec": {"from": [source], "to": [target]}}


def services(*names: str) -> dict[tuple[str, str], Service]:
    found = {}
    for text in names or ("default/web", "other/web"):
        namespace, _, name = text.partition("/")
        found[namespace, name] = Service(
            metadata=ObjectMeta(name=name, namespace=namespace),
            spec=ServiceSpec(ports=[ServicePort(port=80)]),
        )
    return found


def planned(
    *routes: dict[str, Any],
    gateways: tuple[dict[str, Any], ...] = (gateway(listener()),),
    grants: tuple[dict[str, Any], ...] = (),
    **more: Any,
) -> GatewayPlan:
    world: dict[str, Any] = {
        "classes": read([CLASS], GatewayClass),
        "gateways": read(gateways, Gateway),
        "routes": read(routes, HTTPRoute),
        "grants": read(grants, ReferenceGrant),
        "namespaces": {"default": {}, "other": {"team": "b"}},
        "services": services(),
        "addresses": ["192.0.2.1"],
        "bundle_version": "v1.4.0",
        **more,
    }
    return plan(World(**world))


def conditions(found: Any) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in found["conditions"]}


def of_route(
    found: GatewayPlan, name: str = "route", namespace: str = "default"
) -> dict[str, tuple[str, str]]:
    status = found.statuses["httproutes", namespace, name]
    (parent,) = status["parents"]
    return conditions(parent)


def of_listener(found: GatewayPlan, index: int = 0, name: str = "gate") -> Any:
    return found.statuses["gateways", "default", name]["listeners"][index]
