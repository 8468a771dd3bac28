"""The objects in a file of manifests, and the order in which they are applied. Pure.

A file has one or more YAML documents, or one JSON document. Lists are taken apart. Every reason why a file cannot be
used names the document, and the object if that is known.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from kubelite.api.client.protocol import ServedResource
from kubelite.api.errors import APIError, BadRequest
from kubelite.limits import ADDON_OBJECTS

JSON = ".json"
SUFFIXES = (".yaml", ".yml", JSON)
YAML_COST = 100  # passes over JSON that take as long as reading YAML
DEFAULT_NAMESPACE = "default"

GroupKind = tuple[str, str]
Rows = Mapping[GroupKind, ServedResource]

# What others need comes first, what judges or replaces others last; all else is in between.
_FIRST = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "IngressClass",
    "ResourceQuota",
    "LimitRange",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
)
_LAST = (
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicyBinding",
)
_RANKS = {
    **{kind: place - len(_FIRST) for place, kind in enumerate(_FIRST)},
    **{kind: place + 1 for place, kind in enumerate(_LAST)},
}
_START = re.compile(rb"---(?:[ \t\r]|$)").match
_END = re.compile(rb"\.\.\.(?:[ \t\r]|$)").match
_EMPTY = re.compile(rb"[ \t\r]*(?:[#%].*)?$").match  # a comment, a directive or nothing


class UnusableFile(ValueError):
    """A file of manifests that cannot be used; `str()` says which document and why."""


class ObjectKey(Struct, frozen=True, order=True):
    """The identity of an object in a cluster, whatever the version of its API."""

    group: str
    kind: str
    namespace: str
    name: str


class Manifest(Struct, frozen=True):
    """An object of a file as it is to be applied."""

    document: int  # counted from 1
    group: str
    version: str
    kind: str
    name: str
    namespace: str  # "" if the file gives none
    body: dict[str, Any]

    def __str__(self) -> str:
        place = f"{self.namespace}/" if self.namespace else ""
        return f"document {self.document}, {self.kind} {place}{self.name}"


class Resolved(Struct, frozen=True):
    """A manifest and the resource by which it is written."""

    manifest: Manifest
    row: ServedResource
    key: ObjectKey


def split(name: str, data: bytes) -> list[bytes]:
    """Return the documents of a file."""
    if name.endswith(JSON):
        return [data]
    documents: list[list[bytes]] = [[]]
    is_begun = False  # the document has more than comments and directives
    for line in data.split(b"\n"):
        if _START(line) and is_begun:
            documents.append([])
            is_begun = False
        documents[-1].append(line)
        if _END(line):
            documents.append([])
            is_begun = False
        elif _START(line) or not _EMPTY(line):
            is_begun = True
    return [b"\n".join(lines) for lines in documents]


def read(name: str, number: int, document: bytes) -> list[Manifest]:
    """Return the objects of one document; raises UnusableFile."""
    # PyYAML takes 2 MB, which a cluster without such files does not need.
    from kubelite.api.machinery.json_reading import read_json
    from kubelite.api.machinery.yaml_reading import read_yaml

    reader = read_json if name.endswith(JSON) else read_yaml
    try:
        reading = reader(document, refuse=_refusal, find_duplicates=True)
    except APIError as error:
        raise UnusableFile(f"document {number}: {error.message}") from None
    if reading.duplicates:
        raise UnusableFile(f"document {number}: {reading.duplicates[0]}")
    if reading.value is None:
        return []
    return list(_objects(number, reading.value, "", ""))


def _refusal(_: bytes, reason: str) -> BadRequest:
    return BadRequest(reason)


def _objects(number: int, value: Any, api_version: str, kind: str) -> Iterator[Manifest]:
    """Yield a value as an object, or the items of a list; `api_version` and `kind` are those of a list's items."""
    if not isinstance(value, dict):
        raise UnusableFile(f"document {number}: it must be an object with apiVersion and kind")
    value = {**({"apiVersion": api_version, "kind": kind} if kind else {}), **value}
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str) or not value[field]:
            raise UnusableFile(f"document {number}: {field} must be a text that is not empty")
    api_version, kind = value["apiVersion"], value["kind"]
    items = value.get("items")
    if kind.endswith("List") and isinstance(items, list) and "spec" not in value:
        is_typed = kind != "List"
        for item in items:
            yield from _objects(
                number, item, api_version if is_typed else "", kind[:-4] if is_typed else ""
            )
        return
    yield _manifest(number, value, api_version, kind)


def _manifest(number: int, body: dict[str, Any], api_version: str, kind: str) -> Manifest:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        raise UnusableFile(f"document {number}, {kind}: metadata must be an object")
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str) or not name:
        raise UnusableFile(f"document {number}, {kind}: metadata.name must be a text")
    if not isinstance(namespace, str | None):
        raise UnusableFile(f"document {number}, {kind} {name}: metadata.namespace must be a text")
    if not isinstance(metadata.get("labels") or {}, dict):
        raise UnusableFile(f"document {number}, {kind} {name}: metadata.labels must be an object")
    group, _, version = api_version.rpartition("/")
    return Manifest(number, group, version, kind, name, namespace or "", body)


def check_number(objects: int) -> None:
    """Check how many objects a file has. Raises UnusableFile."""
    if objects > ADDON_OBJECTS.value:
        ADDON_OBJECTS.reached()
        raise UnusableFile(f"it has more than {ADDON_OBJECTS.value} objects")


def rank(kind: str) -> int:
    """Return the place of a kind in the order of writing; objects are deleted in the opposite order."""
    return _RANKS.get(kind, 0)


def resolve(manifest: Manifest, rows: Rows) -> Resolved | None:
    """Return how a manifest is written; None if its kind is not served."""
    row = rows.get((manifest.group, manifest.kind))
    if row is None:
        return None
    namespace = manifest.namespace or (DEFAULT_NAMESPACE if row.namespaced else "")
    return Resolved(
        manifest, row, ObjectKey(manifest.group, manifest.kind, namespace, manifest.name)
    )


def with_label(manifest: Manifest, namespace: str, label: str, value: str) -> dict[str, Any]:
    """Return the body to apply: the file's, in a namespace and with a label more."""
    metadata = {**manifest.body["metadata"]}
    metadata["labels"] = {**(metadata.get("labels") or {}), label: value}
    if namespace:
        metadata["namespace"] = namespace
    return {**manifest.body, "metadata": metadata}
