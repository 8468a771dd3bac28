"""Paths into the schemas of custom resources."""

from typing import Any

import pytest

from kubelite.api.machinery.schema_paths import InvalidPath, resolve_path

SCHEMA: dict[str, Any] = {
    "properties": {
        "spec": {
            "properties": {
                "color": {"type": "string"},
                "it's": {"type": "integer"},
                "a.b": {"type": "boolean"},
                "map": {"additionalProperties": {"type": "number"}},
                "free": {"additionalProperties": True},
                "list": {"items": {"type": "string"}},
            }
        }
    }
}


@pytest.mark.parametrize(
    ("path", "kind", "steps"),
    [
        (".spec.color", "string", (("spec", True), ("color", True))),
        ("['spec']['a.b']", "boolean", (("spec", True), ("a.b", True))),
        (r".spec['it\'s']", "integer", (("spec", True), ("it's", True))),
        (".spec.map.any", "number", (("spec", True), ("map", True), ("any", False))),
        (".spec.map['x y']", "number", (("spec", True), ("map", True), ("x y", False))),
        ("", None, ()),
    ],
)
def test_paths_reach(path: str, kind: str | None, steps: Any) -> None:
    found, reached = resolve_path(path, SCHEMA)
    assert found == steps
    assert reached is not None
    assert reached.get("type") == kind


def test_below_free_fields_there_is_no_schema() -> None:
    assert resolve_path(".spec.free.x", SCHEMA)[1] is None
    with pytest.raises(InvalidPath, match="does not refer to a valid field"):
        resolve_path(".spec.free.x.y", SCHEMA)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("spec.color", "expected [ or . but got: spec"),
        (".spec.nope", "does not refer to a valid field"),
        (".spec.color.x", "does not refer to a valid field"),
        (".spec.list.x", "does not refer to a valid field"),
        (".", "unexpected end of JSON path"),
        (".spec[", "unexpected end of JSON path"),
        (".spec['color'", "unexpected end of JSON path"),
        (".spec['color'.", "expected ] but got ."),
        (".spec[0]", "expected single quoted string but got 0"),
        (".spec['color", "expected single quoted string but got 'color"),
        (r".spec['\q']", r"invalid string literal: invalid escape char \q"),
    ],
)
def test_wrong_paths_say_why(path: str, error: str) -> None:
    with pytest.raises(InvalidPath) as caught:
        resolve_path(path, SCHEMA)
    assert str(caught.value) == error


def test_brackets_may_be_forbidden() -> None:
    with pytest.raises(InvalidPath, match="array notation is not allowed"):
        resolve_path(".spec['color']", SCHEMA, brackets=False)


def test_long_paths_are_read_once() -> None:
    with pytest.raises(InvalidPath):
        resolve_path("['" + r"\'" * 200_000, SCHEMA)
