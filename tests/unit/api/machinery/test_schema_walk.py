"""Walks over the schemas of custom resources."""

from typing import Any

import pytest

from kubelite.api.machinery.schema_walk import (
    conversion_error,
    has_defaults,
    has_extensions,
    nested_schemas,
    version_schemas,
)

NESTED: dict[str, Any] = {
    "description": "root",
    "properties": {"a": {"description": "property"}},
    "patternProperties": {"x": {"description": "pattern"}},
    "definitions": {"d": {"description": "definition"}},
    "dependencies": {"e": {"description": "dependency"}, "f": ["a"]},
    "items": [{"description": "item"}],
    "additionalProperties": {"description": "additional"},
    "additionalItems": {"items": {"description": "inner item"}, "description": "additional item"},
    "not": {"description": "not"},
    "allOf": [{"description": "all"}],
    "anyOf": [{"description": "any"}],
    "oneOf": [{"description": "one"}],
    "default": {"properties": {"no": {"description": "no schema"}}},
}


def test_every_nested_schema_is_visited_once() -> None:
    assert sorted(each["description"] for each in nested_schemas(NESTED)) == [
        "additional",
        "additional item",
        "all",
        "any",
        "definition",
        "dependency",
        "inner item",
        "item",
        "not",
        "one",
        "pattern",
        "property",
        "root",
    ]


def test_booleans_in_place_of_schemas_are_none() -> None:
    assert len(list(nested_schemas({"additionalProperties": True, "additionalItems": False}))) == 1


def test_versions_without_a_schema_are_left_out() -> None:
    versions = [{"name": "v1"}, {"schema": {"openAPIV3Schema": {}}}, {"schema": {}}]
    assert list(version_schemas({"spec": {"versions": versions}})) == [(1, {})]
    assert list(version_schemas({})) == []


def test_defaults_and_extensions_are_found_below() -> None:
    plain = {"properties": {"a": {"items": {"type": "string", "x-kubernetes-map-type": "atomic"}}}}
    assert not has_defaults(plain)
    assert not has_extensions(plain)
    assert has_defaults({"properties": {"a": {"items": {"default": 0}}}})
    assert has_extensions({"not": {"x-kubernetes-int-or-string": True}})


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        ({"type": "object", "items": {"type": "string"}}, ""),
        ({"properties": {"a": {"id": "x"}}}, "OpenAPIV3Schema 'id' is not supported"),
        ({"$schema": "x"}, "OpenAPIV3Schema 'schema' is not supported"),
        ({"additionalItems": False}, "OpenAPIV3Schema 'additionalItems' is not supported"),
        ({"items": [{}]}, "OpenAPIV3Schema 'items' must be a schema, but is an array"),
        (
            {"x-kubernetes-preserve-unknown-fields": False},
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined",
        ),
    ],
)
def test_what_has_no_structural_form(schema: dict[str, Any], error: str) -> None:
    assert conversion_error(schema) == error
