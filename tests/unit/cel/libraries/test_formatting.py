"""Values in texts, as format writes them."""

import pytest

from kubelite.cel.frame import CostExceeded
from kubelite.cel.libraries.formatting import format_text
from kubelite.cel.types import INT
from kubelite.cel.values import NONE, Duration, EvaluationFailed, Timestamp, UInt, Value

HOUR = Duration(3600 * 10**9)
NEW_YEAR = Timestamp(1704067200 * 10**9)
INFINITY, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("text", "arguments", "result"),
    [
        ("%s is %d years, 100%%", ["Bob", 42], "Bob is 42 years, 100%"),
        ("%s", [["%s"]], '["%s"]'),
        ("%s", [None], "null"),
        ("%s", [b"ab"], "ab"),
        ("%s", [1e20], "1e+20"),
        ("%s", [INT], "int"),
        ("%s", [HOUR], "3600s"),
        ("%s", [NEW_YEAR], "2024-01-01T00:00:00Z"),
        (
            "%s",
            [[1, 2.5, 'x"', True, None, HOUR]],
            '[1, 2.500000, "x\\"", true, null, duration("3600s")]',
        ),
        ("%s", [[NEW_YEAR, b"a", INFINITY]], '[timestamp("2024-01-01T00:00:00Z"), b"a", "+Inf"]'),
        ("%s", [{1: "x", "z": UInt(2), "a": {}}], '{"a":{}, "z":2, 1:"x"}'),
        ("%d %d", [-1, UInt(7)], "-1 7"),
        ("%b %b %b", [5, -5, True], "101 -101 1"),
        ("%x %X %x", [-255, 255, "hi"], "-ff FF 6869"),
        ("%X", [b"\xab"], "AB"),
        ("%o", [8], "10"),
        ("%f", [1234567.5], "1,234,567.500000"),
        ("%.2f", [1.5], "1.50"),
        ("%.0f", [2.5], "2"),
        ("%.50f", [1.5], "1.5" + "0" * 49),
        ("%.300f", [1.5], "1.5" + "0" * 43),
        ("%.40000f", [0.25], "0.25" + "0" * 62),
        ("%.99999999999f", [1.5], "%!(NOVERB)"),
        ("%f %f %f", [INFINITY, -INFINITY, NAN], "∞ -∞ NaN"),
        ("%f", ["Infinity"], "∞"),
        ("%e", [1234.5678], "1.234568\xd710⁰³"),
        ("%e", [-0.00012], "-1.200000\xd710⁻⁰⁴"),
        ("%e", [0.0], "0.000000\xd710⁰⁰"),
        ("%.3e", [1.5], "1.500000\xd710⁰⁰"),
        ("%.15e", [1.5], "  1.500000\xd710⁰⁰"),
    ],
)
def test_what_is_written(text: str, arguments: list[Value], result: str) -> None:
    assert format_text(text, arguments) == result


WRONG_STRING = (
    "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, "
    "lists, types, durations, and timestamps, was given optional_type"
)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("%s", [], "index 0 out of range"),
        ("%", [], "index 0 out of range"),
        ("%", [1], "unexpected end of string"),
        ("%10d", [1], 'could not parse formatting clause: unrecognized formatting clause "1"'),
        ("%é", [1], 'could not parse formatting clause: unrecognized formatting clause "\xc3"'),
        (
            "%.5",
            [1],
            (
                "could not parse formatting clause: error while parsing precision: "
                "could not find end of precision specifier"
            ),
        ),
        (
            "%.f",
            [1],
            (
                "could not parse formatting clause: error while parsing precision: error while converting "
                'precision to integer: strconv.Atoi: parsing "": invalid syntax'
            ),
        ),
        (
            "%.9999999999999999999f",
            [1],
            (
                "could not parse formatting clause: error while parsing precision: error while converting "
                'precision to integer: strconv.Atoi: parsing "9999999999999999999": value out of range'
            ),
        ),
        ("%s", [NONE], WRONG_STRING),
        ("%s", [[NONE]], "error during formatting: no formatting function for optional_type"),
        (
            "%s",
            [{1.5: 1}],
            "error during formatting: no formatting function for map key of type double",
        ),
        (
            "%s",
            [b"\xff"],
            (
                'error during formatting: could not convert argument "invalid UTF-8 in bytes, cannot convert to '
                'string" to string'
            ),
        ),
        (
            "%d",
            [None],
            "error during formatting: decimal clause can only be used on integers, was given null_type",
        ),
        (
            "%d",
            [True],
            "error during formatting: decimal clause can only be used on integers, was given bool",
        ),
        (
            "%f",
            [1],
            "error during formatting: fixed-point clause can only be used on doubles, was given int",
        ),
        (
            "%e",
            ["a"],
            "error during formatting: scientific clause can only be used on doubles, was given string",
        ),
        (
            "%X",
            [1.5],
            (
                "error during formatting: only integers, byte buffers, and strings can be formatted as hex, "
                "was given double"
            ),
        ),
    ],
)
def test_failures(text: str, arguments: list[Value], message: str) -> None:
    with pytest.raises(EvaluationFailed) as failure:
        format_text(text, arguments)
    assert failure.value.text == message


@pytest.mark.parametrize(
    "shape", [lambda inner: [inner] * 10, lambda inner: {"a": inner, "b": inner}]
)
def test_values_that_contain_each_other_many_times_end(shape: object) -> None:
    assert callable(shape)
    value: Value = "x" * 100
    for _ in range(40):
        value = shape(value)
    with pytest.raises(CostExceeded):
        format_text("%s", [value])


def test_wide_clauses_end() -> None:
    with pytest.raises(CostExceeded):
        format_text("%.65535e" * 100, [1.5] * 100)
