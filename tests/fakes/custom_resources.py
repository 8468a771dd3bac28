"""Rows of custom resources, as definitions make them."""

from typing import Any

from msgspec.structs import replace

from fakes.server import Server
from fakes.widgets import SchemaShape
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.openapi_custom import CustomType
from kubelite.api.machinery.schema import Schema
from kubelite.api.registry.resource import Resource, Subresource
from kubelite.api.registry.strategy import Conduct, Strategy
from kubelite.api.registry.subresources.scale import CustomScale

CHANGE = ("get", "patch", "update")
SCALE = GroupVersionKind("autoscaling", "v1", "Scale")


def custom_resource(
    plural: str,
    *,
    group: str = "example.com",
    version: str = "v1",
    storage_version: str = "v1",
    schema: dict[str, Any] | None = None,
    subresources: tuple[str, ...] = ("status", "scale"),
    **more: Any,
) -> Resource:
    """Return a version of a namespaced resource whose kind is its plural in capitals, without the s."""
    kind = GroupVersionKind(group, version, plural.removesuffix("s").title())
    stored_as = None
    if version != storage_version:
        stored_as = custom_resource(plural, group=group, version=storage_version, schema=schema)
    described = CustomType(kind=kind, list_kind=f"{kind.kind}List", source=schema)
    return Resource(
        group=group,
        version=version,
        plural=plural,
        singular=kind.kind.lower(),
        kind=kind,
        type=None,
        namespaced=True,
        subresources={
            name: Subresource(name, CHANGE, SCALE if name == "scale" else kind)
            for name in subresources
        },
        shape=Unshaped(),
        strategy=Strategy(Conduct(has_status="status" in subresources)),
        storage=f"{plural}.{group}",
        stored_as=stored_as,
        openapi=described,
        **more,
    )


def serve_gadgets(server: Server) -> None:
    """Serve a custom resource with a scale: ``.spec.size``, ``.status.size`` and ``.status.selector``."""
    row = custom_resource("gadgets", subresources=())
    scale = CustomScale(".spec.size", ".status.size", ".status.selector")
    subresources = {"scale": Subresource("scale", CHANGE, SCALE, projection=scale)}
    server.resources.replace(row.group, [replace(row, subresources=subresources)])


class Unshaped(SchemaShape):
    """The shape of objects of which everything is kept."""

    def __init__(self) -> None:
        super().__init__(Schema(type="object", preserve=True))

    def receive(self, body: dict[str, Any]) -> tuple[str, ...]:
        return ()

    def complete(self, item: dict[str, Any]) -> None:
        pass
