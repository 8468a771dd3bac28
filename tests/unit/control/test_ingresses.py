"""Ingresses of kubelite's class get the nodes' addresses, and events about what is wrong."""

from typing import Any

import msgspec
from fakes.harness import Harness

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.networking import Ingress, IngressClass
from kubelite.api.machinery.ingress_classes import CONTROLLER
from kubelite.control.ingresses import IngressController
from kubelite.control.options import IngressOptions, Options
from unit.control.test_load_balancers import node, service

CLASS = msgspec.convert(
    {"metadata": {"name": "kubelite"}, "spec": {"controller": CONTROLLER}}, IngressClass
)


def ingress(name: str, host: str = "a.x", **more: Any) -> Ingress:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "ingressClassName": "kubelite",
                "rules": [
                    {
                        "host": host,
                        "http": {
                            "paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]
                        },
                    }
                ],
                **more,
            },
        },
        Ingress,
    )


async def addresses(harness: Harness, name: str) -> list[str]:
    found = await harness.client.get(Ingress, name, "default")
    return [entry.ip for entry in found.status.loadBalancer.ingress]


async def told(harness: Harness, name: str) -> list[tuple[str, str]]:
    found = await harness.client.list(Event, "default")
    return [(one.reason, one.message) for one in found if one.involvedObject.name == name]


async def test_the_status_has_the_addresses_of_the_nodes_and_follows_them() -> None:
    async with Harness(IngressController) as harness:
        client = harness.client
        await client.create(CLASS)
        await client.create(node("a", "192.0.2.1"))
        await client.create(node("b", "192.0.2.2", external="203.0.113.2"))
        await client.create(node("c", "192.0.2.3", ready="False"))
        await client.create(ingress("web"))
        await client.create(ingress("other", ingressClassName="nginx"))
        await harness.settle()
        assert await addresses(harness, "web") == ["192.0.2.1", "203.0.113.2"]
        assert await addresses(harness, "other") == []
        await client.delete(Node, "a")
        await harness.settle()
        assert await addresses(harness, "web") == ["203.0.113.2"]
        await client.patch(Ingress, "web", {"spec": {"ingressClassName": "nginx"}}, "default")
        await harness.settle()
        assert await addresses(harness, "web") == []


async def test_what_is_wrong_is_told_once() -> None:
    async with Harness(IngressController) as harness:
        client = harness.client
        await client.create(CLASS)
        await client.create(node("a", "192.0.2.1"))
        await client.create(ingress("aaa"))
        await client.create(ingress("bbb"))
        external = service("web", type="ExternalName", externalName="evil.x", ports=[])
        await client.create(external)
        await harness.settle()
        await client.patch(Node, "a", {"spec": {"unschedulable": True}})
        await harness.settle()
        assert await told(harness, "bbb") == [
            ("HostPathConflict", "a.x/ is already routed by Ingress default/aaa")
        ]
        assert await told(harness, "aaa") == [
            (
                "UnsupportedBackend",
                "Service default/web is of type ExternalName, to which no requests are sent",
            )
        ]


async def test_a_load_balancer_that_has_the_port_is_told_of() -> None:
    async with Harness(IngressController) as harness:
        client = harness.client
        await client.create(CLASS)
        await client.create(ingress("web"))
        await client.create(service("lb"))
        status = {"ip": "192.0.2.1", "ports": [{"port": 80, "protocol": "TCP"}]}
        await client.patch(
            Service,
            "lb",
            {"status": {"loadBalancer": {"ingress": [status]}}},
            "default",
            subresource="status",
        )
        await harness.settle()
        assert await told(harness, "web") == [
            ("PortConflict", "port 80 of the nodes is in use by service default/lb")
        ]


async def test_switched_off_the_class_is_removed_but_not_that_of_another_controller() -> None:
    async with Harness(
        IngressController, options=Options(ingress=IngressOptions(is_on=False))
    ) as harness:
        await harness.client.create(CLASS)
        await harness.settle()
        assert await harness.client.list(IngressClass) == []
        other = msgspec.structs.replace(
            CLASS, spec=msgspec.structs.replace(CLASS.spec, controller="example.com/other")
        )
        await harness.client.create(other)
        await harness.settle()
        assert len(await harness.client.list(IngressClass)) == 1
