"""The smaller copy of a schema."""

from copy import deepcopy
from typing import Any

from kubelite.api.machinery.shaping.condensing import alternatives_of, condensed

JSON = dict[str, Any]


def test_equal_parts_are_one_object_and_words_for_people_are_gone() -> None:
    schema: JSON = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "string", "description": "one"}},
            "b": {"type": "array", "items": {"type": "string", "description": "two"}},
            "description": {"type": "string"},
            "c": {"type": "boolean", "default": True},
            "d": {"type": "boolean", "default": 1},
        },
    }
    before = deepcopy(schema)
    copy = condensed(schema)
    assert schema == before
    fields = copy["properties"]
    assert fields["a"] is fields["b"]
    assert fields["description"] is fields["a"]["items"]
    assert fields["c"]["default"] is True
    assert fields["d"]["default"] == 1
    assert fields["d"]["default"] is not True


def test_a_schema_whose_parts_are_shared_is_copied_once() -> None:
    node: JSON = {"type": "string"}
    for _ in range(100):
        node = {"type": "object", "properties": {"a": node, "b": node}}
    copy = condensed(node)
    assert copy["properties"]["a"] is copy["properties"]["b"]


def test_alternatives_are_counted_for_the_worst_value() -> None:
    choice = {"anyOf": [{"minLength": 1}, {"not": {"maxLength": 3}}]}
    schema = {
        "properties": {"a": {"items": {"oneOf": [choice, {}]}}, "b": {"allOf": [{}]}},
        "anyOf": [{"properties": {"b": {"anyOf": [{}, {}]}}}],
    }
    # An element of a: oneOf has two, the first of them has two more, and one of those one more. A value below the
    # root may be b as well, of which the alternative of the root says something.
    assert alternatives_of(schema["properties"]["a"]) == 5  # type: ignore[index] # a dict
    assert alternatives_of(schema) == 5 + 2
    assert alternatives_of({"type": "string"}) == 0
