"""The OpenAPI types of custom resources, made from the `openAPIV3Schema` of a version as apiextensions-apiserver does.

Version 3 says all that a schema says. Version 2 drops what it cannot say (junctors, nullable, defaults), and the fields
of objects that keep unknown ones: kubectl would take the fields that it finds there for all that are allowed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.kinds.model import GroupVersionKind

JSON = dict[str, Any]
Version = Literal[2, 3]


class CustomType(Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """What OpenAPI says about a custom resource in one version. Compared by identity, so keep one per version."""

    kind: GroupVersionKind
    list_kind: str
    # openAPIV3Schema in wire form, or a function that makes it anew each time; None: none, or it is not structural
    source: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None
    preserve_unknown: bool = False  # of the whole definition
    selectable_fields: tuple[str, ...] = ()  # paths such as spec.color

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """The schema; None if nothing is said of the fields."""
        return self.source() if callable(self.source) else self.source

    @property
    def definition(self) -> str:
        """The name of the definition: ``com.example.v1.Cat``."""
        return definition_name(self.kind.group, self.kind.version, self.kind.kind)

    @property
    def list_definition(self) -> str:
        """The name of the definition of its list."""
        return definition_name(self.kind.group, self.kind.version, self.list_kind)

    @cached_property
    def encoded(self) -> Encoded:
        """The size and digest of all that is said; takes a pass over the schema when first read."""
        body = msgspec.json.encode(
            [self.kind, self.list_kind, self.preserve_unknown, self.selectable_fields, self.schema]
        )
        return Encoded(len(body), hashlib.sha256(body).digest())

    @property
    def is_measured(self) -> bool:
        """Whether `encoded` is known already."""
        return "encoded" in self.__dict__

    @cached_property
    def bare(self) -> CustomType:
        """The same type without its fields."""
        return replace(self, source=None)


class Encoded(Struct, frozen=True):
    """The size and digest of a type's schema."""

    size: int  # bytes
    digest: bytes


def definition_name(group: str, version: str, kind: str) -> str:
    """Return the name of a custom kind's definition, which begins with its group reversed."""
    return f"{'.'.join(reversed(group.split('.')))}.{version}.{kind}"


def object_definition(type_: CustomType, version: Version, envelope: Mapping[str, JSON]) -> JSON:
    """Return the definition of a custom kind; `envelope` are the schemas of apiVersion, kind and metadata."""
    schema = type_.schema
    if schema is None or (version == 2 and (type_.preserve_unknown or _preserves(schema))):
        made: JSON = {"type": "object"}
    else:
        made = _node(schema, version, envelope)
        made["properties"] = made.get("properties", {}) | envelope
    return made | _marks(type_, type_.kind.kind)


def list_definition(type_: CustomType, items: JSON, envelope: Mapping[str, JSON]) -> JSON:
    """Return the definition of a custom kind's list; `items` is the schema of the field of that name."""
    return {
        "description": f"A list of {type_.kind.kind} objects.",
        "type": "object",
        "required": ["items"],
        "properties": {**envelope, "items": items},
        **_marks(type_, type_.list_kind),
    }


def _marks(type_: CustomType, kind: str) -> JSON:
    made: JSON = {"x-kubernetes-group-version-kind": [type_.kind._replace(kind=kind)._asdict()]}
    if type_.selectable_fields:
        made["x-kubernetes-selectable-fields"] = [
            {"fieldPath": path} for path in type_.selectable_fields
        ]
    return made


