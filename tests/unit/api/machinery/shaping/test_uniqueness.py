"""Duplicates in lists, found in one pass."""

from typing import Any

import pytest

from kubelite.api.machinery.shaping import uniqueness
from kubelite.api.machinery.shaping.uniqueness import are_unique, identity, keeps_list_type


@pytest.mark.parametrize(
    ("values", "unique"),
    [
        ([], True),
        ([1, 2, 1], False),
        ([1, True, 1.5, "1", None], True),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
        ([{"a": 1}, {"a": True}], True),
        ([[1], [1, 1]], True),
        ([None, None], False),
    ],
)
def test_unique_values(values: list[Any], unique: bool) -> None:
    assert are_unique(values) is unique


@pytest.mark.parametrize(
    ("keys", "values", "kept"),
    [
        (["k"], [{"k": "a"}, {"k": "b"}, None], True),
        (["k"], [{"k": "a", "v": 1}, {"k": "a", "v": 2}], False),
        (["k"], [{"v": 1}, {"v": 2}], False),
        (["k"], [{"k": None}, {}], True),
        (["k"], ["a"], False),
        (["k", "l"], [{"k": 1, "l": 1}, {"k": 1, "l": 2}], True),
        (["k", "l"], [{"k": 1}, {"k": 1}], False),
    ],
)
def test_lists_of_type_map(keys: list[str], values: list[Any], kept: bool) -> None:
    node = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}
    assert keeps_list_type(node, values) is kept


def test_each_value_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def counted(value: Any) -> Any:
        nonlocal looks
        looks += 1
        return identity(value)

    monkeypatch.setattr(uniqueness, "identity", counted)
    assert are_unique(list(range(20_000)))
    assert looks == 20_000
