"""Encodes a Swagger document as the `openapi.v2.Document` message of gnostic, which client-go reads.

Only the fields that our documents use are supported: the tables map their JSON names for each message. In the message
maps are lists of named values, extensions are YAML texts, and alternatives are messages with one field each.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

JSON = Mapping[str, Any]
Encoder = Callable[[Any], bytes]

_FIXED64, _BYTES = 1, 2
_ONE_BYTE = tuple(bytes((value,)) for value in range(0x80))
_INT64_MASK = (1 << 64) - 1


def encode_path(path: str, item: JSON) -> bytes:
    """Encode one of a document's paths."""
    return _field(2, _named(path, _path_item(item)))


def encode_definition(name: str, schema: JSON) -> bytes:
    """Encode one of a document's definitions."""
    return _field(1, _named(name, _schema(schema)))


def encode_parameter(name: str, parameter: JSON) -> bytes:
    """Encode one of a document's parameters."""
    return _field(1, _named(name, _shared(parameter)))


def join_document(
    paths: Sequence[bytes], definitions: Sequence[bytes], parameters: Sequence[bytes], info: JSON
) -> list[bytes]:
    """Return the chunks of a document of encoded paths, definitions and parameters."""
    made = [
        _field(1, _text("2.0")),
        _field(2, _field(1, _text(info["title"])) + _field(2, _text(info["version"]))),
    ]
    for number, chunks in ((8, paths), (9, definitions), (10, parameters)):
        made += [_varint(number << 3 | _BYTES), _varint(sum(map(len, chunks))), *chunks]
    return made


# ---- the wire


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _ONE_BYTE[value]
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


def _whole(number: int, value: int) -> bytes:
    """Encode an int64; a zero is not written."""
    return _varint(number << 3) + _varint(int(value) & _INT64_MASK) if value else b""


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FIXED64) + struct.pack("<d", value) if value else b""


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


def _written(encode: Encoder) -> Callable[[int, Any], bytes]:
    return lambda number, value: _field(number, encode(value))


_EXTERNAL_DOCS: Mapping[str, tuple[int, Encoder]] = {"description": (1, _text), "url": (2, _text)}
_SCHEMA: Mapping[str, tuple[int, Callable[[int, Any], bytes]]] = {
    "$ref": (1, _written(_text)),
    "format": (2, _written(_text)),
    "title": (3, _written(_text)),
    "description": (4, _written(_text)),
    "default": (5, _written(_any)),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _flag),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _flag),
    "maxLength": (11, _whole),
    "minLength": (12, _whole),
    "pattern": (13, _written(_text)),
    "maxItems": (14, _whole),
    "minItems": (15, _whole),
    "uniqueItems": (16, _flag),
    "maxProperties": (17, _whole),
    "minProperties": (18, _whole),
    "required": (19, _texts),
    "enum": (20, lambda number, values: b"".join(_field(number, _any(each)) for each in values)),
    "type": (22, _written(lambda value: _field(1, _text(value)))),
    "externalDocs": (29, _written(lambda value: _fields(_EXTERNAL_DOCS, value))),
    "example": (30, _written(_any)),
}


def _schema(value: JSON) -> bytes:
    """Encode a `Schema`. It takes one frame a level, since the schemas of custom resources may be deep."""
    made = []
    for name, item in value.items():
        if (known := _SCHEMA.get(name)) is not None:
            number, write = known
            made.append(write(number, item))
        elif name == "properties":
            fields = []
            for field, schema in item.items():  # a comprehension would be a frame of its own
                fields.append(_field(1, _named(field, _schema(schema))))
            made.append(_field(25, b"".join(fields)))
        elif name == "items":
            made.append(_field(23, _field(1, _schema(item))))
        elif name == "additionalProperties":
            flag = isinstance(item, bool)
            made.append(_field(21, _alternative(item) if flag else _field(1, _schema(item))))
        elif name.startswith("x-"):
            made.append(_field(31, _named(name, _any(item))))
    return b"".join(made)


def _alternative(value: bool) -> bytes:
    return _varint(2 << 3) + _varint(int(value))  # false is written too: it is one of two messages


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
