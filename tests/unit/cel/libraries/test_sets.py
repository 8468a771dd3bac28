"""Lists as sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.cel.libraries import sets
from kubelite.cel.libraries.ip import IP
from kubelite.cel.libraries.netip import Address
from kubelite.cel.values import UInt, Value, equal
from unit.cel.libraries.test_list_extensions import VALUES

LISTS = st.lists(VALUES, max_size=6)


@given(LISTS, LISTS)
def test_sets_are_what_comparing_all_elements_says(left: list[Value], right: list[Value]) -> None:
    def has(values: list[Value], value: Value) -> bool:
        return any(equal(value, other) for other in values)

    contains = all(has(left, value) for value in right)
    assert sets.contains(left, right) is contains
    assert sets.intersects(left, right) is any(has(right, value) for value in left)
    back = all(has(right, value) for value in left)
    assert sets.equivalent(left, right) is (contains and back)


@pytest.mark.parametrize(
    ("left", "right", "contains", "equivalent", "intersects"),
    [
        ([], [], True, True, False),
        ([1], [], True, False, False),
        ([1], [1.0, UInt(1)], True, True, True),
        ([[1], [2, 3]], [[1, 2], [2, 3.0]], False, False, True),
        ([IP(Address(1, 32))], [IP(Address(1, 32))], True, True, True),
        ([IP(Address(1, 32))], [IP(Address(1, 128))], False, False, False),
        ([float("nan")], [float("nan")], False, False, False),
    ],
)
def test_examples(
    left: list[Value], right: list[Value], contains: bool, equivalent: bool, intersects: bool
) -> None:
    assert sets.contains(left, right) is contains
    assert sets.equivalent(left, right) is equivalent
    assert sets.intersects(left, right) is intersects
