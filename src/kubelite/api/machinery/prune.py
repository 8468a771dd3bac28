"""Drops the fields a schema does not know."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.schema import Schema, element_path, field_path, key_path

PATHS_LIMIT = 1000  # reported; the rest is dropped in silence


def prune(schema: Schema, value: Any) -> tuple[str, ...]:
    """Drop unknown fields from `value`, in place, and return their paths in document order."""
    unknown: list[str] = []
    _prune(schema, value, "", unknown)
    return tuple(unknown)


def _prune(schema: Schema, value: Any, path: str, unknown: list[str]) -> None:
    if isinstance(value, dict):
        _prune_object(schema, value, path, unknown)
    elif isinstance(value, list):
        items = schema if schema.loose else schema.items
        if items is not None:
            for index, item in enumerate(value):
                _prune(items, item, element_path(path, index), unknown)


def _prune_object(schema: Schema, value: dict[str, Any], path: str, unknown: list[str]) -> None:
    fields, rest = schema.fields, schema.items
    strict = schema.type == "object" and not schema.preserve and rest is None
    for name in list(value):
        if (node := fields.get(name)) is not None:
            _prune(node, value[name], field_path(path, name), unknown)
        elif rest is not None:
            address = key_path if schema.type == "map" else field_path
            _prune(rest, value[name], address(path, name), unknown)
        elif strict and not (schema.embedded and name in _OF_EVERY_OBJECT):
            del value[name]
            if len(unknown) < PATHS_LIMIT:
                unknown.append(field_path(path, name))


_OF_EVERY_OBJECT = frozenset({"apiVersion", "kind", "metadata"})