# The keywords of a value that both versions have, in the order they are written.
_KEYWORDS = (
    *("description", "type", "title", "format"),
    *("maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "multipleOf"),
    *("maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems"),
    *("maxProperties", "minProperties", "enum", "required", "externalDocs", "example"),
    *("x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys"),
    *("x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-preserve-unknown-fields"),
    "x-kubernetes-validations",
)
_OF_VERSION_3 = ("default", "nullable")
_ANY_VALUE = frozenset(("default", "example"))  # false and "" say something there
_EMPTY: tuple[Any, ...] = ("", [], {})


def _keywords(schema: Mapping[str, Any], version: Version) -> JSON:
    names = _KEYWORDS if version == 2 else (*_KEYWORDS, *_OF_VERSION_3)
    return {name: schema[name] for name in names if _says_something(name, schema.get(name))}


def _says_something(name: str, value: Any) -> bool:
    if value is None:
        return False
    return name in _ANY_VALUE or (value is not False and value not in _EMPTY)


def _node(schema: Mapping[str, Any], version: Version, envelope: Mapping[str, JSON]) -> JSON:
    """Return the schema of a value at a place of its own: the root, a field, an item or a map's value."""
    made = _keywords(schema, version)
    hidden = version == 2 and (schema.get("nullable") is True or _preserves(schema))
    fields = {} if hidden else schema.get("properties") or {}
    items = None if hidden else schema.get("items")
    values = schema.get("additionalProperties")
    if fields:
        made["properties"] = {
            name: _node(field, version, envelope) for name, field in fields.items()
        }
    if isinstance(items, dict):
        made["items"] = _node(items, version, envelope)
    if isinstance(values, dict):
        made["additionalProperties"] = _node(values, version, envelope)
    elif values is not None:
        made["additionalProperties"] = values
    if version == 2:
        _weaken(made, schema, fields)
    else:
        made |= _junctors(schema) | _int_or_string(schema)
    if schema.get("x-kubernetes-embedded-resource") and not (version == 2 and _preserves(schema)):
        made["properties"] = made.get("properties", {}) | envelope
        required = made.get("required", [])
        made["required"] = [
            *required,
            *(name for name in ("kind", "apiVersion") if name not in required),
        ]
    return made


def _weaken(made: JSON, schema: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Drop the types and required fields that kubectl would enforce where version 3 allows more."""
    untyped = (
        schema.get("nullable") is True
        or (schema.get("type") == "array" and "items" not in made)
        or (schema.get("type") == "object" and _preserves(schema))
    )
    if untyped:
        made.pop("type", None)
    required = [
        name for name in made.pop("required", ()) if not fields.get(name, {}).get("nullable")
    ]
    values = schema.get("additionalProperties")
    if required and not (isinstance(values, dict) and values.get("nullable")):
        made["required"] = required


def _preserves(schema: Mapping[str, Any]) -> bool:
    return schema.get("x-kubernetes-preserve-unknown-fields") is True


_JUNCTORS = ("allOf", "anyOf", "oneOf")


def _junctors(schema: Mapping[str, Any]) -> JSON:
    made: JSON = {
        name: [_nested(each) for each in schema[name]] for name in _JUNCTORS if schema.get(name)
    }
    if schema.get("not") is not None:
        made["not"] = _nested(schema["not"])
    return made


def _nested(schema: Mapping[str, Any]) -> JSON:
    """Return a schema below a junctor, which restricts a value and does not describe it."""
    made = _keywords(schema, 3) | _junctors(schema)
    if isinstance(items := schema.get("items"), dict):
        made["items"] = _nested(items)
    if fields := schema.get("properties"):
        made["properties"] = {name: _nested(field) for name, field in fields.items()}
    return made


_EITHER = [{"type": "integer"}, {"type": "string"}]


def _int_or_string(schema: Mapping[str, Any]) -> JSON:
    """Return the junctors that spell out int-or-string; none if the schema does so itself."""
    if not schema.get("x-kubernetes-int-or-string"):
        return {}
    any_of, all_of = schema.get("anyOf") or [], schema.get("allOf") or []
    if any_of == _EITHER or (all_of and all_of[0].get("anyOf") == _EITHER):
        return {}
    if not any_of:
        return {"anyOf": list(_EITHER)}
    return {"allOf": [{"anyOf": list(_EITHER)}, *map(_nested, all_of)]}
