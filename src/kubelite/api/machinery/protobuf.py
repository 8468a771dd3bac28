"""Decodes bodies in Kubernetes' protobuf form into the dicts their JSON would decode to.

Typed Go clients send them without a fallback. The messages are those of the Go types, so a `Schema` has the type of
each field, and `protobuf_fields.json` only its number; ``*`` marks a message whose fields JSON inlines into its
parent. Values with another form in JSON (dates, quantities, bytes, raw JSON) are converted. Zero values, which Go's
encoder always writes, are left for `structural` to drop.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.causes import cut
from kubelite.api.machinery.document_size import Meter, json_cost
from kubelite.api.machinery.json_reading import is_too_deep
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.times import format_micro_time, format_time

MAGIC: Final = b"k8s\0"
DEPTH_LIMIT = 128  # nested messages

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_OPTIONS = frozenset(
    {"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "GetOptions", "ListOptions"}
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Wire = tuple[int, int, Any]  # field number, wire type, an int or bytes


class Malformed(Exception):
    """The bytes are not a message of the expected type."""


class Reading(Meter):
    """The cost of one body so far, and the depth of open messages; an exception ends the decoding."""

    __slots__ = ("depth", "has_json")

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.has_json = False

    def enter(self) -> None:
        """Enter a nested message. Raises Malformed beyond DEPTH_LIMIT."""
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise Malformed("exceeded max depth")

    def leave(self) -> None:
        """Leave a nested message."""
        self.depth -= 1


def read_protobuf(body: bytes) -> dict[str, Any]:
    """Decode a body that begins with `MAGIC`; `apiVersion` and `kind` stand first in the result.

    Raises:
        BadRequest: The body is malformed, nested too deep, or of a kind that is not built in.
        RequestEntityTooLarge: Its values would take too much memory.
    """
    try:
        reading = Reading()
        decoded = _envelope(memoryview(body), reading)
        if reading.has_json and is_too_deep(decoded):
            raise Malformed("exceeded max depth")
        return decoded
    except (
        Malformed,
        RecursionError,
        ValueError,
        OverflowError,
        struct.error,
        msgspec.DecodeError,
    ) as error:
        raise BadRequest(
            f"the body of the request was in an unknown format: proto: {error}"
        ) from error


def _envelope(body: memoryview, reading: Reading) -> dict[str, Any]:
    """Decode a `runtime.Unknown`: type, raw message, content encoding and type."""
    if bytes(body[:4]) != MAGIC:
        raise Malformed("provided data does not appear to be a protobuf message")
    found = {number: _nested(wire, value) for number, wire, value in _fields(body[4:])}
    named = {
        number: _text(_nested(wire, value)) for number, wire, value in _fields(found.get(1, b""))
    }
    api_version, kind = named.get(1, ""), named.get(2, "")
    raw = found.get(2, memoryview(b""))
    if _text(found.get(4, b"")) == "application/json":
        decoded = _json(raw, reading)
        if not isinstance(decoded, dict):
            raise Malformed("the raw value is no object")
        return decoded
    group, _, version = api_version.rpartition("/")
    gvk = (
        GroupVersionKind("", "v1", kind)
        if kind in _OPTIONS
        else GroupVersionKind(group, version, kind)
    )
    type_ = kinds().get(gvk)
    if type_ is None:
        raise Malformed(f'no kind "{cut(kind)}" is registered for version "{cut(api_version)}"')
    fields = _message(compile_struct(type_), raw, reading)
    fields.pop("apiVersion", None)
    fields.pop("kind", None)
    return {"apiVersion": api_version, "kind": kind, **fields}


def _json(raw: memoryview, reading: Reading) -> Any:
    """Decode embedded JSON, which is charged before it is decoded."""
    body = bytes(raw)
    reading.has_json = True
    reading.charge(json_cost(body), nodes=0)
    return msgspec.json.decode(body)


# ---- the wire


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise Malformed("unexpected EOF")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _fields(data: Any) -> Iterator[Wire]:
    """Yield the fields of a message in encoded order."""
    if isinstance(data, int):
        raise Malformed(f"wrong wireType = {_VARINT}")
    data = memoryview(data)
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        value: Any
        if wire_type == _BYTES:
            length, position = _varint(data, position)
            value, position = data[position : position + length], position + length
        elif wire_type == _VARINT:
            value, position = _varint(data, position)
        elif wire_type in {_FIXED64, _FIXED32}:
            length = 8 if wire_type == _FIXED64 else 4
            value, position = data[position : position + length], position + length
        else:
            raise Malformed(f"illegal wireType {wire_type}")
        if position > end or number == 0:
            raise Malformed("unexpected EOF")
        yield number, wire_type, value


def _signed(value: Any) -> int:
    if not isinstance(value, int):
        raise Malformed(f"wrong wireType = {_BYTES}")
    return value - (1 << 64) if value >= 1 << 63 else value


def _text(value: Any) -> str:
    if isinstance(value, int):
        raise Malformed(f"wrong wireType = {_VARINT}")
    return str(value, "utf-8")


# ---- messages


class _Field(msgspec.Struct, frozen=True):
    """The field with a field number."""

    name: str
    schema: Schema


@cache
def _numbers() -> Mapping[str, Mapping[str, int]]:
    """Return the field numbers by definition and field."""
    data = Path(__file__).with_name("protobuf_fields.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, dict[str, int]])


_TABLES: dict[tuple[str, int], Mapping[int, _Field | str]] = {}


def _table(definition: str, schema: Schema) -> Mapping[int, _Field | str]:
    """Return by number the field of `schema`, or the definition of a message that is inlined into it."""
    key = definition, id(schema.fields)
    if key not in _TABLES:
        _TABLES[key] = {
            number: name[1:] if name.startswith("*") else _Field(name, schema.fields[name])
            for name, number in _numbers().get(definition, {}).items()
            if name.startswith("*") or name in schema.fields
        }
    return _TABLES[key]


def _message(schema: Schema, data: memoryview | bytes, reading: Reading) -> dict[str, Any]:
    made: dict[str, Any] = {}
    reading.charge(0)
    _fill(made, schema.definition, schema, data, reading)
    return made


def _fill(
    made: dict[str, Any],
    definition: str,
    schema: Schema,
    data: memoryview | bytes,
    reading: Reading,
) -> None:
    reading.enter()
    table = _table(definition, schema)
    for number, wire_type, value in _fields(data):
        field = table.get(number)
        if isinstance(field, str):
            _fill(made, field, schema, _nested(wire_type, value), reading)
        elif field is not None:
            _put(made, field, wire_type, value, reading)
    reading.leave()


def _put(made: dict[str, Any], field: _Field, wire_type: int, value: Any, reading: Reading) -> None:
    name, schema = field.name, field.schema
    if name not in made:
        reading.charge(0)
    if schema.loose:
        made[name] = _loose(name, schema, value, reading)
        return
    items = schema.items
    if schema.type == "array" and items is not None:
        made.setdefault(name, []).extend(_elements(items, wire_type, value, reading))
    elif schema.type == "map" and items is not None:
        key, item = _entry(name, items, _nested(wire_type, value), reading)
        reading.charge(len(key))
        made.setdefault(name, {})[key] = item
    else:
        made[name] = _value(schema, wire_type, value, reading)


def _elements(items: Schema, wire_type: int, value: Any, reading: Reading) -> Iterator[Any]:
    """Yield one element, or all elements of a packed list of numbers."""
    if wire_type == _BYTES and items.type in {"integer", "boolean"}:
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            yield _value(items, _VARINT, number, reading)
    else:
        yield _value(items, wire_type, value, reading)


def _entry(name: str, items: Schema, data: Any, reading: Reading) -> tuple[str, Any]:
    key, item = "", None
    for number, wire_type, value in _fields(data):
        if number == 1:
            key = _text(value)
        elif number == 2 and items.type == "array" and items.items is not None:
            # A list that is the value of a map is wrapped in a message.
            item = [_value(items.items, wire, text, reading) for _, wire, text in _fields(value)]
        elif number == 2 and items.loose:
            item = _loose(name, items, _nested(wire_type, value), reading)
        elif number == 2:
            item = _value(items, wire_type, value, reading)
    return key, item


def _nested(wire_type: int, value: Any) -> memoryview:
    if wire_type != _BYTES:
        raise Malformed(f"wrong wireType = {wire_type}")
    assert isinstance(value, memoryview)
    return value


def _value(schema: Schema, wire_type: int, value: Any, reading: Reading) -> Any:
    if schema.type in {"integer", "boolean"}:
        if wire_type != _VARINT:
            raise Malformed(f"wrong wireType = {wire_type}")
        reading.charge(0)
        return bool(value) if schema.type == "boolean" else _integer(schema, value)
    if schema.type == "number":
        if wire_type != _FIXED64:
            raise Malformed(f"wrong wireType = {wire_type}")
        return struct.unpack("<d", value)[0]
    data = _nested(wire_type, value)
    if schema.type == "object":
        return _message(schema, data, reading)
    reading.charge(2 * len(data))
    return _READERS[schema.type](schema, data, reading)


def _integer(schema: Schema, value: int) -> int:
    number = _signed(value)
    if schema.format == "int32":  # Go truncates to 32 bits
        number = (number & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    return number


def _string(schema: Schema, data: memoryview, _: Reading) -> str:
    return base64.b64encode(data).decode() if schema.format == "byte" else _text(data)


def _quantity(_: Schema, data: memoryview, __: Reading) -> str:
    return next((_text(value) for number, _, value in _fields(data) if number == 1), "0") or "0"


def _time(schema: Schema, data: memoryview, _: Reading) -> str | None:
    if not data:
        return None  # Go's zero time
    parts = {number: _signed(value) for number, _, value in _fields(data)}
    moment = _EPOCH + timedelta(seconds=parts.get(1, 0), microseconds=parts.get(2, 0) // 1000)
    return format_micro_time(moment) if schema.format == "date-time-micro" else format_time(moment)


def _int_or_string(_: Schema, data: memoryview, __: Reading) -> int | str:
    parts = {number: value for number, _, value in _fields(data)}
    if parts.get(1, 0):
        return _text(parts.get(3, b""))
    return _signed(parts.get(2, 0))


def _raw(_: Schema, data: memoryview, reading: Reading) -> Any:
    """Decode raw JSON, or an embedded object in protobuf form."""
    raw: Any = next((value for number, _, value in _fields(data) if number == 1), b"")
    if not raw:
        return None
    raw = _nested(_VARINT if isinstance(raw, int) else _BYTES, raw)
    return _envelope(raw, reading) if bytes(raw[:4]) == MAGIC else _json(raw, reading)


_READERS: Mapping[str, Callable[[Schema, memoryview, Reading], Any]] = {
    "string": _string,
    "quantity": _quantity,
    "time": _time,
    "int-or-string": _int_or_string,
    "any": _raw,
    "array": lambda schema, data, reading: [
        _value(schema.items, wire, value, reading)
        for _, wire, value in _fields(data)
        if schema.items
    ],
}


def _loose(name: str, schema: Schema, data: memoryview, reading: Reading) -> Any:
    """Decode the schema-or-something messages of JSON schemas."""
    parts = list(_fields(data))
    if name.startswith("additional"):
        nested, others = 2, 1
    else:
        nested, others = 1, 2
    for number, wire_type, value in parts:
        if number == nested:
            return _message(schema, _nested(wire_type, value), reading)
    if name.startswith("additional"):
        return any(bool(value) for number, _, value in parts if number == others)
    read = _text if name == "dependencies" else lambda value: _message(schema, value, reading)
    return [read(value) for number, _, value in parts if number == others]
