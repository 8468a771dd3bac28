"""Finds the first value that does not have the type of its field; the message is that of Go's JSON decoder."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.schema import Schema
from kubelite.api.machinery.times import parse_time

_GO_TYPES = {
    "string": "string",
    "boolean": "bool",
    "number": "float64",
    "int-or-string": "intstr.IntOrString",
    "quantity": "resource.Quantity",
    "time": "v1.Time",
    "any": "runtime.RawExtension",
}


def find_mismatch(schema: Schema, value: Any) -> str:
    """Return the message of the first mismatch in document order; "" if there is none."""
    return next(_mismatches(schema, value, "", ()), "json: cannot unmarshal the object")


_UNMARSHAL = re.compile(r"cannot unmarshal (\w+)(?: ([^ ]*))? into Go .* of type (.+)$")
_KINDS = {"object": "map", "array": "slice", "bool": "bool", "string": "string"}


def as_conversion(problem: str) -> str:
    """Return a mismatch's message as Go words it when it converts a merged object instead of decoding JSON."""
    match = _UNMARSHAL.search(problem)
    if match is None:
        return problem
    found, literal, wanted = match.groups()
    kind = _KINDS.get(found) or ("float64" if "." in (literal or "") else "int64")
    if wanted.startswith("map["):
        return f"cannot restore map from {kind}"
    if wanted.startswith("[]"):
        return f"cannot restore slice from {kind}"
    if "." in wanted:
        return f"cannot restore struct from: {kind}"
    if found == "number" and wanted in ("string", "int32", "int64"):
        return f"cannot convert {kind} to {wanted}"
    return f"unrecognized type: {wanted}"


def _mismatches(schema: Schema, value: Any, owner: str, names: tuple[str, ...]) -> Iterator[str]:
    """Walk `value`. `owner` is the type of the innermost object, `names` the fields down to here."""
    if value is None or schema.type == "any" or (schema.loose and not isinstance(value, dict)):
        if value is None and not names:
            yield _wrong("null", schema, owner, names)
        return
    match schema.type:
        case "object":
            yield from _in_object(schema, value, owner, names)
        case "array" | "map":
            yield from _in_collection(schema, value, owner, names)
        case _:
            if (message := _scalar(schema, value, owner, names)) is not None:
                yield message


def _in_object(schema: Schema, value: Any, owner: str, names: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _wrong(value_name(value), schema, owner, names)
        return
    for name, item in value.items():
        if (node := schema.fields.get(name)) is not None:
            yield from _mismatches(node, item, schema.name, (*names, name))


def _in_collection(schema: Schema, value: Any, owner: str, names: tuple[str, ...]) -> Iterator[str]:
    wanted = list if schema.type == "array" else dict
    if not isinstance(value, wanted):
        yield _wrong(value_name(value), schema, owner, names)
        return
    assert schema.items is not None
    for item in value if isinstance(value, list) else value.values():
        yield from _mismatches(schema.items, item, owner, names)


def _scalar(schema: Schema, value: Any, owner: str, names: tuple[str, ...]) -> str | None:
    match schema.type:
        case "quantity":
            return _by_parsing(parse_quantity, value, str | int | float)
        case "time":
            if not isinstance(value, str):
                return f"json: cannot unmarshal {value_name(value)} into Go value of type string"
            return _by_parsing(parse_time, value, str)
        case "int-or-string":
            if isinstance(value, str) or (type(value) is int and -(2**31) <= value < 2**31):
                return None
            return f"json: cannot unmarshal {_literal(value)} into Go value of type int32"
        case "integer":
            size = 63 if schema.format == "int64" else 31
            if type(value) is int and -(2**size) <= value < 2**size:
                return None
            return _wrong(_literal(value), schema, owner, names)
        case "number":
            wanted: tuple[type, ...] = (int, float)
        case "boolean":
            wanted = (bool,)
        case _:
            wanted = (str,)
    if type(value) not in wanted:
        return _wrong(value_name(value), schema, owner, names)
    return _illegal_base64(value) if schema.format == "byte" else None


def _by_parsing(parse: Any, value: Any, wanted: Any) -> str | None:
    try:
        if isinstance(value, bool) or not isinstance(value, wanted):
            parse(str(value))
        else:
            parse(value)
    except ValueError as error:
        return str(error)
    return None


def _illegal_base64(text: str) -> str | None:
    """Return the message with the byte at which Go's decoder fails; None if the text is base64."""
    text = text.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        alphabet = base64.b64encode(bytes(range(256))).decode() + "+/"
        position = next((i for i, byte in enumerate(text) if byte not in alphabet), len(text))
        return f"illegal base64 data at input byte {position}"
    return None


def value_name(value: Any) -> str:
    """Return the name of a JSON value's type, as in messages of Go's decoder."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case None:
            return "null"
        case _:
            return "object"


def _literal(value: Any) -> str:
    name = value_name(value)
    return f"number {value}" if name == "number" else name


def _wrong(found: str, schema: Schema, owner: str, names: tuple[str, ...]) -> str:
    place = f"struct field {owner}.{'.'.join(names)}" if names else "value"
    return f"json: cannot unmarshal {found} into Go {place} of type {_go_type(schema)}"


def _go_type(schema: Schema) -> str:
    match schema.type:
        case "object":
            *_, version, name = schema.definition.split(".")
            return f"{version}.{name}"
        case "array" if schema.items is not None:
            return f"[]{_go_type(schema.items)}"
        case "map" if schema.items is not None:
            return f"map[string]{_go_type(schema.items)}"
        case "integer":
            return schema.format or "int64"
        case "string" if schema.format == "byte":
            return "[]uint8"
        case _:
            return _GO_TYPES[schema.type]
