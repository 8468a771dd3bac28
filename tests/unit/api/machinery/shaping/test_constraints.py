"""The compiled tables of checks: cheap for what is common, and of one mind with the walk that explains."""

from typing import Any

import pytest

from kubelite.api.machinery.shaping.constraints import Compiler, Table, satisfies, work
from kubelite.api.machinery.shaping.embedded import no_rules

JSON = dict[str, Any]
TEXT = {"type": "string"}


def table(node: JSON) -> Table:
    work.start()
    return Compiler(no_rules).table(node)


def test_a_plain_field_needs_no_call() -> None:
    plain = table({**TEXT, "description": "a text"})
    assert plain[str] is True
    assert not any(plain[kind] for kind in (bool, int, float, dict, list, type(None)))


def test_plain_fields_share_a_table() -> None:
    compiler = Compiler(no_rules)
    first = compiler.table({**TEXT, "description": "one"})
    assert first is compiler.table({**TEXT, "default": "x"})


def test_an_equal_node_is_compiled_once() -> None:
    compiler = Compiler(no_rules)
    node = {**TEXT, "minLength": 1}
    assert compiler.table(node) is compiler.table(node)


@pytest.mark.parametrize(
    ("node", "good", "bad"),
    [
        ({"type": "integer"}, [1, -5], [1.5, "1", True, None]),
        ({"type": "number"}, [1, 1.5], ["1", None]),
        ({"type": "integer", "minimum": 2, "maximum": 4, "exclusiveMaximum": True}, [2, 3], [1, 4]),
        # Bounds that no integer can have make every value wrong, as in Kubernetes.
        ({"type": "integer", "maximum": 2.5}, [], [1, 2]),
        ({"type": "number", "maximum": 2.5}, [1, 2, 2.5], [3, 2.75]),
        (
            {"type": "string", "format": "ipv4"},
            ["1.2.3.4", ["a list passes for such a text"]],
            ["x", 1],
        ),
        ({"type": "string", "format": "unknown"}, ["x"], [["x"]]),
        ({"x-kubernetes-int-or-string": True}, [1, "1"], [1.5, None, {}]),
        (
            {
                "x-kubernetes-int-or-string": True,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
            },
            [1, "1"],
            [True],
        ),
        ({}, [None, 1, "x", [], {}], []),
        ({"type": "object", "properties": {"a": TEXT}}, [{}, {"a": "", "b": 1}], [{"a": 1}]),
        ({"type": "object", "additionalProperties": False}, [{}], [{"a": 1}]),
        ({"type": "array", "items": TEXT, "maxItems": 1}, [[], ["a"]], [["a", "b"], [1]]),
        ({"enum": [1, 2.5, "x", True]}, [1, 2.5, "x", True, 1.25], ["y", 2, False, None]),
    ],
)
def test_what_passes(node: JSON, good: list[Any], bad: list[Any]) -> None:
    compiled = table(node)
    assert [value for value in good if not satisfies(compiled, value)] == []
    assert [value for value in bad if satisfies(compiled, value)] == []


def test_fields_are_compiled_when_an_object_has_them() -> None:
    compiled: list[str] = []

    class Counting(Compiler):
        def table(self, node: JSON, *, structural: bool = True) -> Table:
            compiled.append(node.get("title", ""))
            return super().table(node, structural=structural)

    fields = {name: {**TEXT, "title": name, "minLength": 1} for name in "abc"}
    root = Counting(no_rules).table({"type": "object", "properties": fields, "title": "root"})
    assert satisfies(root, {"a": "x", "z": 1})
    assert compiled == ["root", "a"]
