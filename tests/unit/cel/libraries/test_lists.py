"""Kubernetes' functions on lists."""

from collections.abc import Callable
from typing import Any

import pytest

from kubelite.cel.libraries import lists
from kubelite.cel.values import INT_MAX, Duration, EvaluationFailed, UInt, Value

NAN = float("nan")


def sum_of(name: str) -> Callable[[list[Value]], Value]:
    (function,) = (each for each in lists.LIBRARY.functions if each.name == "sum")
    (overload,) = (each for each in function.overloads if each.id == f"list_{name}_sum_{name}")
    return overload.call


@pytest.mark.parametrize(
    ("values", "is_sorted"),
    [
        ([], True),
        ([1, 2, 2, 3], True),
        ([2, 1], False),
        (["a", "b"], True),
        ([b"b", b"a"], False),
        ([1, "a"], True),
        ([2.0, NAN, 1.0], True),
        ([1, 0.5], False),
        ([False, True], True),
    ],
)
def test_is_sorted(values: list[Value], is_sorted: bool) -> None:
    assert lists.is_sorted(values) is is_sorted


@pytest.mark.parametrize(
    ("name", "values", "total"),
    [
        ("int", [1, 2, 3], 6),
        ("int", [], 0),
        ("uint", [UInt(1), UInt(2)], UInt(3)),
        ("uint", [], UInt(0)),
        ("double", [1.5, 2.5], 4.0),
        ("duration", [Duration(1), Duration(2)], Duration(3)),
    ],
)
def test_sum(name: str, values: list[Value], total: Value) -> None:
    result = sum_of(name)(values)
    assert (result, type(result)) == (total, type(total))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("int", [INT_MAX, 1], "integer overflow"),
        ("duration", [Duration(INT_MAX), Duration(1)], "overflow"),
        ("int", [1, 1.5], "no such overload"),
    ],
)
def test_sums_that_fail(name: str, values: list[Value], message: str) -> None:
    with pytest.raises(EvaluationFailed, match=message):
        sum_of(name)(values)


def test_minimum_and_maximum() -> None:
    assert (lists.minimum([3, 1, 2]), lists.maximum([3, 1, 2])) == (1, 3)
    assert lists.maximum(["b", "a"]) == "b"
    assert lists.minimum([NAN, 1.0]) is NAN
    for call, name in ((lists.minimum, "min"), (lists.maximum, "max")):
        with pytest.raises(EvaluationFailed, match=f"{name} called on empty list"):
            call([])


@pytest.mark.parametrize(
    ("values", "item", "first", "last"),
    [
        ([1, 2, 3, 2], 2, 1, 3),
        ([1, 2], 2.0, 1, 1),
        ([[1], [2]], [2], 1, 1),
        ([], 1, -1, -1),
        ([True], 1, -1, -1),
    ],
)
def test_indices(values: list[Any], item: Value, first: int, last: int) -> None:
    assert (lists.index_of(values, item), lists.last_index_of(values, item)) == (first, last)


def test_overloads_are_named_as_in_kubernetes() -> None:
    ids = [overload.id for each in lists.LIBRARY.functions for overload in each.overloads]
    assert {"list_int_is_sorted_bool", "list_string_max_string", "list_a_index_of_int"} <= set(ids)
    assert len(ids) == len(set(ids)) == 8 * 3 + 4 + 2
