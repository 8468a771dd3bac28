"""Documents of custom resources, compared with what apiextensions-apiserver makes of the same schemas."""

from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.openapi_custom import (
    CustomType,
    Version,
    definition_name,
    list_definition,
    object_definition,
)
from kubelite.api.machinery.openapi_proto import encode_definition
from kubelite.limits import DOCUMENT_DEPTH

ENVELOPE: dict[str, dict[str, Any]] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"$ref": "#/meta"},
}
KIND = GroupVersionKind("bar.example.com", "v1", "Foo")
MARK = [{"group": "bar.example.com", "version": "v1", "kind": "Foo"}]


def custom(schema: dict[str, Any] | None, **more: Any) -> CustomType:
    return CustomType(kind=KIND, list_kind="FooCollection", source=schema, **more)


def field(schema: dict[str, Any], version: Version) -> Any:
    """Return what a document says about a field with a schema."""
    root = custom({"type": "object", "properties": {"it": schema}})
    return object_definition(root, version, ENVELOPE)["properties"]["it"]


def test_definitions_are_named_by_the_group_reversed() -> None:
    assert definition_name("bar.example.com", "v1", "Foo") == "com.example.bar.v1.Foo"
    assert custom(None).list_definition == "com.example.bar.v1.FooCollection"


@pytest.mark.parametrize("version", [2, 3])
def test_a_definition_has_the_fields_of_every_object_and_its_kind(version: Version) -> None:
    schema = {"type": "object", "properties": {"metadata": {"type": "object"}, "spec": {}}}
    assert object_definition(custom(schema), version, ENVELOPE) == {
        "type": "object",
        "properties": {**ENVELOPE, "spec": {}},
        "x-kubernetes-group-version-kind": MARK,
    }
    bare = {"type": "object", "x-kubernetes-group-version-kind": MARK}
    assert object_definition(custom(None), version, ENVELOPE) == bare


def test_a_root_that_keeps_unknown_fields_shows_none_in_version_2() -> None:
    bare = {"type": "object", "x-kubernetes-group-version-kind": MARK}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert object_definition(custom(schema), 2, ENVELOPE) == bare
    whole = custom({"type": "object"}, preserve_unknown=True)
    assert object_definition(whole, 2, ENVELOPE) == bare
    assert object_definition(custom(schema), 3, ENVELOPE) == {
        **schema,
        "properties": ENVELOPE,
        "x-kubernetes-group-version-kind": MARK,
    }


def test_lists_and_selectable_fields() -> None:
    type_ = custom(None, selectable_fields=("spec.color", "spec.size"))
    selectable = [{"fieldPath": "spec.color"}, {"fieldPath": "spec.size"}]
    made = object_definition(type_, 3, ENVELOPE)
    assert made["x-kubernetes-selectable-fields"] == selectable
    listed = list_definition(type_, {"type": "array"}, ENVELOPE)
    assert listed["required"] == ["items"]
    assert listed["properties"] == {**ENVELOPE, "items": {"type": "array"}}
    assert listed["x-kubernetes-selectable-fields"] == selectable
    assert listed["x-kubernetes-group-version-kind"] == [{**MARK[0], "kind": "FooCollection"}]


STRING = {"type": "string"}
EITHER = [{"type": "integer"}, {"type": "string"}]
INT_OR_STRING = {"x-kubernetes-int-or-string": True}
PRESERVE = {"x-kubernetes-preserve-unknown-fields": True}
EMBEDDED = {"x-kubernetes-embedded-resource": True}
KEPT = {
    "description": "What it is.",
    "type": "string",
    "title": "It",
    "format": "date",
    "maxLength": 0,
    "minLength": 1,
    "pattern": "^x",
    "enum": ["", None],
    "externalDocs": {"url": "https://example.com"},
    "example": False,
    "x-kubernetes-validations": [{"rule": "self != ''"}],
}
NUMBERS = {
    "type": "number",
    "maximum": 0,
    "exclusiveMaximum": True,
    "minimum": -1.5,
    "exclusiveMinimum": True,
    "multipleOf": 0.5,
}
LIST = {
    "type": "array",
    "items": {"type": "object", "required": ["k"], "properties": {"k": STRING}},
    "maxItems": 3,
    "minItems": 0,
    "uniqueItems": True,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
}
MAP = {
    "type": "object",
    "additionalProperties": {"type": "integer"},
    "maxProperties": 3,
    "minProperties": 1,
    "x-kubernetes-map-type": "atomic",
}


