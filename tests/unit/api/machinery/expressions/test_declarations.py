"""What schemas declare to expressions."""

from typing import Any

import pytest

from kubelite.api.machinery.expressions.declarations import (
    REQUEST_BYTES,
    Declarations,
    Declared,
    Structs,
    sizes_in,
)
from kubelite.cel.declarations import Range
from kubelite.cel.types import DYN

JSON = dict[str, Any]
TEXT = {"type": "string"}


def declared(node: JSON, *, is_resource: bool = False) -> Declared:
    found = Declarations().of(node, is_resource=is_resource)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("node", "type_"),
    [
        ({"type": "integer"}, "int"),
        ({"type": "number"}, "double"),
        ({"type": "boolean"}, "bool"),
        (TEXT, "string"),
        ({**TEXT, "format": "date-time"}, "timestamp"),
        ({**TEXT, "format": "date"}, "timestamp"),
        ({**TEXT, "format": "duration"}, "duration"),
        ({**TEXT, "format": "byte"}, "bytes"),
        ({**TEXT, "format": "uuid"}, "string"),
        ({"x-kubernetes-int-or-string": True}, "dyn"),
        ({"type": "array", "items": TEXT}, "list(string)"),
        ({"type": "object", "additionalProperties": TEXT}, "map(string, string)"),
        ({"type": "object", "properties": {"a": TEXT}}, "T"),
        ({"type": "array", "items": {"type": "object"}}, "list(T.@idx)"),
    ],
)
def test_types(node: JSON, type_: str) -> None:
    assert str(declared(node).named("T")) == type_


@pytest.mark.parametrize(
    "node",
    [
        {},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "array"},
        {"type": "array", "items": {}},
        {"type": "object", "additionalProperties": {}},
    ],
)
def test_what_has_no_type_is_not_declared(node: JSON) -> None:
    assert Declarations().of(node, is_resource=False) is None


@pytest.mark.parametrize(
    ("node", "elements"),
    [
        (TEXT, REQUEST_BYTES - 2),
        ({**TEXT, "maxLength": 5}, 20),
        ({**TEXT, "enum": ["a", "abc"]}, 3),
        ({**TEXT, "format": "date"}, 12),
        ({**TEXT, "format": "byte", "maxLength": 5}, 5),
        ({"type": "array", "items": TEXT, "maxItems": 7}, 7),
        ({"type": "array", "items": TEXT}, (REQUEST_BYTES - 2) // 3),
        ({"type": "object", "additionalProperties": TEXT}, (REQUEST_BYTES - 2) // 8),
    ],
)
def test_sizes(node: JSON, elements: int) -> None:
    assert declared(node).max_elements == elements


def test_the_least_bytes_of_an_object_are_those_of_its_required_fields() -> None:
    fields = {"a": TEXT, "bc": {"type": "boolean"}, "d": {**TEXT, "default": "x"}, "e": TEXT}
    node = {"type": "object", "properties": fields, "required": ["a", "bc", "d"]}
    assert declared(node).min_bytes == 2 + (1 + 2 + 4) + (2 + 4 + 4)


def test_fields_are_escaped_and_reserved_words_are_known_by_both_names() -> None:
    fields = dict.fromkeys(("a-b", "namespace", "1st"), TEXT)
    node = {"type": "object", "properties": fields}
    assert declared(node).fields is not None
    assert set(declared(node).fields or ()) == {"a__dash__b", "__namespace__", "namespace"}


def test_a_resource_has_type_and_names() -> None:
    node = {"type": "object", "properties": {"spec": {"type": "object"}}}
    fields = declared(node, is_resource=True).fields or {}
    assert set(fields) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(fields["metadata"][1].fields or ()) == {"name", "generateName"}


def test_types_of_parts_are_named_by_their_path() -> None:
    inner = {"type": "object", "properties": {"x": {"type": "integer"}}}
    node = {"type": "object", "properties": {"l": {"type": "array", "items": inner}, "t": TEXT}}
    structs = Structs(declared(node), "T")
    assert str(structs["T"].fields["l"].type) == "list(T.l.@idx)"
    assert str(structs["T.l.@idx"].fields["x"].type) == "int"
    for name in ("T.t", "T.nothing", "Other", "T.l"):
        assert name not in structs


def test_sizes_of_paths() -> None:
    items = {"type": "array", "items": {**TEXT, "maxLength": 2}, "maxItems": 3}
    size = sizes_in(declared({"type": "object", "properties": {"l": items}}))
    assert size(("self", "l"), DYN) == Range(0, 3)
    assert size(("self", "l", "@items"), DYN) == Range(0, 8)
    assert size(("self", "nothing"), DYN) is None
    assert size((), DYN) is None


def test_what_is_within_lists_and_maps_is_converted_once() -> None:
    numbers = {"type": "array", "items": {"type": "number"}}
    by_name = {"type": "object", "additionalProperties": {"type": "number"}}
    fields = {"l": numbers, "m": by_name, "n": {**TEXT, "nullable": True}}
    prepare = declared({"type": "object", "properties": fields}).prepare
    assert prepare is not None
    value = {"l": [1], "m": {"a": 2}, "n": None, "rest": "kept"}
    assert prepare(value) == {"l": [1.0], "m": {"a": 2.0}, "rest": "kept"}
    assert value["l"] == [1]
    untouched = {"l": [], "n": "x"}
    assert prepare(untouched) is untouched
    assert declared({"type": "array", "items": TEXT}).prepare is None
