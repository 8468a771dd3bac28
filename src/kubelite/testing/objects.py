"""Objects as tests write them: YAML, dicts and typed objects; and kinds as people name them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kubelite.api.client.protocol import Client, Object, ResourceClient
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.table import ResourceTable

Objects = str | Path | Mapping[str, Any] | Kind | Iterable[Mapping[str, Any] | Kind]
KindName = (
    type[Kind] | str
)  # Deployment, "deployment", "deploy", "deployments.apps", "deployments.v1.apps"


def read_objects(objects: Objects) -> Iterator[Object]:
    """Yield the objects of YAML, of its file, or as given; those of a List one by one. Raises ValueError."""
    match objects:
        case Path():
            yield from read_objects(objects.read_text())
        case str():
            import yaml

            try:
                for document in yaml.safe_load_all(objects):
                    if document is not None:
                        yield from _single(document)
            except yaml.YAMLError as error:
                raise ValueError(f"it is not YAML: {error}") from error
        case Kind() | Mapping():
            yield from _single(objects)
        case _:
            for item in objects:
                yield from _single(item)


def _single(item: Any) -> Iterator[Object]:
    body = to_wire(item) if isinstance(item, Kind) else item
    if not isinstance(body, Mapping) or not body.get("kind") or not body.get("apiVersion"):
        raise ValueError(f"an object must have apiVersion and kind: {str(body)[:200]}")
    if body["kind"] == "List" and isinstance(body.get("items"), list):
        for part in body["items"]:
            yield from _single(part)
    else:
        yield dict(body)


def find_resource(table: ResourceTable, kind: KindName) -> Resource:
    """Return the resource of a kind by type or name. Raises LookupError."""
    if isinstance(kind, str):
        rows = [row for row in table.all() if kind.lower() in set(_names(row))]
    else:
        row = table.by_kind(kind.gvk)
        rows = [] if row is None else [row]
    if not rows:
        raise LookupError(f"the server has no resource type {kind!r}")
    return rows[0]


def _names(row: Resource) -> Iterator[str]:
    for name in (row.plural, row.kind.kind.lower(), *row.short_names):
        yield name
        if row.group:
            yield f"{name}.{row.group}"
            yield f"{name}.{row.version}.{row.group}"


def resource_of(table: ResourceTable, item: Object) -> Resource:
    """Return the resource of an object. Raises LookupError."""
    group, _, version = str(item["apiVersion"]).rpartition("/")
    for row in table.all():
        if (row.group, row.version, row.kind.kind) == (group, version, item["kind"]):
            return row
    raise LookupError(f"the server has no kind {item['kind']} of {item['apiVersion']}")


def client_of(client: Client, row: Resource) -> ResourceClient:
    """Return the client of a resource."""
    return client.resource(row.group, row.version, row.plural)
