"""What makes the schema of a custom resource structural."""

from typing import Any

import pytest
from fakes.rule_samples import lines, root_schema

from kubelite.api.machinery.causes import TooManyCauses
from kubelite.api.machinery.structural_schemas import structural_causes
from kubelite.limits import CAUSES

STRING = {"type": "string"}
A = "s.properties[spec].properties[a]"
EMBEDDED = "x-kubernetes-embedded-resource"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
EITHER = [{"type": "integer"}, {"type": "string"}]
NO_PROPERTIES = (
    f"{A}.properties: Required value: must not be empty if x-kubernetes-embedded-resource is true "
    "without x-kubernetes-preserve-unknown-fields"
)


def found(schema: dict[str, Any]) -> list[str]:
    return lines(structural_causes("s", schema))


@pytest.mark.parametrize(
    "schema",
    [
        STRING,
        {PRESERVE: True},
        {INT_OR_STRING: True},
        {INT_OR_STRING: True, "anyOf": EITHER},
        {INT_OR_STRING: True, "allOf": [{"anyOf": EITHER}, {"maximum": 3}]},
        {"type": "array", "items": STRING},
        {"type": "object", "additionalProperties": STRING},
        {"type": "object", "additionalProperties": False},
        {"type": "object", PRESERVE: True, EMBEDDED: True},
        {"type": "string", "anyOf": [{"maxLength": 3}, {"enum": ["a"]}]},
        {"type": "object", "allOf": [{"properties": {"not-outside": {"maxLength": 1}}}]},
        {
            "type": "object",
            "properties": {"metadata": {"type": "object", "properties": {"x": STRING}}},
        },
    ],
)
def test_structural_ones_pass(schema: dict[str, Any]) -> None:
    assert found(root_schema(schema)) == []


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({}, [f"{A}.type: Required value: must not be empty for specified object fields"]),
        ({"type": "array"}, [f"{A}.items: Required value: must be specified"]),
        (
            {"type": "array", "items": {}},
            [f"{A}.items.type: Required value: must not be empty for specified array items"],
        ),
        (
            {"type": "object", "additionalProperties": {}},
            [
                (
                    f"{A}.additionalProperties.type: Required value: "
                    "must not be empty for specified object fields"
                )
            ],
        ),
        (
            {"type": "string", "pattern": "["},
            [
                (
                    f'{A}.pattern: Invalid value: "[": must be a valid regular expression, but isn\'t: '
                    "error parsing regexp: missing closing ]: `[`"
                )
            ],
        ),
        (
            {"type": "string", "not": {"pattern": "^(?=a)"}},
            [
                (
                    f'{A}.not.pattern: Invalid value: "^(?=a)": must be a valid regular expression, but '
                    "isn't: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"
                )
            ],
        ),
        (
            {PRESERVE: True, INT_OR_STRING: True},
            [f"{A}.{PRESERVE}: Invalid value: true: must be false if {INT_OR_STRING} is true"],
        ),
        (
            {EMBEDDED: True, INT_OR_STRING: True},
            [
                NO_PROPERTIES,
                f"{A}.type: Required value: must be object if {EMBEDDED} is true",
                f"{A}.{EMBEDDED}: Invalid value: true: must be false if {INT_OR_STRING} is true",
            ],
        ),
        (
            {"type": "object", EMBEDDED: True, "additionalProperties": STRING},
            [
                f"{A}.additionalProperties: Forbidden: must not be used if {EMBEDDED} is set",
                NO_PROPERTIES,
            ],
        ),
        (
            {"type": "string", EMBEDDED: True, PRESERVE: True},
            [f'{A}.type: Invalid value: "string": must be object if {EMBEDDED} is true'],
        ),
        (
            {"type": "object", EMBEDDED: True, "properties": {"metadata": STRING, "kind": STRING}},
            [f'{A}.properties[metadata].type: Invalid value: "string": must be object'],
        ),
        (
            {"type": "string", "anyOf": [{"type": "string"}]},
            [f"{A}.anyOf[0].type: Forbidden: must be empty to be structural"],
        ),
        (
            {"type": "string", "anyOf": [{"type": "string"}, {"type": "integer"}]},
            [
                f"{A}.anyOf[0].type: Forbidden: must be empty to be structural",
                f"{A}.anyOf[1].type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            {INT_OR_STRING: True, "allOf": [{"maximum": 3}, {"anyOf": EITHER}]},
            [
                f"{A}.allOf[1].anyOf[0].type: Forbidden: must be empty to be structural",
                f"{A}.allOf[1].anyOf[1].type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            {"type": "object", "not": {"properties": {"b": {"default": 1, "nullable": True}}}},
            [
                f"{A}.not.properties[b].default: Forbidden: must be undefined to be structural",
                f"{A}.not.properties[b].nullable: Forbidden: must be false to be structural",
            ],
        ),
        (
            {"type": "object", "oneOf": [{"additionalProperties": {}, "description": "x"}]},
            [
                f"{A}.oneOf[0].additionalProperties: Forbidden: must be undefined to be structural",
                f"{A}.oneOf[0].description: Forbidden: must be empty to be structural",
            ],
        ),
        (
            {"type": "array", "items": STRING, "not": {"items": {"x-kubernetes-list-type": "set"}}},
            [
                (
                    f"{A}.not.items.x-kubernetes-list-type: Forbidden: "
                    "must be undefined to be structural"
                )
            ],
        ),
        (
            {"type": "string", "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]},
            [f"{A}.allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"],
        ),
        (
            {"type": "object", "anyOf": [{"properties": {"metadata": {}}}]},
            [
                (
                    f"{A}.anyOf[0].properties[metadata]: Forbidden: "
                    "must not be specified in a nested context"
                )
            ],
        ),
    ],
)
def test_what_is_not_structural_is_named(schema: dict[str, Any], wrong: list[str]) -> None:
    assert found(root_schema(schema)) == wrong


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        ({}, ["s.type: Required value: must not be empty at the root"]),
        (
            {"type": "array", "items": STRING},
            ['s.type: Invalid value: "array": must be object at the root'],
        ),
        (
            {"type": "object", "additionalProperties": STRING},
            ["s.additionalProperties: Forbidden: must not be used at the root"],
        ),
        (
            {"type": "object", "properties": {"kind": {"type": "integer"}}},
            ['s.properties[kind].type: Invalid value: "integer": must be string'],
        ),
        (
            {
                "type": "object",
                "properties": {"metadata": {"type": "object", "required": ["name"]}},
            },
            [
                (
                    "s.properties[metadata]: Forbidden: must not specify anything other than name and "
                    "generateName, but metadata is implicitly specified"
                )
            ],
        ),
    ],
)
def test_the_root_is_an_api_object(schema: dict[str, Any], wrong: list[str]) -> None:
    assert found(schema) == wrong


@pytest.mark.parametrize("fields", [("name",), ("generateName",), ("name", "generateName"), ()])
def test_names_may_be_restricted(fields: tuple[str, ...]) -> None:
    names = {name: {"type": "string", "maxLength": 5} for name in fields}
    metadata = {"type": "object", "default": {}, "properties": names}
    assert found({"type": "object", "properties": {"metadata": metadata}}) == []


def test_causes_end_at_their_bound() -> None:
    fields: dict[str, Any] = {f"f{index}": {} for index in range(CAUSES.value + 1)}
    with pytest.raises(TooManyCauses):
        structural_causes("s", {"type": "object", "properties": fields})


def test_the_deepest_document_is_walked() -> None:
    schema: dict[str, Any] = {}
    for _ in range(250):
        schema = {"not": schema}
    assert found({"type": "object", **schema}) == []
