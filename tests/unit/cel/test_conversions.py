"""Conversions between types as Go makes them."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.cel import conversions
from kubelite.cel.values import INT_MAX, INT_MIN, UINT_MAX, EvaluationFailed, UInt, Value


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (100000.0, "100000"),
        (123456789.0, "1.23456789e+08"),
        (1e6, "1e+06"),
        (1e21, "1e+21"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (1.5e300, "1.5e+300"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_doubles_are_shown_with_few_digits(number: float, text: str) -> None:
    assert conversions.double_to_string(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_read_as_it_is_shown(number: float) -> None:
    assert conversions.string_to_double(conversions.double_to_string(number)) == number


@pytest.mark.parametrize(
    ("call", "source", "result"),
    [
        (conversions.string_to_int, "-7", -7),
        (conversions.string_to_int, "+7", 7),
        (conversions.string_to_uint, "7", UInt(7)),
        (conversions.string_to_double, "1e3", 1000.0),
        (conversions.string_to_double, "0x1p4", 16.0),
        (conversions.string_to_double, "-inf", -math.inf),
        (conversions.string_to_bool, "T", True),
        (conversions.double_to_int, -1.9, -1),
        (conversions.double_to_uint, 1.9, UInt(1)),
        (conversions.uint_to_int, UInt(5), 5),
        (conversions.int_to_uint, 5, UInt(5)),
        (conversions.bytes_to_string, b"\xc3\xa9", "é"),
        (conversions.bool_to_string, True, "true"),
    ],
)
def test_conversions(call: Callable[[Value], Value], source: Value, result: Value) -> None:
    converted = call(source)
    assert converted == result
    assert type(converted) is type(result)


@pytest.mark.parametrize(
    ("call", "source", "error"),
    [
        (conversions.string_to_int, "1_000", "type conversion error from 'string' to 'int'"),
        (conversions.string_to_int, " 1", "type conversion error from 'string' to 'int'"),
        (conversions.string_to_int, str(INT_MAX + 1), "type conversion error from 'string' to 'int'"),
        (conversions.string_to_int, "1" * 5000, "type conversion error from 'string' to 'int'"),
        (conversions.string_to_int, "\u0661", "type conversion error from 'string' to 'int'"),
        (conversions.string_to_uint, "-1", "type conversion error from 'string' to 'uint'"),
        (conversions.string_to_double, "1e400", "type conversion error from 'string' to 'double'"),
        (conversions.string_to_double, "0x1", "type conversion error from 'string' to 'double'"),
        (conversions.string_to_bool, "yes", "type conversion error from 'string' to 'bool'"),
        (conversions.double_to_int, 2.0**63, "integer overflow"),
        (conversions.double_to_int, math.nan, "integer overflow"),
        (conversions.double_to_uint, -1.0, "unsigned integer overflow"),
        (conversions.uint_to_int, UInt(UINT_MAX), "integer overflow"),
        (conversions.int_to_uint, -1, "unsigned integer overflow"),
        (conversions.int_to_timestamp, INT_MIN, "timestamp overflow"),
        (conversions.bytes_to_string, b"\xff", "invalid UTF-8 in bytes, cannot convert to string"),
        (conversions.int_to_duration, 1, "type conversion error from 'int' to 'google.protobuf.Duration'"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_fails(
    call: Callable[[Value], Value], source: Value, error: str
) -> None:
    with pytest.raises(EvaluationFailed) as failed:
        call(source)
    assert failed.value.text == error
