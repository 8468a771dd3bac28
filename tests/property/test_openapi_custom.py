"""The OpenAPI types of custom resources, for any structural schema."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.openapi_custom import CustomType, object_definition
from kubelite.api.machinery.openapi_proto import encode_definition

KIND = GroupVersionKind("example.com", "v1", "Cat")
ENVELOPE: dict[str, Any] = {"apiVersion": {}, "kind": {}, "metadata": {"$ref": "#/meta"}}
UNSPEAKABLE = {"default", "nullable", "allOf", "anyOf", "oneOf", "not", "$ref", "definitions"}
NAMES = st.sampled_from(["a", "b", "items", "properties", "default", "metadata"])
FLAGS = st.sampled_from([True, False, None])


def marks() -> st.SearchStrategy[dict[str, Any]]:
    """Return keywords that stand beside any others."""
    restrictions = st.lists(st.fixed_dictionaries({"minimum": st.integers(0, 9)}), max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "description": st.text(max_size=5),
            "default": st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
            "nullable": FLAGS,
            "required": st.lists(NAMES, max_size=3, unique=True),
            "enum": st.lists(st.none() | st.integers(-3, 3), max_size=3),
            "maxLength": st.integers(0, 1 << 40),
            "minimum": st.floats(allow_nan=False, allow_infinity=False),
            "x-kubernetes-preserve-unknown-fields": FLAGS,
            "x-kubernetes-embedded-resource": FLAGS,
            "x-kubernetes-int-or-string": FLAGS,
            "anyOf": restrictions,
            "allOf": restrictions,
            "not": restrictions.map(lambda several: several[0] if several else None),
            "$ref": st.just("#/definitions/x"),
            "definitions": st.just({}),
        },
    )


def merged(marks: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    return {name: value for each in (marks, *others) for name, value in each.items()}


SCHEMAS = st.recursive(
    st.builds(merged, marks(), st.just({"type": "string"})),
    lambda below: st.one_of(
        st.builds(
            lambda own, fields: merged(own, {"type": "object", "properties": fields}),
            marks(),
            st.dictionaries(NAMES, below, max_size=3),
        ),
        st.builds(
            lambda own, values: merged(own, {"type": "object", "additionalProperties": values}),
            marks(),
            below | st.booleans(),
        ),
        st.builds(
            lambda own, items: merged(own, {"type": "array", "items": items}), marks(), below
        ),
    ),
    max_leaves=12,
)


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and those of fields, items and values below it."""
    if isinstance(schema, dict):
        yield schema
        for field in schema.get("properties", {}).values():
            yield from nodes(field)
        yield from nodes(schema.get("items"))
        yield from nodes(schema.get("additionalProperties"))


@given(SCHEMAS)
def test_version_2_says_only_what_kubectl_understands(schema: dict[str, Any]) -> None:
    before = deepcopy(schema)
    made = object_definition(CustomType(kind=KIND, list_kind="", source=schema), 2, ENVELOPE)
    assert schema == before
    for node in nodes({**made, "properties": made.get("properties", {})}):
        if node in ENVELOPE.values():
            continue
        assert not UNSPEAKABLE & node.keys()
        if node.get("type") == "array":
            assert "items" in node
        if node.get("x-kubernetes-preserve-unknown-fields"):
            assert "properties" not in node
        for name in set(node.get("required", ())) - {"kind", "apiVersion"}:
            assert name in required_anywhere(schema), "nothing is required that was not"
    assert encode_definition("it", made)
    assert msgspec.json.decode(msgspec.json.encode(made)) == made


def required_anywhere(schema: dict[str, Any]) -> set[str]:
    """Return the names that a node of a schema requires."""
    return {name for node in nodes(schema) for name in node.get("required") or ()}


@given(SCHEMAS)
def test_version_3_changes_no_value_and_drops_no_node(schema: dict[str, Any]) -> None:
    root = {"type": "object", "properties": {"spec": schema}}
    made = object_definition(CustomType(kind=KIND, list_kind="", source=root), 3, ENVELOPE)
    for before, after in pairs(schema, made["properties"]["spec"]):
        assert "$ref" not in after
        for name in ("type", "description", "default", "nullable", "enum", "maxLength", "minimum"):
            if after.get(name) is not None:
                assert after[name] == before[name]
            else:
                assert not before.get(name)
        assert set(before.get("required") or ()) <= set(after.get("required", ()))


def pairs(schema: Any, made: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the nodes of a schema with what they became; an embedded object has envelope fields of its own."""
    if isinstance(schema, dict):
        yield schema, made
        embedded = schema.get("x-kubernetes-embedded-resource")
        for name, field in schema.get("properties", {}).items():
            if not (embedded and name in ENVELOPE):
                yield from pairs(field, made["properties"][name])
        yield from pairs(schema.get("items"), made.get("items"))
        yield from pairs(schema.get("additionalProperties"), made.get("additionalProperties"))
