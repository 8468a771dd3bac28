"""cel-go's functions on lists."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.cel.frame import CostExceeded
from kubelite.cel.libraries import list_extensions as extensions
from kubelite.cel.values import Duration, EvaluationFailed, Value, equal
from kubelite.limits import CEL_LIST, CEL_VALUES


@pytest.mark.parametrize(
    ("call", "arguments", "result"),
    [
        (extensions.slice_list, ([1, 2, 3, 4], 1, 3), [2, 3]),
        (extensions.slice_list, ([1], 1, 1), []),
        (extensions.flatten, ([[1, 2], [3]],), [1, 2, 3]),
        (extensions.flatten, ([1, [2, [3, [4]]]], 2), [1, 2, 3, [4]]),
        (extensions.flatten, ([[1]], 0), [[1]]),
        (extensions.sort, ([3, 1, 2],), [1, 2, 3]),
        (extensions.sort, ([Duration(2), Duration(1)],), [Duration(1), Duration(2)]),
        (extensions.sort, ([],), []),
        (extensions.sort_by_keys, (["bb", "a", "cc"], [2, 1, 2]), ["a", "bb", "cc"]),
        (extensions.numbers, (3,), [0, 1, 2]),
        (extensions.numbers, (-3,), []),
        (extensions.reverse, ([1, 2],), [2, 1]),
        (extensions.distinct, ([1, 2, 1.0, 2],), [1, 2]),
        (extensions.distinct, ([[1], [1.0], {"a": 1}, {"a": 1.0}],), [[1], {"a": 1}]),
        (extensions.distinct, ([True, 1, "a", b"a", None],), [True, 1, "a", b"a", None]),
    ],
)
def test_results(call: Callable[..., Any], arguments: tuple[Any, ...], result: object) -> None:
    assert call(*arguments) == result


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        (
            extensions.slice_list,
            ([1], -1, 2),
            "cannot slice(-1, 2), negative indexes not supported",
        ),
        (
            extensions.slice_list,
            ([1], 2, 1),
            "cannot slice(2, 1), start index must be less than or equal to end index",
        ),
        (extensions.slice_list, ([1], 0, 9), "cannot slice(0, 9), list is length 1"),
        (extensions.flatten, ([[1]], -1), "level must be non-negative"),
        (extensions.sort, ([[1], [0]],), "list elements must be comparable"),
        (extensions.sort, ([1, "a"],), "list elements must have the same type"),
        (
            extensions.sort_by_keys,
            ([1, 2], [1]),
            (
                "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, "
                "but got 2 and 1 elements respectively"
            ),
        ),
    ],
)
def test_failures(call: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(EvaluationFailed) as failure:
        call(*arguments)
    assert failure.value.text == message


VALUES = st.recursive(
    st.one_of(st.integers(-2, 2), st.sampled_from([0.0, 1.0, -0.0, True, "a", b"a", None])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.lists(VALUES, max_size=8))
def test_distinct_keeps_what_is_equal_to_nothing_before(values: list[Value]) -> None:
    expected: list[Value] = []
    for value in values:
        if not any(equal(value, known) for known in expected):
            expected.append(value)
    assert extensions.distinct(values) == expected


def test_nan_is_no_double_of_itself() -> None:
    nan = float("nan")
    assert extensions.distinct([nan, nan]) == [nan, nan]
    assert extensions.sort([2.0, nan, 1.0])


def nested(leaf: Value) -> Value:
    for _ in range(30):
        leaf = [leaf] * 10
    return leaf


def test_lists_that_hold_one_list_many_times_are_walked_over_once() -> None:
    assert extensions.flatten(nested([]), 40) == []
    assert len(extensions.distinct([nested(1), nested(1), nested(2)])) == 2
    nan = nested(float("nan"))
    assert len(extensions.distinct([nan, nan])) == 2


def test_lists_that_grow_too_long_are_not_made() -> None:
    with pytest.raises(CostExceeded):
        extensions.flatten(nested(1), 40)


def test_a_range_past_what_an_expression_may_cost_is_not_made() -> None:
    before = CEL_LIST.times_reached
    with pytest.raises(CostExceeded):
        extensions.numbers(10**15)
    assert CEL_LIST.times_reached == before + 1
    assert CEL_VALUES.value >= CEL_LIST.value
