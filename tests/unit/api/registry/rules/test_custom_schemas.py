"""Rules of the schemas in custom resource definitions."""

from typing import Any

import pytest
from fakes.rule_samples import lines, root_schema

from kubelite.api.registry.rules.custom_schemas import Strictness, openapi_causes

STRING = {"type": "string"}
A = "s.properties[spec].properties[a]"
LIST_TYPE, LIST_KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
MAP_TYPE, RULES = "x-kubernetes-map-type", "x-kubernetes-validations"
ITEM = {"type": "object", "properties": {"k": STRING}, "required": ["k"]}
KEYED = {"type": "array", LIST_TYPE: "map", LIST_KEYS: ["k"], "items": ITEM}
KEY = "this property is in x-kubernetes-list-map-keys, so it"


def found(schema: dict[str, Any], strictness: Strictness | None = None) -> list[str]:
    return lines(openapi_causes("s", root_schema(schema), strictness or Strictness()))


def rule(**fields: Any) -> dict[str, Any]:
    properties = {"b": STRING, "c": {"type": "object", "additionalProperties": STRING}}
    return {"type": "object", "properties": properties, RULES: [{"rule": "true", **fields}]}


@pytest.mark.parametrize(
    "schema",
    [
        STRING,
        KEYED,
        {"type": "array", LIST_TYPE: "set", "items": STRING},
        {"type": "array", LIST_TYPE: "set", "items": {"type": "object", MAP_TYPE: "atomic"}},
        {"type": "array", LIST_TYPE: "set", "items": {"type": "array", "items": STRING}},
        {"type": "object", "properties": {"b": STRING}, "additionalProperties": True},
        {"type": "object", MAP_TYPE: "granular"},
        rule(fieldPath=".b", reason="FieldValueForbidden"),
        rule(fieldPath=".c['x y']", message="one\n", messageExpression="self.b"),
        rule(rule="a &&\nb", message="both"),
        {**KEYED, "items": {"type": "object", "properties": {"k": {**STRING, "default": ""}}}},
    ],
)
def test_good_schemas_pass(schema: dict[str, Any]) -> None:
    assert found(schema) == []


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        (
            {"type": "text"},
            [
                (
                    '.type: Unsupported value: "text": supported values: "array", "boolean", '
                    '"integer", "number", "object", "string"'
                )
            ],
        ),
        ({"id": "x"}, [".id: Forbidden: id is not supported"]),
        ({"$ref": ""}, [".$ref: Forbidden: $ref is not supported"]),
        (
            {"additionalItems": False},
            [".additionalItems: Forbidden: additionalItems is not supported"],
        ),
        (
            {"definitions": {"x": {"id": "y"}}},
            [
                ".definitions: Forbidden: definitions is not supported",
                ".definitions[x].id: Forbidden: id is not supported",
            ],
        ),
        (
            {"dependencies": {"x": ["a"]}},
            [".dependencies: Forbidden: dependencies is not supported"],
        ),
        (
            {"uniqueItems": True},
            [
                (
                    ".uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime "
                    "complexity becomes quadratic"
                )
            ],
        ),
        (
            {"properties": {"b": STRING}, "additionalProperties": False},
            [
                (
                    ".additionalProperties: Forbidden: additionalProperties and properties are mutual "
                    "exclusive"
                )
            ],
        ),
        (
            {"items": [STRING, {"type": "x"}]},
            [
                ".items: Forbidden: items must be a schema object and not an array",
                (
                    '.items[1].type: Unsupported value: "x": supported values: "array", "boolean", '
                    '"integer", "number", "object", "string"'
                ),
            ],
        ),
        (
            {"not": {"type": "null"}},
            [
                (
                    '.not.type: Unsupported value: "null": supported values: "array", "boolean", '
                    '"integer", "number", "object", "string"'
                ),
                ".not.type: Forbidden: type cannot be set to null, use nullable as an alternative",
            ],
        ),
        (
            {"x-kubernetes-preserve-unknown-fields": False},
            [
                (
                    ".x-kubernetes-preserve-unknown-fields: Invalid value: false: "
                    "must be true or undefined"
                )
            ],
        ),
        (
            {MAP_TYPE: "fluffy"},
            [
                f".type: Required value: must be object if {MAP_TYPE} is specified",
                f'.{MAP_TYPE}: Unsupported value: "fluffy": supported values: "atomic", "granular"',
            ],
        ),
        (
            {"type": "object", LIST_TYPE: "bag", LIST_KEYS: ["k"]},
            [
                f'.type: Invalid value: "object": must be array if {LIST_TYPE} is specified',
                f'.{LIST_TYPE}: Unsupported value: "bag": supported values: "atomic", "set", "map"',
                f'.{LIST_TYPE}: Invalid value: "bag": must be map if {LIST_KEYS} is non-empty',
            ],
        ),
        (
            {LIST_KEYS: ["k"]},
            [f".{LIST_TYPE}: Required value: must be map if {LIST_KEYS} is non-empty"],
        ),
        (
            {"type": "array", LIST_TYPE: "set", "items": {"type": "object"}},
            [
                (
                    f".items.{MAP_TYPE}: Invalid value: null: must be atomic as item of a list with "
                    f"{LIST_TYPE}=set"
                )
            ],
        ),
        (
            {"type": "array", LIST_TYPE: "set", "items": {"type": "array", LIST_TYPE: "set"}},
            [
                (
                    f'.items.{LIST_TYPE}: Invalid value: "set": must be atomic as item of a list with '
                    f"{LIST_TYPE}=set"
                )
            ],
        ),
        (
            {"type": "array", LIST_TYPE: "map"},
            [
                f".{LIST_KEYS}: Required value: must not be empty if {LIST_TYPE} is map",
                f".items: Required value: must have a schema if {LIST_TYPE} is map",
            ],
        ),
        (
            {**KEYED, "items": STRING},
            [
                (
                    f'.items.type: Invalid value: "string": must be object if parent array\'s {LIST_TYPE} '
                    "is map"
                )
            ],
        ),
        (
            {**KEYED, LIST_KEYS: ["k", "k", "z"]},
            [
                f'.{LIST_KEYS}: Invalid value: ["k","k","z"]: must not contain duplicate entries',
                (
                    f'.{LIST_KEYS}: Invalid value: ["k","k","z"]: '
                    "entries must all be names of item properties"
                ),
            ],
        ),
        (
            {**KEYED, "items": {**ITEM, "properties": {"k": {"type": "array"}}}},
            [
                (
                    '.items.properties[k].type: Invalid value: "object": '
                    f"must be a scalar type if parent array's {LIST_TYPE} is map"
                )
            ],
        ),
        (
            {
                **KEYED,
                "items": {
                    "type": "object",
                    "nullable": True,
                    "properties": {"k": {"type": "string", "nullable": True}},
                },
            },
            [
                f".items.nullable: Forbidden: cannot be nullable when {LIST_TYPE} is map",
                (
                    f".items.properties[k].default: Required value: {KEY} must have a default or be a "
                    "required property"
                ),
                f".items.properties[k].nullable: Forbidden: {KEY} cannot be nullable",
            ],
        ),
        (rule(rule=" "), [f".{RULES}[0].rule: Required value: rule is not specified"]),
        (
            rule(message=" "),
            [f'.{RULES}[0].message: Invalid value: " ": must be non-empty if specified'],
        ),
        (
            rule(message="a\nb"),
            [f'.{RULES}[0].message: Invalid value: "a\\nb": must not contain line breaks'],
        ),
        (
            rule(rule="a\nb"),
            [
                (
                    f".{RULES}[0].message: Required value: "
                    "message must be specified if rule contains line breaks"
                )
            ],
        ),
        (
            rule(messageExpression=" "),
            [
                (
                    f".{RULES}[0].messageExpression: Required value: "
                    "messageExpression must be non-empty if specified"
                )
            ],
        ),
        (
            rule(reason="Because"),
            [
                (
                    f'.{RULES}[0].reason: Unsupported value: "Because": supported values: '
                    '"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", '
                    '"FieldValueRequired"'
                )
            ],
        ),
        (
            rule(fieldPath=" \n"),
            [
                f'.{RULES}[0].fieldPath: Invalid value: " \\n": must be non-empty if specified',
                f'.{RULES}[0].fieldPath: Invalid value: " \\n": must not contain line breaks',
                f'.{RULES}[0].fieldPath: Invalid value: " \\n": must be a valid path',
            ],
        ),
        (
            rule(fieldPath=".z"),
            [f'.{RULES}[0].fieldPath: Invalid value: ".z": must be a valid path'],
        ),
    ],
)
def test_wrong_schemas_are_named(schema: dict[str, Any], wrong: list[str]) -> None:
    assert found(schema) == [A + line for line in wrong]


