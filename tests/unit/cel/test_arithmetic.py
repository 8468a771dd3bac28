"""Operators on values whose types nobody checked."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.cel import arithmetic
from kubelite.cel.values import INT_MAX, INT_MIN, Duration, EvaluationFailed, Timestamp, UInt, Value

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(INT_MIN, INT_MAX), st.integers(0, 2**64 - 1).map(UInt),
    st.floats(), st.text(max_size=3), st.binary(max_size=3), st.just([1]), st.just({"a": 1}),
    st.just(Timestamp(5)), st.integers(INT_MIN, INT_MAX).map(Duration),
)  # fmt: skip
BINARY = (
    arithmetic.add, arithmetic.subtract, arithmetic.multiply, arithmetic.divide, arithmetic.modulo,
    arithmetic.less, arithmetic.less_equals, arithmetic.greater, arithmetic.greater_equals,
)  # fmt: skip


@given(st.sampled_from(BINARY), VALUES, VALUES)
def test_an_operator_gives_a_value_or_fails(
    operator: Callable[[Value, Value], Value], left: Value, right: Value
) -> None:
    try:
        result = operator(left, right)
    except EvaluationFailed:
        return
    if type(result) is int:
        assert INT_MIN <= result <= INT_MAX
    if type(result) is UInt:
        assert 0 <= result < 2**64


@given(st.integers(INT_MIN, INT_MAX), st.integers(INT_MIN, INT_MAX).filter(bool))
def test_quotient_and_rest_belong_together(left: int, right: int) -> None:
    if (left, right) == (INT_MIN, -1):
        return
    quotient, rest = arithmetic.divide(left, right), arithmetic.modulo(left, right)
    assert quotient * right + rest == left
    assert rest == 0 or (rest < 0) == (left < 0)


@pytest.mark.parametrize(
    ("operator", "left", "right", "error"),
    [
        (arithmetic.add, 1, UInt(1), "no such overload"),
        (arithmetic.add, None, 1, "no such overload: _+_"),
        (arithmetic.add, {}, {}, "no such overload: _+_"),
        (arithmetic.subtract, "a", "b", "no such overload"),
        (arithmetic.subtract, [1], [1], "no such overload: _-_"),
        (arithmetic.multiply, True, True, "no such overload: _*_"),
        (arithmetic.less, "a", 1, "no such overload"),
        (arithmetic.less, [1], [1], "no such overload: _<_"),
        (arithmetic.less, float("nan"), 1, "NaN values cannot be ordered"),
        (arithmetic.divide, INT_MIN, -1, "integer overflow"),
        (arithmetic.modulo, INT_MIN, -1, "integer overflow"),
        (arithmetic.add, Timestamp(253402300799 * 10**9), Duration(10**9), "timestamp overflow"),
    ],
)
def test_the_words_of_what_does_not_apply(
    operator: Callable[[Value, Value], Value], left: Value, right: Value, error: str
) -> None:
    with pytest.raises(EvaluationFailed) as failed:
        operator(left, right)
    assert failed.value.text == error


def test_numbers_compare_across_their_types() -> None:
    assert arithmetic.less(-1, UInt(0))
    assert arithmetic.less(1.5, UInt(2))
    assert arithmetic.greater(UInt(2**64 - 1), INT_MAX)
