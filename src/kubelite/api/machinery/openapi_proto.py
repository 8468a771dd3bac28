"""Encodes a Swagger document as the `openapi.v2.Document` message of gnostic, which client-go reads.

Only the fields that our documents use are supported: the tables map their JSON names for each message. In the message
maps are lists of named values, extensions are YAML texts, and alternatives are messages with one field each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

JSON = Mapping[str, Any]
Encoder = Callable[[Any], bytes]

_BYTES = 2


def encode_document(document: JSON) -> bytes:
    """Encode a whole document."""
    paths = b"".join(
        _field(2, _named(path, _path_item(item))) for path, item in document["paths"].items()
    )
    definitions = b"".join(
        _field(1, _named(name, _schema(schema))) for name, schema in document["definitions"].items()
    )
    parameters = b"".join(
        _field(1, _named(name, _shared(item))) for name, item in document["parameters"].items()
    )
    info = _field(1, _text(document["info"]["title"])) + _field(
        2, _text(document["info"]["version"])
    )
    return (
        _field(1, _text(document["swagger"]))
        + _field(2, info)
        + _field(8, paths)
        + _field(9, definitions)
        + _field(10, parameters)
    )


# ---- the wire


def _varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _flag(number: int, value: bool) -> bytes:
    return _varint(number << 3) + _varint(int(value)) if value else b""


def _text(value: str) -> bytes:
    return value.encode()


def _named(name: str, value: bytes) -> bytes:
    return _field(1, _text(name)) + _field(2, value)


def _any(value: Any) -> bytes:
    """Encode an `Any`, whose YAML text is JSON."""
    return _field(2, _text(json.dumps(value) + "\n"))


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_field(number, _text(value)) for value in values)


def _extensions(number: int, value: JSON) -> bytes:
    return b"".join(
        _field(number, _named(name, _any(item)))
        for name, item in value.items()
        if name.startswith("x-")
    )


def _fields(table: Mapping[str, tuple[int, Encoder]], value: JSON) -> bytes:
    return b"".join(
        _field(number, encode(value[name]))
        for name, (number, encode) in table.items()
        if name in value
    )


# ---- messages


def _properties(value: JSON) -> bytes:
    return b"".join(_field(1, _named(name, _schema(schema))) for name, schema in value.items())


_SCHEMA: Mapping[str, tuple[int, Encoder]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "description": (4, _text),
    "default": (5, _any),
    "additionalProperties": (21, lambda value: _field(1, _schema(value))),
    "type": (22, lambda value: _field(1, _text(value))),
    "items": (23, lambda value: _field(1, _schema(value))),
    "properties": (25, _properties),
}


def _schema(value: JSON) -> bytes:
    enum = b"".join(_field(20, _any(item)) for item in value.get("enum", ()))
    return (
        _fields(_SCHEMA, value)
        + _texts(19, value.get("required", ()))
        + enum
        + _extensions(31, value)
    )


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def _path_item(value: JSON) -> bytes:
    operations = b"".join(
        _field(number, _operation(value[method]))
        for method, number in _METHODS.items()
        if method in value
    )
    return operations + b"".join(_field(9, _parameter(item)) for item in value["parameters"])


def _operation(value: JSON) -> bytes:
    responses = b"".join(
        _field(1, _named(code, _response(item))) for code, item in value["responses"].items()
    )
    return (
        _texts(1, value["tags"])
        + _field(3, _text(value["description"]))
        + _field(5, _text(value["operationId"]))
        + _texts(6, value["produces"])
        + _texts(7, value["consumes"])
        + b"".join(_field(8, _parameter(item)) for item in value["parameters"])
        + _field(9, responses)
        + _texts(10, value["schemes"])
        + _extensions(13, value)
    )


def _response(value: JSON) -> bytes:
    made = _field(1, _text(value["description"]))
    if "schema" in value:
        made += _field(2, _field(1, _schema(value["schema"])))
    return _field(1, made)


def _parameter(value: JSON) -> bytes:
    """Encode a `ParametersItem`: a reference to a parameter, or one in the body."""
    if "$ref" in value:
        return _field(2, _field(1, _text(value["$ref"])))
    return _field(1, _shared(value))


def _shared(value: JSON) -> bytes:
    """Encode a `Parameter`: in the body, in the query or in the path."""
    name, place, required = _text(value["name"]), _text(value["in"]), value.get("required", False)
    if value["in"] == "body":
        made = (
            _field(1, _text(value["description"]))
            + _field(2, name)
            + _field(3, place)
            + _flag(4, required)
            + _field(5, _schema(value["schema"]))
        )
        return _field(1, made)
    type_ = _text(value["type"])
    made = (
        _flag(1, required) + _field(2, place) + _field(3, _text(value["description"]))
    ) + _field(4, name)
    if value["in"] == "query":
        made += _field(6, type_) + _flag(20, value["uniqueItems"])
        return _field(2, _field(3, made))
    made += _field(5, type_) + _flag(19, value["uniqueItems"])
    return _field(2, _field(4, made))
