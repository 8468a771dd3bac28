"""Wording of causes."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.machinery import causes
from kubelite.limits import CAUSES, CAUSES_TEXT, SHOWN_VALUE

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)


def test_wording() -> None:
    assert causes.required("a").message == "Required value"
    assert causes.required("a", "why").message == "Required value: why"
    assert causes.invalid("a", 'x"y', "no").message == 'Invalid value: "x\\"y": no'
    assert causes.invalid("a", 5).message == "Invalid value: 5"
    assert causes.invalid("a", {"b": [True]}).message == 'Invalid value: {"b":[true]}'
    assert causes.unsupported("a", "x", ["A", "B"]).message == (
        'Unsupported value: "x": supported values: "A", "B"'
    )
    assert causes.duplicate("a", "x").message == 'Duplicate value: "x"'
    assert causes.too_long("a", 3).message == "Too long: may not be more than 3 bytes"
    assert causes.too_many("a", 5, 3).message == "Too many: 5: must have at most 3 items"


def test_invalid_object_tells_all() -> None:
    one = causes.invalid_object("Pod", "", "x", [causes.required("spec.containers")])
    assert one.message == 'Pod "x" is invalid: spec.containers: Required value'
    two = causes.invalid_object(
        "Deployment", "apps", "x", [causes.required("a"), causes.forbidden("b")]
    )
    assert two.message == 'Deployment.apps "x" is invalid: [a: Required value, b: Forbidden]'
    details = two.status()["details"]
    assert details["kind"] == "Deployment"
    assert details["group"] == "apps"
    assert details["causes"][0] == {
        "reason": "FieldValueRequired",
        "message": "Required value",
        "field": "a",
    }


def test_quoted_values_are_cut_and_no_more_of_them_is_looked_at() -> None:
    limit = SHOWN_VALUE.value
    for value in ("x" * 10 * limit, ["x" * 10] * limit, {"a": {"b": ["x" * 10 * limit]}}):
        shown = causes.shown(value)
        assert len(shown) < 1.1 * limit
        assert causes.quoted("...")[1:-1] in shown
    visited = 0

    def endless() -> Iterator[int]:
        nonlocal visited
        while True:
            visited += 1
            yield 1

    class Endless(list[int]):
        def __iter__(self) -> Iterator[int]:
            return endless()

    causes.shown(Endless())
    assert visited <= limit


@given(JSON_VALUES)
def test_short_values_are_shown_as_their_json(value: Any) -> None:
    if not isinstance(value, str):
        shown = causes.shown(value)
        assert msgspec.json.decode(shown) == value
        if isinstance(value, dict | list):
            assert not set("<>&") & set(shown)  # as Go writes JSON


def test_an_integer_of_thousands_of_digits_can_be_shown() -> None:
    assert causes.invalid("a", 10**5000).message == "Invalid value: ..."


def test_no_more_causes_are_collected_than_an_answer_takes() -> None:
    many = (causes.required(f"a[{index}]") for index in range(10 * CAUSES.value))
    with pytest.raises(causes.TooManyCauses) as stop:
        causes.Causes(many)
    assert len(stop.value.found) == CAUSES.value
    assert len(list(many)) == 9 * CAUSES.value - 1
    long = "x" * (CAUSES_TEXT.value // 10)
    with pytest.raises(causes.TooManyCauses) as stop:
        causes.Causes(causes.forbidden(f"a[{index}]", long) for index in range(100))
    assert len(stop.value.found) == 9


def test_an_answer_of_many_causes_is_bounded_and_says_that_there_are_more() -> None:
    many = [causes.required(f"a[{index}]") for index in range(10 * CAUSES.value)]
    error = causes.invalid_object("Pod", "", "x", many)
    assert len(error.causes) == CAUSES.value + 1
    assert error.causes[-1] == causes.unchecked()
    assert error.message.endswith("correct the existing errors to complete validation]")
    long = [causes.forbidden("a" * 10_000, "x" * 10_000)] * CAUSES.value
    answer = msgspec.json.encode(causes.invalid_object("Pod", "", "y" * 1_000_000, long).status())
    assert len(answer) < 3 * CAUSES_TEXT.value