@pytest.mark.parametrize(
    ("schema", "in_version_3", "in_version_2"),
    [
        pytest.param(KEPT, KEPT, KEPT, id="what both say"),
        pytest.param(NUMBERS, NUMBERS, NUMBERS, id="numbers, zeros too"),
        pytest.param(LIST, LIST, LIST, id="lists"),
        pytest.param(MAP, MAP, MAP, id="maps"),
        pytest.param(
            {**MAP, "additionalProperties": True}, {**MAP, "additionalProperties": True},
            {**MAP, "additionalProperties": True}, id="maps of anything",
        ),
        pytest.param(
            {"type": "object", "description": "", "nullable": False, "required": [], "enum": []},
            {"type": "object"}, {"type": "object"}, id="what says nothing",
        ),
        pytest.param(
            {**STRING, "$ref": "#/x", "definitions": {"a": {}}, "patternProperties": {"a": {}}},
            STRING, STRING, id="what no structural schema may say",
        ),
        pytest.param(
            {**STRING, "default": ""}, {**STRING, "default": ""}, STRING, id="defaults",
        ),
        pytest.param(
            {**STRING, "maxLength": 2, "nullable": True},
            {**STRING, "maxLength": 2, "nullable": True}, {"maxLength": 2}, id="nullable",
        ),
        pytest.param(
            {"type": "array", "items": STRING, "nullable": True},
            {"type": "array", "items": STRING, "nullable": True}, {}, id="nullable list",
        ),
        pytest.param(
            {
                "type": "object",
                "required": ["a", "c"],
                "properties": {"a": {**STRING, "nullable": True}, "c": STRING},
            },
            {
                "type": "object",
                "required": ["a", "c"],
                "properties": {"a": {**STRING, "nullable": True}, "c": STRING},
            },
            {"type": "object", "required": ["c"], "properties": {"a": {}, "c": STRING}},
            id="nullable fields are not required",
        ),
        pytest.param(
            {
                "type": "object",
                "required": ["a"],
                "additionalProperties": {**STRING, "nullable": True},
            },
            {
                "type": "object",
                "required": ["a"],
                "additionalProperties": {**STRING, "nullable": True},
            },
            {"type": "object", "additionalProperties": {}},
            id="nullable values are not required",
        ),
        pytest.param(
            {"type": "object", **PRESERVE, "properties": {"a": STRING}},
            {"type": "object", **PRESERVE, "properties": {"a": STRING}}, PRESERVE,
            id="objects that keep unknown fields",
        ),
        pytest.param(
            {"type": "array", **PRESERVE, "items": STRING},
            {"type": "array", **PRESERVE, "items": STRING}, PRESERVE,
            id="lists of anything",
        ),
        pytest.param({"type": "array"}, {"type": "array"}, {}, id="a list without items"),
        pytest.param(
            {**STRING, "oneOf": [{"pattern": "a"}], "anyOf": [{"enum": ["b"]}], "not": {"enum": ["c"]}},
            {**STRING, "oneOf": [{"pattern": "a"}], "anyOf": [{"enum": ["b"]}], "not": {"enum": ["c"]}},
            STRING, id="junctors",
        ),
        pytest.param(
            {"type": "object", "allOf": [{"properties": {"a": {"items": {"not": {"minimum": 1}}}}}]},
            {"type": "object", "allOf": [{"properties": {"a": {"items": {"not": {"minimum": 1}}}}}]},
            {"type": "object"}, id="junctors within",
        ),
        pytest.param(
            INT_OR_STRING, {**INT_OR_STRING, "anyOf": EITHER}, INT_OR_STRING, id="int-or-string",
        ),
        pytest.param(
            {**INT_OR_STRING, "anyOf": EITHER, "allOf": [{"pattern": "x"}]},
            {**INT_OR_STRING, "anyOf": EITHER, "allOf": [{"pattern": "x"}]}, INT_OR_STRING,
            id="int-or-string, spelt out",
        ),
        pytest.param(
            {**INT_OR_STRING, "allOf": [{"anyOf": EITHER}, {"minimum": 1}]},
            {**INT_OR_STRING, "allOf": [{"anyOf": EITHER}, {"minimum": 1}]}, INT_OR_STRING,
            id="int-or-string, spelt out in allOf",
        ),
        pytest.param(
            {**INT_OR_STRING, "anyOf": [{"minimum": 1}], "allOf": [{"maximum": 2}]},
            {
                **INT_OR_STRING,
                "anyOf": [{"minimum": 1}],
                "allOf": [{"anyOf": EITHER}, {"maximum": 2}],
            },
            INT_OR_STRING, id="int-or-string with an anyOf of its own",
        ),
        pytest.param(
            {"type": "object", **EMBEDDED, "required": ["kind"], "properties": {"spec": {}}},
            {
                "type": "object", **EMBEDDED, "required": ["kind", "apiVersion"],
                "properties": {"spec": {}, **ENVELOPE},
            },
            {
                "type": "object", **EMBEDDED, "required": ["kind", "apiVersion"],
                "properties": {"spec": {}, **ENVELOPE},
            },
            id="embedded objects",
        ),
        pytest.param(
            {"type": "array", "items": {"type": "object", **EMBEDDED, **PRESERVE}},
            {
                "type": "array",
                "items": {
                    "type": "object", **EMBEDDED, **PRESERVE,
                    "required": ["kind", "apiVersion"], "properties": ENVELOPE,
                },
            },
            {"type": "array", "items": {**EMBEDDED, **PRESERVE}},
            id="embedded objects of any kind",
        ),
    ],
)  # fmt: skip
def test_schemas(schema: dict[str, Any], in_version_3: Any, in_version_2: Any) -> None:
    before = repr(schema)
    assert field(schema, 3) == in_version_3
    assert field(schema, 2) == in_version_2
    assert repr(schema) == before, "schemas are shared"


@pytest.mark.parametrize(
    ("deeper", "levels"),
    [("items", 1), ("additionalProperties", 1), ("not", 1), ("properties", 2), ("allOf", 2)],
)
def test_schemas_may_be_as_deep_as_documents(deeper: str, levels: int) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(DOCUMENT_DEPTH.value // levels):
        below = {"properties": {"a": schema}, "allOf": [schema]}.get(deeper, schema)
        schema = {"type": "object", deeper: below}
    assert field(schema, 3)
    old = field(schema, 2)
    assert encode_definition("it", old)
    assert msgspec.json.encode(old)


def test_the_digest_covers_all_that_is_shown() -> None:
    types = [
        custom(None),
        custom({"type": "object"}),
        custom({"type": "object"}, preserve_unknown=True),
        custom({"type": "object"}, selectable_fields=("spec.color",)),
        CustomType(kind=KIND, list_kind="FooList", source={"type": "object"}),
        CustomType(kind=KIND._replace(version="v2"), list_kind="FooList", source=None),
    ]
    assert len({type_.encoded.digest for type_ in types}) == len(types)
    assert custom({"type": "object"}).encoded == types[1].encoded
    assert types[1].bare.schema is None
