"""A custom resource: its row, its type for those who want one, and its definition."""

from types import MappingProxyType
from typing import Any, ClassVar

from fakes.server import Server
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.registry.resources import Resource, Subresource

GVK = GroupVersionKind("example.com", "v1", "Widget")


class Widget(Kind):
    """A typed custom object."""

    gvk: ClassVar = GVK

    metadata: ObjectMeta = ObjectMeta()
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


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
        subresources=(Subresource("status", ("get", "patch", "update"), GVK),),
        storage="widgets.example.com",
        custom_schema=schema,
        selectable_fields=("spec.color",),
    )


def _map_of(values: Schema) -> Schema:
    fields = {"color": values, "size": values, "phase": values}
    return Schema(type="object", fields=MappingProxyType(fields))


def serve(server: Server) -> None:
    """Begin to serve the resource."""
    server.resources.add(widget_row())


def unserve(server: Server) -> None:
    """End to serve the resource; its objects stay in the store."""
    row = server.resources.by_kind(GVK)
    assert row is not None
    server.resources.remove(row)
    topic = server.hub._topics.get(row.prefix)
    for group in tuple(topic.groups.values()) if topic is not None else ():
        for watch in tuple(group.members):
            watch.fail()


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
