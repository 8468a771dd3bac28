"""A custom resource: its row, its type for those who want one, and its definition."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from fakes.server import Server
from kubelite.api.errors import Cause
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.machinery.field_selectors import METADATA, Fields, paths
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.machinery.shaping.shape import Inspection
from kubelite.api.registry.resource import Resource, Subresource
from kubelite.api.registry.strategy import Conduct, Strategy

GVK = GroupVersionKind("example.com", "v1", "Widget")


class Widget(Kind):
    """A typed custom object."""

    gvk: ClassVar = GVK

    metadata: ObjectMeta = ObjectMeta()
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


class SchemaShape:
    """A shape of a schema alone."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def receive(self, body: dict[str, Any]) -> tuple[str, ...]:
        return structure(self.schema, body)

    def complete(self, item: dict[str, Any]) -> None:
        structure(self.schema, item)

    def cost(self, object_bytes: int) -> int:
        return object_bytes

    def complete_status(self, item: dict[str, Any]) -> None:
        pass

    def causes(
        self,
        item: Mapping[str, Any],
        old: Mapping[str, Any] | None,
        subresource: str = "",
        inspection: Inspection | None = None,
    ) -> Sequence[Cause]:
        return ()


def widget_row() -> Resource:
    """Return a new row of the resource."""
    fields = {
        "apiVersion": Schema(type="string"),
        "kind": Schema(type="string"),
        "metadata": compile_struct(ObjectMeta),
        "spec": _map_of(Schema(type="string")),
        "status": _map_of(Schema(type="string")),
    }
    schema = Schema(
        type="object",
        gvk=GVK,
        definition="com.example.v1.Widget",
        fields=MappingProxyType(fields),
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


def _map_of(values: Schema) -> Schema:
    fields = {"color": values, "size": values, "phase": values}
    return Schema(type="object", fields=MappingProxyType(fields))


def serve(server: Server, *rows: Resource) -> None:
    """Serve the resource from now on, or other rows of its group in its place."""
    server.resources.replace(GVK.group, rows or [widget_row()])


def unserve(server: Server) -> None:
    """End to serve the resource; its objects stay in the store."""
    server.resources.replace(GVK.group, ())


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": GVK.group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