@pytest.mark.parametrize("name", ["metadata", "kind", "apiVersion"])
def test_an_objects_own_fields_have_no_default(name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string", "default": "x"}}}
    at = f"s.properties[{name}]"
    assert lines(openapi_causes("s", schema, Strictness())) == [
        f"{at}.default: Forbidden: must not be set in top-level {name}"
    ]


def test_metadata_of_embedded_resources_may_have_defaults_but_not_in_maps() -> None:
    labels = {"type": "object", "additionalProperties": {"type": "string", "default": "x"}}
    metadata = {
        "type": "object",
        "properties": {"name": {"type": "string", "default": "x"}, "labels": labels},
    }
    schema = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {"metadata": metadata},
    }
    at = f"{A}.properties[metadata]"
    assert found(schema) == [
        (
            f"{at}.properties[labels].additionalProperties.default: Forbidden: must not be set inside "
            "additionalProperties applying to object metadata"
        )
    ]


def test_metadata_embeds_nothing() -> None:
    metadata = {"type": "object", "x-kubernetes-embedded-resource": True}
    schema = {"type": "object", "properties": {"metadata": metadata}}
    assert lines(openapi_causes("s", schema, Strictness())) == [
        (
            "s.properties[metadata].x-kubernetes-embedded-resource: Forbidden: "
            "must not be used inside of resource meta"
        )
    ]


@pytest.mark.parametrize(
    ("schema", "strictness"),
    [
        ({"type": "text"}, Strictness(types=False)),
        (
            {"type": "array", LIST_TYPE: "set", "items": {"type": "object"}},
            Strictness(atomic_sets=False),
        ),
        (
            {"type": "array", LIST_TYPE: "set", "items": {"type": "string", "nullable": True}},
            Strictness(list_keys=False),
        ),
    ],
)
def test_what_was_wrong_before_may_stay(schema: dict[str, Any], strictness: Strictness) -> None:
    assert found(schema)
    assert found(schema, strictness) == []


def test_paths_are_not_resolved_in_what_has_no_structural_form() -> None:
    schema = root_schema(rule(fieldPath=".z"))
    assert openapi_causes("s", schema, Strictness(), checks_paths=False) == []


def test_the_deepest_document_is_walked() -> None:
    schema: dict[str, Any] = {"id": "x"}
    for _ in range(250):
        schema = {"not": schema}
    assert len(found(schema)) == 1
