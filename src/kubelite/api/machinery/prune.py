"""Drops the fields that are not in a schema."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.paths import FieldPath, Notes
from kubelite.api.machinery.schema import Schema
from kubelite.limits import UNKNOWN_FIELDS


def prune(schema: Schema, value: Any) -> tuple[str, ...]:
    """Drop unknown fields from `value`, in place, and return their paths in document order."""
    unknown = Notes(UNKNOWN_FIELDS)
    _prune(schema, value, None, unknown)
    return tuple(unknown.texts)


def _prune(schema: Schema, value: Any, path: FieldPath | None, unknown: Notes) -> None:
    if isinstance(value, dict):
        _prune_object(schema, value, path, unknown)
    elif isinstance(value, list):
        items = schema if schema.loose else schema.items
        if items is not None:
            for index, item in enumerate(value):
                if item.__class__ in _CONTAINERS:
                    _prune(items, item, FieldPath(path, index), unknown)


def _prune_object(
    schema: Schema, value: dict[str, Any], path: FieldPath | None, unknown: Notes
) -> None:
    fields, rest = schema.fields, schema.items
    strict = schema.type == "object" and not schema.preserve and rest is None
    for name in list(value):
        node = fields.get(name)
        if node is not None or rest is not None:
            if value[name].__class__ in _CONTAINERS:
                _prune(node or rest or schema, value[name], FieldPath(path, name), unknown)
        elif strict and not (schema.embedded and name in _OF_EVERY_OBJECT):
            del value[name]
            unknown.add("{}", FieldPath(path, name))


_CONTAINERS = frozenset((dict, list))
_OF_EVERY_OBJECT = frozenset({"apiVersion", "kind", "metadata"})
