"""Rules of the defaults of custom resources."""

from typing import Any

import pytest
from fakes.rule_samples import lines, root_schema

from kubelite.api.machinery.causes import TooManyCauses
from kubelite.api.registry.rules.schema_defaults import default_causes
from kubelite.limits import ALTERNATIVES

STRING = {"type": "string"}
EMBEDDED, PRESERVE = "x-kubernetes-embedded-resource", "x-kubernetes-preserve-unknown-fields"
A = "s.properties[spec].properties[a]"
RESOURCE = {"type": "object", EMBEDDED: True, PRESERVE: True}


def found(field: dict[str, Any]) -> list[str]:
    return lines(default_causes("s", root_schema(field)))


@pytest.mark.parametrize(
    "field",
    [
        STRING,
        {**STRING, "default": "x"},
        {"type": "integer", "default": 0},
        {"type": "object", "properties": {"b": STRING}, "default": {"b": "x"}},
        {"type": "object", "additionalProperties": STRING, "default": {"any": "x"}},
        {"type": "object", PRESERVE: True, "default": {"any": 1}},
        {"type": "array", "items": STRING, "x-kubernetes-list-type": "set", "default": ["a", "a"]},
        {"x-kubernetes-int-or-string": True, "default": "25%"},
        # Kubernetes does not check it of defaults.
        {"x-kubernetes-int-or-string": True, "default": True},
        {**RESOURCE, "default": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}},
        {"type": "object", "additionalProperties": {"type": "integer", "default": "unseen"}},
        {"type": "string", "pattern": "^a", "anyOf": [{"maxLength": 2}], "default": "ab"},
    ],
)
def test_valid_defaults_pass(field: dict[str, Any]) -> None:
    assert found(field) == []


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        (
            {"type": "string", "default": 1},
            [': Invalid value: "integer":  in body must be of type string: "integer"'],
        ),
        (
            {"type": "string", "default": {"x": 1}},
            [
                ': Invalid value: {"x":1}: must not have unknown fields',
                ': Invalid value: "object":  in body must be of type string: "object"',
            ],
        ),
        (
            {"type": "string", "enum": ["a"], "default": "b"},
            [': Unsupported value: "b": supported values: "a"'],
        ),
        (
            {"type": "integer", "minimum": 3, "default": 2},
            [": Invalid value: 2:  in body should be greater than or equal to 3"],
        ),
        (
            {"type": "string", "pattern": "^a", "default": "b"},
            [": Invalid value: \"b\":  in body should match '^a'"],
        ),
        (
            {"type": "object", "properties": {"b": STRING}, "required": ["b"], "default": {}},
            [".b: Required value"],
        ),
        (
            {"type": "array", "items": {"type": "integer"}, "default": ["x"]},
            ['.[0]: Invalid value: "string": [0] in body must be of type integer: "string"'],
        ),
        ({**RESOURCE, "default": {}}, [".apiVersion: Required value", ".kind: Required value"]),
        (
            {**RESOURCE, "default": {"apiVersion": "v1", "kind": "A", "metadata": {"labels": 1}}},
            [
                (
                    '.metadata: Invalid value: {"labels":1}: json: cannot unmarshal number into Go struct '
                    "field ObjectMeta.labels of type map[string]string"
                )
            ],
        ),
        (
            {
                **RESOURCE,
                "default": {"apiVersion": "v1", "kind": "A", "metadata": {"labels": {"_": "a"}}},
            },
            [
                (
                    '.metadata.labels: Invalid value: "_": name part must consist of alphanumeric '
                    "characters, '-', '_' or '.', and must start and end with an alphanumeric character "
                    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
                )
            ],
        ),
    ],
)
def test_wrong_defaults_are_named(field: dict[str, Any], wrong: list[str]) -> None:
    assert found(field) == [f"{A}.default{line}" for line in wrong]


def test_defaults_of_items_are_checked() -> None:
    items = {"type": "object", "properties": {"b": {"type": "string", "default": 1}}}
    (line,) = found({"type": "array", "items": items})
    assert line.startswith(f"{A}.items.properties[b].default: ")


def test_unknown_fields_may_be_excused() -> None:
    schema = root_schema({"type": "object", "default": {"x": 1}})
    assert len(default_causes("s", schema)) == 1
    assert default_causes("s", schema, pruned=False) == []


def test_the_root_is_a_resource() -> None:
    assert lines(default_causes("s", {"type": "object", "default": {}})) == [
        "s.default.apiVersion: Required value",
        "s.default.kind: Required value",
    ]


@pytest.mark.parametrize(
    ("metadata", "wrong"),
    [
        ({"type": "object", "properties": {"name": {**STRING, "default": "x"}}}, []),
        (
            {"type": "object", "properties": {"name": {**STRING, "default": "a/b"}}},
            [
                (
                    '.properties[name].default: Invalid value: "a/b": must result in valid metadata: '
                    "metadata.name: Invalid value: \"a/b\": may not contain '/'"
                )
            ],
        ),
        (
            {"type": "object", "default": {"labels": "no"}},
            [
                (
                    '.default: Invalid value: {"labels":"no"}: must result in valid metadata: metadata: '
                    'Invalid value: {"labels":"no"}: json: cannot unmarshal string into Go struct field '
                    "ObjectMeta.labels of type map[string]string"
                )
            ],
        ),
        (
            {
                "type": "object",
                "properties": {
                    "finalizers": {"type": "array", "items": {"type": "string", "default": 1}}
                },
            },
            [
                (
                    ".properties[finalizers].items.default: Invalid value: 1: must result in valid "
                    'metadata: metadata: Invalid value: {"finalizers":[1]}: json: cannot unmarshal number '
                    "into Go struct field ObjectMeta.finalizers of type string"
                )
            ],
        ),
    ],
)
def test_defaults_within_metadata_make_a_valid_object(
    metadata: dict[str, Any], wrong: list[str]
) -> None:
    field = {"type": "object", EMBEDDED: True, "properties": {"metadata": metadata}}
    assert found(field) == [f"{A}.properties[metadata]{line}" for line in wrong]


def test_a_large_default_is_not_held_against_many_alternatives() -> None:
    alternatives = [{"required": [f"z{index}"]} for index in range(2000)]
    value = {f"k{index}": 1 for index in range(2000)}
    field = {"type": "object", PRESERVE: True, "anyOf": alternatives, "default": value}
    assert len(alternatives) * len(value) > ALTERNATIVES.value
    (line,) = found(field)
    assert "some validation rules were not checked" in line


def test_causes_end_at_their_bound() -> None:
    fields = {f"f{index}": {"type": "string", "default": 1} for index in range(1000)}
    with pytest.raises(TooManyCauses):
        found({"type": "object", "properties": fields})


def test_the_schema_is_not_changed() -> None:
    schema = root_schema({"x-kubernetes-int-or-string": True, "default": {"a": 1}})
    before = repr(schema)
    default_causes("s", schema)
    assert repr(schema) == before
