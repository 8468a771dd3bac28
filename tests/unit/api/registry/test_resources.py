"""Rows come and go at run time: a custom resource is served like any other."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import pytest
from fakes.server import Server

from kubelite.api.errors import BadRequest, Cause, Invalid, NotFound, UnsupportedMediaType
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.field_selectors import METADATA, Fields, paths
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.options import ReadOptions
from kubelite.api.registry.resource import Resource, Subresource
from kubelite.api.registry.strategy import Conduct, Strategy

GVK = GroupVersionKind("example.com", "v1", "Widget")
PATH = "example.com/v1/widgets"


class SchemaShape:
    """A shape of a schema alone."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def receive(self, body: dict[str, Any]) -> tuple[str, ...]:
        return structure(self.schema, body)

    def complete(self, item: dict[str, Any]) -> None:
        structure(self.schema, item)

    def complete_status(self, item: dict[str, Any]) -> None:
        pass

    def causes(self, item: dict[str, Any], old: dict[str, Any] | None) -> Sequence[Cause]:
        return ()


def widgets() -> Resource:
    string = Schema(type="string")
    spec = Schema(
        type="object",
        fields=MappingProxyType({"color": string, "size": Schema(type="integer", format="int64")}),
    )
    status = Schema(type="object", fields=MappingProxyType({"phase": string}))
    schema = Schema(
        type="object",
        gvk=GVK,
        definition="com.example.v1.Widget",
        fields=MappingProxyType(
            {
                "apiVersion": string,
                "kind": string,
                "metadata": compile_struct(ObjectMeta),
                "spec": spec,
                "status": status,
            }
        ),
    )
    return Resource(
        group=GVK.group,
        version=GVK.version,
        plural="widgets",
        singular="widget",
        kind=GVK,
        type=None,
        namespaced=True,
        subresources={"status": Subresource("status", ("get", "patch", "update"), GVK)},
        storage="widgets.example.com",
        shape=SchemaShape(schema),
        strategy=Strategy(Conduct(has_status=True, counts_generation=True, conditional=True)),
        fields=Fields({**METADATA, **paths("spec.color")}),
    )


@pytest.fixture
async def server() -> Server:
    served = Server()
    served.resources.add(widgets())
    return served


async def test_a_custom_resource_is_served(server: Server) -> None:
    made = await server.create(PATH, {"metadata": {"name": "a"}, "spec": {"color": "red"}})
    assert made["apiVersion"] == "example.com/v1"
    assert made["metadata"]["generation"] == 1
    changed = await server.patch(PATH, "a", {"spec": {"size": 3}, "status": {"phase": "x"}})
    assert changed["metadata"]["generation"] == 2
    assert "status" not in changed
    shown = await server.patch(f"{PATH}/status", "a", {"status": {"phase": "ok"}, "spec": None})
    assert shown["status"] == {"phase": "ok"}
    assert shown["spec"] == {"color": "red", "size": 3}
    await server.create(PATH, {"metadata": {"name": "b"}, "spec": {"color": "blue"}})
    assert server.names(PATH, field_selector="spec.color=blue") == ["b"]
    applied = {**made, "metadata": {"name": "c"}, "spec": {"color": "green"}}
    await server.patch(PATH, "c", applied, "apply", field_manager="me")
    await server.delete(PATH, "a")
    assert server.names(PATH) == ["b", "c"]


async def test_what_custom_resources_do_not_know(server: Server) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"color": "red", "weight": 4}}
    made = await server.create(PATH, body)
    assert made["spec"] == {"color": "red"}
    with pytest.raises(UnsupportedMediaType):
        await server.patch(PATH, "a", {"spec": {}}, "strategic")
    with pytest.raises(BadRequest):
        server.names(PATH, field_selector="spec.size=1")
    with pytest.raises(Invalid, match="must be specified for an update"):
        await server.update(PATH, "a", {"spec": {"color": "blue"}})


async def test_a_row_that_went_is_not_found(server: Server) -> None:
    row = server.resources.by_kind(GVK)
    assert row is not None
    allowed = server.allowed("list", PATH)
    heard: list[int] = []
    end = server.resources.subscribe(lambda: heard.append(server.resources.generation))
    server.resources.remove(row)
    end()
    server.resources.add(row)
    server.resources.remove(row)
    assert heard == [2]
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await server.verbs.list(allowed, ReadOptions())
    assert server.resources.by_kind(GVK) is None


def test_groups_are_told_in_order() -> None:
    versions = builtin_table().versions()
    assert versions[0] == ("", "v1")
    assert versions.index(("autoscaling", "v2")) < versions.index(("autoscaling", "v1"))
    assert len(set(versions)) == len(versions)
