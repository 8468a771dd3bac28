"""The stored form of an object: JSON that begins with kind, apiVersion and the resource version.

The store writes the revision of a change into the bytes (`Put.revision_at`), so the stored bytes are served unchanged.
"""

from typing import Any

import msgspec

from kubelite.api.machinery.go_json import escaped_for_html
from kubelite.api.registry.resource import Resource
from kubelite.store.protocol import Delete, Put

encode = msgspec.json.Encoder().encode
decode: "msgspec.json.Decoder[dict[str, Any]]" = msgspec.json.Decoder(dict[str, Any])


def encode_object(resource: Resource, item: dict[str, Any], revision: str = "") -> bytes:
    """Encode an object in its stored form; "" leaves the resource version to the store."""
    metadata = {"resourceVersion": revision, **item["metadata"]}
    metadata["resourceVersion"] = revision
    ordered = {
        "kind": resource.kind.kind,
        "apiVersion": resource.api_version,
        "metadata": metadata,
        **item,
    }
    ordered["kind"], ordered["apiVersion"] = resource.kind.kind, resource.api_version
    ordered["metadata"] = metadata
    # Go clients keep raw bytes (fieldsV1, the data of a ControllerRevision) and compare them, so escape as Go does.
    return escaped_for_html(encode(ordered))


def put(resource: Resource, item: dict[str, Any], expected: int | None = None) -> Put:
    """Return the operation that writes an object; `expected` is the revision it replaces (0: none, None: any)."""
    metadata = item["metadata"]
    value = encode_object(resource, item)
    return Put(
        resource.key(metadata.get("namespace", ""), metadata["name"]),
        value,
        expected=expected,
        revision_at=revision_at(value),
    )


def removal(resource: Resource, item: dict[str, Any], expected: int | None = None) -> Delete:
    """Return the operation that removes an object; watchers see `item` as its last state."""
    metadata = item["metadata"]
    value = encode_object(resource, item)
    return Delete(
        resource.key(metadata.get("namespace", ""), metadata["name"]),
        expected=expected,
        value=value,
        revision_at=revision_at(value),
    )


def with_revision(value: bytes, revision: int) -> bytes:
    """Return stored bytes with another resource version."""
    start = revision_at(value)
    end = value.index(b'"', start)
    return b"%b%d%b" % (value[:start], revision, value[end:])


_BEFORE_REVISION = b'"metadata":{"resourceVersion":"'


def revision_at(value: bytes) -> int:
    """Return the offset of the resource version in stored bytes, before which stand only kind and apiVersion."""
    return value.index(_BEFORE_REVISION) + len(_BEFORE_REVISION)


def revision_of(value: bytes) -> int:
    """Return the resource version in stored bytes."""
    start = revision_at(value)
    return int(value[start : value.index(b'"', start)] or 0)


def name_of(key: str) -> tuple[str, str]:
    """Return namespace and name of a store key; the namespace is "" for a cluster-scoped object."""
    parts = key.split("/")
    return ("", parts[2]) if len(parts) == 3 else (parts[2], parts[3])
