"""Makes an object of each built-in kind with every field set, as JSON and as protobuf."""

import base64
import json
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

from reference import reference_files

from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery import protobuf
from kubelite.api.machinery.protobuf import MAGIC
from kubelite.api.machinery.schema import Schema, compile_struct

GVKS = sorted(kinds(), key=str)
NUMBERS: dict[str, dict[str, int]] = json.loads(
    Path(protobuf.__file__).with_name("protobuf_fields.json").read_text()
)
DEEPEST = 2  # how often a type that contains itself may stand within itself


def api_version(gvk: GroupVersionKind) -> str:
    return f"{gvk.group}/{gvk.version}".lstrip("/")


def complete_object(gvk: GroupVersionKind) -> dict[str, Any]:
    """Return an object with every field set; strings hold the name of their field."""
    made = complete(compile_struct(kinds()[gvk]), gvk.kind, ())
    assert isinstance(made, dict)
    return {"apiVersion": api_version(gvk), "kind": gvk.kind, **made}


def complete(schema: Schema, name: str, around: tuple[str, ...]) -> Any:
    around = (*around, schema.definition)
    match schema.type:
        case "object":
            return {
                field: complete(inner, field, around)
                for field, inner in schema.fields.items()
                if around.count((inner.items or inner).definition or field) < DEEPEST
                and not (
                    schema.gvk and field in {"apiVersion", "kind"}
                )  # protobuf omits them within
            }
        case "map" if schema.items is not None:
            return {"key": complete(schema.items, name, around)}
        case "array" if schema.items is not None:
            return [complete(schema.items, name, around)]
        case "string":
            return base64.b64encode(name.encode()).decode() if schema.format == "byte" else name
        case "time":
            fraction = ".000007" if schema.format == "date-time-micro" else ""
            return f"2004-01-01T01:01:01{fraction}Z"
        case "int-or-string":
            return name if len(name) % 2 else 7
        case "any":
            return {"apiVersion": "example.com/v1", "kind": "Custom", "spec": {"replicas": 1}}
        case type_:
            return {"integer": 7, "number": 0.5, "boolean": True, "quantity": "3"}[type_]


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    written = b""
    while value >= 0x80:
        written += bytes([value & 0x7F | 0x80])
        value >>= 7
    return written + bytes([value])


def field(number: int, value: int | str | bytes | float) -> bytes:
    """Encode one field; the type of the value decides on the wire type."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, *fields: bytes) -> bytes:
    """Encode the envelope of an object."""
    type_meta = field(1, api_version) + field(2, kind)
    return MAGIC + field(1, type_meta) + field(2, b"".join(fields))


def complete_protobuf(gvk: GroupVersionKind) -> bytes:
    """Return `complete_object` as a Go client encodes it."""
    return protobuf_of(gvk, complete_object(gvk))


def protobuf_of(gvk: GroupVersionKind, made: dict[str, Any]) -> bytes:
    """Return an object as a Go client encodes it."""
    schema = compile_struct(kinds()[gvk])
    return body(api_version(gvk), gvk.kind, message(schema.definition, schema, made))


def message(definition: str, schema: Schema, made: dict[str, Any]) -> bytes:
    encoded = b""
    for name, number in NUMBERS[definition].items():
        if name.startswith("*"):
            encoded += field(number, message(name[1:], schema, made))
        elif name in made:
            for element in elements(name, schema.fields[name], made[name]):
                encoded += field(number, element)
    return encoded


def elements(name: str, schema: Schema, made: Any) -> list[int | float | str | bytes]:
    """Return what is written under the number of a field, once or more."""
    items = schema.items
    if schema.loose:
        return [loose(name, schema, made)]
    if schema.type == "array" and items is not None:
        return [value(name, items, element) for element in made]
    if schema.type == "map" and items is not None:
        return [field(1, key) + field(2, value(name, items, one)) for key, one in made.items()]
    return [value(name, schema, made)]


def loose(name: str, schema: Schema, made: Any) -> bytes:
    """Encode a JSONSchemaPropsOrBool (its schema has number 2), …OrArray or …OrStringArray (number 1)."""
    if isinstance(made, bool):
        return field(1, made)
    if isinstance(made, list):
        return b"".join(
            field(2, one if isinstance(one, str) else message(schema.definition, schema, one))
            for one in made
        )
    nested = message(schema.definition, schema, made)
    return field(2, nested) if name.startswith("additional") else field(1, nested)


def value(name: str, schema: Schema, made: Any) -> int | float | str | bytes:
    match schema.type:
        case "object" if schema.loose:
            return loose(name, schema, made)
        case "object":
            return message(schema.definition, schema, made)
        case "array" if schema.items is not None:
            return b"".join(field(1, value(name, schema.items, one)) for one in made)
        case "string" if schema.format == "byte":
            return base64.b64decode(made)
        case "quantity":
            return field(1, made)
        case "time":
            moment = datetime.fromisoformat(made)
            nanoseconds = moment.microsecond * 1000
            return field(1, int(moment.timestamp())) + field(2, nanoseconds)
        case "int-or-string":
            return field(1, 1) + field(3, made) if isinstance(made, str) else field(2, made)
        case "any":
            return field(1, json.dumps(made))
        case _:
            assert isinstance(made, int | float | str)
            return made


def samples() -> list[tuple[str, dict[str, Any], bytes]]:
    """Return a name, an object and its protobuf form for each kind, and those of the reference where it is at hand."""
    made = [
        (f"{api_version(gvk)}.{gvk.kind}", complete_object(gvk), complete_protobuf(gvk))
        for gvk in GVKS
    ]
    published = [
        (path.stem, json.loads(path.read_bytes()), path.with_suffix(".pb").read_bytes())
        for path in reference_files("roundtrip/*.json")
    ]
    return made + published
