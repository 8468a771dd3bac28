"""The slow walks over a custom resource: they drop unknown fields and say where those and malformed values are."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.causes import shown
from kubelite.api.machinery.mismatch import find_mismatch
from kubelite.api.machinery.paths import FieldPath, Notes
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.shaping.compile_openapi import EMBEDDED, PRESERVE, TYPE_FIELDS
from kubelite.api.machinery.shaping.go import structure
from kubelite.limits import UNKNOWN_FIELDS

JSON = dict[str, Any]
Path = FieldPath | None
_CONTAINERS = frozenset((dict, list))
_NOTHING: JSON = {}


def drop_unknown(node: JSON, value: Any, *, root: bool = False) -> tuple[str, ...]:
    """Drop the fields that have no schema, in place; return their paths in Kubernetes' order.

    `root`: the value is a whole custom resource, whose type and metadata are left alone.
    """
    unknown = Notes(UNKNOWN_FIELDS)
    _drop(node, value, None, unknown, root=root)
    return tuple(sorted(unknown.texts))


def _drop(
    node: JSON, value: Any, path: Path, unknown: Notes, *, root: bool = False, keeps: bool = False
) -> None:
    """Walk a value; `keeps`: it is an element of a list whose unknown fields are kept."""
    keeps = keeps or node.get(PRESERVE) is True
    if value.__class__ is dict:
        _drop_fields(node, value, path, unknown, root=root, keeps=keeps)
    elif value.__class__ is list:
        items = node.get("items")
        if items is None and keeps:
            return
        for index, item in enumerate(value):
            if item.__class__ in _CONTAINERS:
                at = FieldPath(path, index)
                _drop(items or _NOTHING, item, at, unknown, keeps=keeps)


def _drop_fields(
    node: JSON, value: JSON, path: Path, unknown: Notes, *, root: bool, keeps: bool
) -> None:
    properties: JSON = node.get("properties") or _NOTHING
    rest = node.get("additionalProperties")
    is_object = root or node.get(EMBEDDED) is True
    for name in list(value):
        if is_object and name in TYPE_FIELDS:
            continue
        inner = properties.get(name)
        if inner is None:
            inner = rest if isinstance(rest, dict) or rest is None else _NOTHING
            if keeps and inner is not rest:
                continue
        if inner is not None:
            if value[name].__class__ in _CONTAINERS:
                _drop(inner, value[name], FieldPath(path, name), unknown)
        elif not keeps:
            del value[name]
            unknown.add("{}", FieldPath(path, name))


def shape_embedded(node: JSON, value: Any, *, lenient: bool = False) -> tuple[str, ...]:
    """Give all embedded resources the form of API objects; return the paths of their unknown metadata.

    `lenient`: what is malformed is dropped, as of an object that was stored before its schema said so.

    Raises:
        BadRequest: A value has the wrong type.
    """
    unknown = Notes(UNKNOWN_FIELDS)
    _shape(node, value, None, unknown, lenient)
    return tuple(sorted(unknown.texts))


def _shape(node: JSON, value: Any, path: Path, unknown: Notes, lenient: bool) -> None:
    if value.__class__ is list:
        items = node.get("items")
        if items is not None:
            for index, item in enumerate(value):
                if item.__class__ in _CONTAINERS:
                    _shape(items, item, FieldPath(path, index), unknown, lenient)
        return
    if node.get(EMBEDDED) is True and path is not None:
        _shape_object(value, path, unknown, lenient)
    properties: JSON = node.get("properties") or _NOTHING
    rest = node.get("additionalProperties")
    for name, item in value.items():
        inner = properties.get(name)
        is_key = inner is None
        if is_key and isinstance(rest, dict):
            inner = rest
        if inner is not None and item.__class__ in _CONTAINERS:
            _shape(inner, item, FieldPath(path, name, bracketed=is_key), unknown, lenient)


def _shape_object(value: JSON, path: Path, unknown: Notes, lenient: bool) -> None:
    for name in ("apiVersion", "kind"):
        if name in value and value[name].__class__ is not str:
            if not lenient:
                at = FieldPath(path, name)
                raise BadRequest(f"{at}: Invalid value: {shown(value[name])}: must be a string")
            del value[name]
    if "metadata" not in value:
        return
    at = FieldPath(path, "metadata")
    meta = {} if value["metadata"] is None else value["metadata"]
    if lenient:
        meta = _well_formed(meta)
    else:
        check_metadata(meta, f"{at}: Invalid value: {shown(meta)}: ")
    value["metadata"] = meta
    for name in structure(compile_struct(ObjectMeta), meta):
        unknown.add("{}." + name.replace("{", "{{").replace("}", "}}"), at)


def check_metadata(meta: Any, prefix: str = "") -> None:
    """Raise BadRequest if metadata has a value of the wrong type; `prefix` begins its message."""
    try:
        structure(compile_struct(ObjectMeta), deepcopy(meta))
    except BadRequest as error:
        raise BadRequest(prefix + find_mismatch(compile_struct(ObjectMeta), meta)) from error


def _well_formed(meta: Any) -> JSON:
    """Return the fields of metadata that have the right type."""
    kept: JSON = {}
    for name, item in meta.items() if isinstance(meta, dict) else ():
        try:
            check_metadata({name: item})
        except BadRequest:
            continue
        kept[name] = item
    return kept
