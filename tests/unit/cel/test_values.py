"""Equality and types of values."""

import math
from typing import Any

import pytest

from kubelite.cel import types
from kubelite.cel.kubernetes import BASE
from kubelite.cel.values import (
    NONE,
    Duration,
    MixedMap,
    OpaqueValue,
    Optional,
    Rows,
    Timestamp,
    UInt,
    Value,
    equal,
    map_of_entries,
    size_of,
    type_of,
)


class Fruit(OpaqueValue):
    """A value of a library."""

    cel_type = types.opaque("fruit")

    @property
    def size(self) -> int:
        return 12


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (1, 1.0, True),
        (1, UInt(1), True),
        (True, 1, False),
        (True, True, True),
        (math.nan, math.nan, False),
        (9007199254740993, 9007199254740992.0, True),  # compared as doubles
        ("1", 1, False),
        (None, None, True),
        (None, 0, False),
        (None, False, False),
        ([1, "a"], [1.0, "a"], True),
        ([True], [1], False),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": UInt(1)}, True),
        ({1: "a"}, {1.0: "a"}, True),
        ({True: "a"}, {1: "a"}, False),
        ({"a": None}, {"b": None}, False),
        (Timestamp(5), Timestamp(5, 3600), True),
        (Timestamp(5), Duration(5), False),
        (Optional(1), Optional(1.0), True),
        (Optional(None), NONE, False),
        (b"a", "a", False),
        (types.INT, types.INT, True),
        (types.list_of(types.INT), types.LIST, True),
    ],
)
def test_equality(left: Value, right: Value, expected: bool) -> None:
    assert equal(left, right) is expected
    assert equal(right, left) is expected


@pytest.mark.parametrize(
    ("value", "name", "size"),
    [
        (True, "bool", 1),
        (5, "int", 1),
        (UInt(5), "uint", 1),
        (1.5, "double", 1),
        ("héé", "string", 3),
        (b"abcd", "bytes", 4),
        (None, "null_type", 1),
        ([1, 2], "list", 2),
        ({"a": 1}, "map", 1),
        (Timestamp(0), "google.protobuf.Timestamp", 1),
        (Duration(0), "google.protobuf.Duration", 1),
        (Optional("abc"), "optional_type", 3),
        (NONE, "optional_type", 1),
        (types.INT, "type", 1),
        (Fruit(), "fruit", 12),
    ],
)
def test_types_and_sizes(value: Value, name: str, size: int) -> None:
    assert type_of(value).name == name
    assert size_of(value) == size


def test_bools_and_numbers_are_different_keys() -> None:
    entries = map_of_entries([(1, "int"), (True, "bool"), ("a", "text"), ([1], "list")])
    assert isinstance(entries, MixedMap)
    assert len(entries) == 4
    assert (entries[1], entries[True], entries[1.0]) == ("int", "bool", "int")
    assert False not in entries
    assert [1] not in entries
    assert list(entries.items())[1] == (True, "bool")
    assert list(entries) == [1, True, "a", [1]]


def test_other_maps_are_those_of_python() -> None:
    assert type(map_of_entries([(1, "a"), (2, "b")])) is dict
    assert type(map_of_entries([(True, "a"), (False, "b")])) is dict
    assert map_of_entries([("a", 1), ("a", 2)]) == {"a": 2}


def test_comparing_what_shares_its_parts_ends() -> None:
    left: list[Any] = [1]
    right: list[Any] = [1]
    for _ in range(60):
        left, right = [left, left], [right, right]
    assert equal(left, right)
    assert equal({"a": left}, {"a": right})
    assert not equal([left, 1], [right, 2])


def test_rows_have_an_empty_map_under_every_other_key() -> None:
    environment = BASE.extended(variables={"rows": types.MAP})
    rows = Rows({"a": {"b": 1}})

    def value(text: str) -> object:
        return environment.compile(text).evaluate({"rows": rows}).value

    assert value("rows.a.b == 1 && rows['a']['b'] == 1")
    assert value("rows.x == {} && has(rows.x) && !has(rows.x.y)")
    assert value("'a' in rows && !('x' in rows) && rows.size() == 1")
    assert value("rows[?'x'].hasValue() && rows.?x.y == optional.none()")
    assert value("rows == {'a': {'b': 1}} && {'a': {'b': 1}} == rows && rows == rows")
    assert value("rows.exists_one(x, x == 'a') && rows.map(x, x) == ['a']")
    assert value("rows != {} && type(rows) == map")
    assert rows == {"a": {"b": 1}}
