"""Duplicates in lists: sets, maps, and lists of unique items. The work is linear in the list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from kubelite.api.errors import Cause
from kubelite.api.machinery.causes import duplicate, invalid
from kubelite.api.machinery.shaping.compile_openapi import LIST_KEYS, LIST_TYPE

JSON = dict[str, Any]
_encode = msgspec.json.Encoder(order="deterministic").encode


_ABSENT = object()


def identity(value: Any) -> Any:
    """Return a key that is equal for equal JSON values only; 1 and true differ."""
    if value.__class__ is str:
        return value
    if value.__class__ is dict or value.__class__ is list:
        return _encode(value)
    return value.__class__, value


def are_unique(values: Sequence[Any]) -> bool:
    """Return whether no value occurs twice."""
    return len(values) < 2 or len(set(map(identity, values))) == len(values)


def _repeated(values: Iterable[Any]) -> Iterator[int]:
    """Yield where a value occurs the second time."""
    times: dict[Any, int] = {}
    for index, value in enumerate(values):
        key = identity(value)
        seen = times[key] = times.get(key, 0) + 1
        if seen == 2:
            yield index


def keeps_list_type(node: JSON, values: list[Any]) -> bool:
    """Return whether a list satisfies its type; `list_causes` says why not."""
    match node.get(LIST_TYPE):
        case "set":
            return are_unique(values)
        case "map":
            for item in values:
                if item.__class__ is not dict and item is not None:
                    return False
            names: list[str] = node.get(LIST_KEYS) or []
            if len(names) == 1:
                return are_unique([_object(item).get(names[0], _ABSENT) for item in values])
            return are_unique(_keys(node, values))
        case _:
            return True


def _keys(node: JSON, values: list[Any]) -> list[Any]:
    """Return what identifies the elements of a list of type map."""
    names = node.get(LIST_KEYS) or ()
    return [{name: item[name] for name in names if name in item} for item in map(_object, values)]


def _object(item: Any) -> JSON:
    return item if item.__class__ is dict else {}


def list_causes(node: JSON, values: list[Any], path: str) -> Iterator[Cause]:
    """Yield why a list does not satisfy its type."""
    if node.get(LIST_TYPE) == "set":
        yield from (duplicate(f"{path}[{index}]", values[index]) for index in _repeated(values))
    elif node.get(LIST_TYPE) == "map":
        for index, item in enumerate(values):
            if item is not None and item.__class__ is not dict:
                detail = "must be an object for an array of list-type map"
                yield invalid(f"{path}[{index}]", item, detail)
                return
        keys = _keys(node, values)
        yield from (duplicate(f"{path}[{index}]", keys[index]) for index in _repeated(keys))
