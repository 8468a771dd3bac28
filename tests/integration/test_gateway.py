"""Gateways on a node over the real API's rights: from the definitions to requests, and back again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from integration.net_namespaces import needs_root
from integration.test_ingress import (
    NOW,
    PODS,
    Backend,
    Bed,
    certified,
    get,
    listens,
    on_a_node,
    trusting_nothing,
    until,
)
from kubelite.api.auth.caller import Caller
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.clock import SetClock
from kubelite.control.custom_definitions import CustomDefinitionController
from kubelite.control.gateways import GatewayController
from kubelite.control.options import IngressOptions, Options
from kubelite.control.runtime import ControllerEntry, Runtime
from kubelite.offload import AtOnce
from kubelite.randomness import SeededRandomness

pytestmark = needs_root

GROUP = "gateway.networking.k8s.io"
KINDS = {
    "gatewayclasses": ("GatewayClass", "Cluster"),
    "gateways": ("Gateway", "Namespaced"),
    "httproutes": ("HTTPRoute", "Namespaced"),
    "referencegrants": ("ReferenceGrant", "Namespaced"),
}


def definition(plural: str) -> dict[str, Any]:
    """Return a definition of one of the resources that takes every object."""
    kind, scope = KINDS[plural]
    shape = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version: dict[str, Any] = {
        "name": "v1beta1" if plural == "referencegrants" else "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": shape},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "annotations": {
                f"{GROUP}/bundle-version": "v1.4.0",
                "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/2466",
            },
        },
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "plural": plural,
                "singular": kind.lower(),
                "kind": kind,
                "listKind": kind + "List",
            },
            "versions": [version],
        },
    }


def definitions(bed: Bed) -> Any:
    return bed.root.resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")


def objects(bed: Bed, plural: str) -> Any:
    return bed.root.resource(GROUP, "v1beta1" if plural == "referencegrants" else "v1", plural)


async def create(
    bed: Bed, plural: str, name: str, spec: dict[str, Any], namespace: str = "default"
) -> None:
    kind, scope = KINDS[plural]
    version = "v1beta1" if plural == "referencegrants" else "v1"
    metadata = {"name": name, **({} if scope == "Cluster" else {"namespace": namespace})}
    item = {"apiVersion": f"{GROUP}/{version}", "kind": kind, "metadata": metadata, "spec": spec}
    await objects(bed, plural).create(item)


@asynccontextmanager
async def controllers(bed: Bed, *, ingress: bool = True) -> AsyncIterator[None]:
    """Run what serves definitions and what writes statuses, each as itself."""
    clock = SetClock(NOW)
    runtime = Runtime(
        [
            ControllerEntry(one.name, one.identity, one)
            for one in (CustomDefinitionController, GatewayController)
        ],
        client_for=bed.plane.controller_client,
        mirrors=bed.plane.client(Caller("system:apiserver", ("system:masters",)), "mirrors"),
        clock=clock,
        randomness=SeededRandomness(4),
        options=Options(ingress=IngressOptions(ingress)),
        offload=AtOnce(),
    )
    await runtime.start()
    try:
        yield
    finally:
        await runtime.stop()


async def conditions(
    bed: Bed, plural: str, name: str, namespace: str = "default"
) -> dict[str, str]:
    status = (await objects(bed, plural).get(name, namespace)).get("status") or {}
    if plural == "httproutes":
        status = (status.get("parents") or [{}])[0]
    return {one["type"]: one["reason"] for one in status.get("conditions") or ()}


LISTENER = {
    "name": "http",
    "port": 80,
    "protocol": "HTTP",
    "allowedRoutes": {"namespaces": {"from": "All"}},
}


@on_a_node
async def test_from_the_definitions_to_requests_and_back(bed: Bed) -> None:
    backend = Backend("one")
    await backend.start(PODS[0])
    await bed.endpoints(PODS[0])
    node = await bed.root.get(Node, "one")
    await bed.root.patch(
        Node,
        node.metadata.name,
        {
            "status": {
                "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            }
        },
        subresource="status",
    )
    await bed.root.create(Namespace(metadata=ObjectMeta(name="other")))
    async with controllers(bed):
        for plural in KINDS:
            await definitions(bed).create(definition(plural))

        async def of_class() -> dict[str, str]:
            found = await objects(bed, "gatewayclasses").list()
            return await conditions(bed, "gatewayclasses", "kubelite", "") if found else {}

        await until(of_class, {"Accepted": "Accepted", "SupportedVersion": "SupportedVersion"})
        assert not listens(80)

        await create(
            bed, "gateways", "gate", {"gatewayClassName": "kubelite", "listeners": [LISTENER]}
        )
        await bed.serving()
        ready = {"Accepted": "Accepted", "Programmed": "Programmed"}
        await until(lambda: conditions(bed, "gateways", "gate"), ready)
        assert (await get("a.x"))[0] == 404

        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/app"}}],
            "backendRefs": [{"name": "web", "namespace": "default", "port": 80}],
            "filters": [
                {
                    "type": "URLRewrite",
                    "urlRewrite": {
                        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}
                    },
                }
            ],
        }
        spec = {
            "parentRefs": [{"name": "gate", "namespace": "default"}],
            "hostnames": ["a.x"],
            "rules": [rule],
        }
        await create(bed, "httproutes", "route", spec, "other")
        await until(
            lambda: conditions(bed, "httproutes", "route", "other"),
            {"Accepted": "Accepted", "ResolvedRefs": "RefNotPermitted"},
        )
        await until(lambda: status_of("a.x", "/app"), 500)

        permitted = {
            "from": [{"group": GROUP, "kind": "HTTPRoute", "namespace": "other"}],
            "to": [{"group": "", "kind": "Service", "name": "web"}],
        }
        await create(bed, "referencegrants", "grant", permitted)
        await until(lambda: get("a.x", "/app/1"), (200, "one /new/1"))
        resolved = {"Accepted": "Accepted", "ResolvedRefs": "ResolvedRefs"}
        await until(lambda: conditions(bed, "httproutes", "route", "other"), resolved)
        assert (await get("b.x", "/app"))[0] == 404
        listener = (await objects(bed, "gateways").get("gate", "default"))["status"]["listeners"][0]
        assert listener["attachedRoutes"] == 1

        await objects(bed, "referencegrants").delete("grant", "default")
        await until(lambda: status_of("a.x", "/app"), 500)

        await objects(bed, "gateways").delete("gate", "default")
        await until(lambda: listening(80), False)
        found = await objects(bed, "httproutes").get("route", "other")
        await until(lambda: parents(bed), [])
        assert found["spec"] == spec


@on_a_node
async def test_the_class_goes_with_the_ingress_and_comes_back(bed: Bed) -> None:
    async def classes() -> list[str]:
        return [one["metadata"]["name"] for one in await objects(bed, "gatewayclasses").list()]

    async with controllers(bed):
        for plural in KINDS:
            await definitions(bed).create(definition(plural))
        await until(classes, ["kubelite"])
    async with controllers(bed, ingress=False):
        await until(classes, [])
        spec = {"controllerName": "kubelite.io/gateway-controller"}
        await create(bed, "gatewayclasses", "kubelite", spec)  # a user's
        accepted = {"Accepted": "Accepted", "SupportedVersion": "SupportedVersion"}
        await until(lambda: conditions(bed, "gatewayclasses", "kubelite", ""), accepted)
    async with controllers(bed, ingress=False):
        await create(bed, "gatewayclasses", "second", spec)
        await until(lambda: conditions(bed, "gatewayclasses", "second", ""), accepted)
        assert await classes() == ["kubelite", "second"]
        for name in await classes():
            await objects(bed, "gatewayclasses").delete(name)
    async with controllers(bed):
        await until(classes, ["kubelite"])


async def parents(bed: Bed) -> Any:
    found = await objects(bed, "httproutes").get("route", "other")
    return (found.get("status") or {}).get("parents")


async def status_of(host: str, path: str) -> int:
    return (await get(host, path))[0]


async def listening(port: int) -> bool:
    return listens(port)


def secured(name: str, port: int, host: str, secret: dict[str, str]) -> dict[str, Any]:
    return {
        **LISTENER,
        "name": name,
        "port": port,
        "protocol": "HTTPS",
        "hostname": host,
        "tls": {"mode": "Terminate", "certificateRefs": [secret]},
    }


async def listener_reasons(bed: Bed) -> dict[str, dict[str, str]]:
    status = (await objects(bed, "gateways").get("gate", "default")).get("status") or {}
    return {
        one["name"]: {each["type"]: each["reason"] for each in one["conditions"]}
        for one in status.get("listeners") or ()
    }


@on_a_node
async def test_listeners_of_https_and_further_ports(bed: Bed) -> None:
    backend = Backend("one")
    await backend.start(PODS[0])
    await bed.endpoints(PODS[0])
    await bed.root.create(Namespace(metadata=ObjectMeta(name="other")))
    async with controllers(bed):
        for plural in KINDS:
            await definitions(bed).create(definition(plural))

        async def served() -> int:
            found = bed.root.served.resources()
            return len([one for one in found if one.group == GROUP])

        await until(served, len(KINDS))
        rules = [{"backendRefs": [{"name": "web", "port": 80}]}]
        parent = {"name": "gate", "namespace": "default"}
        await create(bed, "httproutes", "route", {"parentRefs": [parent], "rules": rules})
        listeners = [
            secured("exact", 443, "a.x", {"name": "first"}),
            secured("wide", 8443, "*.x", {"name": "second", "namespace": "other"}),
            {**LISTENER, "name": "plain", "port": 8081},
            {**LISTENER, "name": "api", "port": 6443},
        ]
        spec = {"gatewayClassName": "kubelite", "listeners": listeners}
        await create(bed, "gateways", "gate", spec)
        await bed.serving()

        async def reasons_of(name: str) -> tuple[str, str]:
            found = (await listener_reasons(bed)).get(name, {})
            return found.get("Accepted", ""), found.get("ResolvedRefs", "")

        await until(lambda: reasons_of("exact"), ("Accepted", "InvalidCertificateRef"))
        await until(lambda: reasons_of("wide"), ("Accepted", "RefNotPermitted"))
        await until(lambda: reasons_of("api"), ("PortUnavailable", "ResolvedRefs"))
        await until(lambda: get("a.x", "/p", port=8081), (200, "one /p"))
        assert not listens(8443)

        await bed.secret("first", "a.x")
        await until(lambda: reasons_of("exact"), ("Accepted", "ResolvedRefs"))
        await until(lambda: certified("a.x"), "a.x")
        assert await get("a.x", "/s", port=443, tls=trusting_nothing()) == (200, "one /s")

        await bed.secret("second", "b.x", namespace="other")
        granted = {
            "from": [{"group": GROUP, "kind": "Gateway", "namespace": "default"}],
            "to": [{"group": "", "kind": "Secret", "name": "second"}],
        }
        await create(bed, "referencegrants", "grant", granted, "other")
        await until(lambda: reasons_of("wide"), ("Accepted", "ResolvedRefs"))
        await until(lambda: listening(8443), True)
        await until(lambda: certified("deep.b.x", 8443), "b.x")
        pid = bed.pid

        await bed.secret("second", "c.x", namespace="other")  # is used from the next handshake on
        await until(lambda: certified("deep.b.x", 8443), "c.x")
        await objects(bed, "referencegrants").delete("grant", "other")
        await until(lambda: listening(8443), False)
        await until(lambda: reasons_of("wide"), ("Accepted", "RefNotPermitted"))
        assert await get("a.x", "/p", port=8081) == (200, "one /p")
        assert bed.pid == pid  # ports come and go without another process
