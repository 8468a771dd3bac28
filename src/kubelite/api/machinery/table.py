"""Tables (meta.k8s.io, v1 and v1beta1 alike): rows of cells that clients print without knowing the kind."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

import msgspec

from kubelite.api.machinery.columns.layout import Layout

JSON = dict[str, Any]
IncludeObject = Literal["None", "Metadata", "Object"]
INCLUDE_OBJECT: tuple[IncludeObject, ...] = ("None", "Metadata", "Object")

V1 = "meta.k8s.io/v1"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def partial_metadata(thing: JSON, api_version: str = V1) -> JSON:
    """Return an object's metadata as a PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": api_version,
        "metadata": thing.get("metadata") or {},
    }


def row(
    layout: Layout,
    stored: bytes,
    now: datetime,
    include: IncludeObject = "Metadata",
    api_version: str = V1,
) -> JSON:
    """Return the row of one object, given as its stored JSON."""
    thing: JSON = _decode(stored)
    made: JSON = {"cells": layout.cells(thing, now)}
    if layout.conditions is not None and (conditions := layout.conditions(thing)):
        made["conditions"] = conditions
    if include == "Object":
        made["object"] = msgspec.Raw(stored)
    elif include == "Metadata":
        made["object"] = partial_metadata(thing, api_version)
    return made


def table_frame(
    layout: Layout, metadata: JSON | None = None, api_version: str = V1
) -> tuple[bytes, bytes]:
    """Return the bytes before and after the rows of a table; `metadata` is that of the list."""
    frame = _encode(
        {
            "kind": "Table",
            "apiVersion": api_version,
            "metadata": metadata or {},
            "columnDefinitions": [column.to_wire() for column in layout.columns],
            "rows": [],
        }
    )
    return frame[:-2], frame[-2:]


def rows(
    layout: Layout,
    stored: Iterable[bytes],
    now: datetime,
    include: IncludeObject = "Metadata",
    api_version: str = V1,
) -> list[bytes]:
    """Return the rows of objects as JSON."""
    return [_encode(row(layout, each, now, include, api_version)) for each in stored]


def table(
    layout: Layout,
    stored: Iterable[bytes],
    now: datetime,
    include: IncludeObject = "Metadata",
    metadata: JSON | None = None,
    api_version: str = V1,
) -> bytes:
    """Return the Table of objects as JSON; `metadata` is the list's own (resourceVersion, continue, ...)."""
    head, tail = table_frame(layout, metadata, api_version)
    return head + b",".join(rows(layout, stored, now, include, api_version)) + tail


def object_table(
    layout: Layout,
    stored: bytes,
    now: datetime,
    include: IncludeObject = "Metadata",
    api_version: str = V1,
) -> bytes:
    """Return the Table of one object, as get and watch return it, with the object's resourceVersion."""
    version = (_decode(stored).get("metadata") or {}).get("resourceVersion", "")
    metadata = {"resourceVersion": version} if version else {}
    return table(layout, [stored], now, include, metadata, api_version)
