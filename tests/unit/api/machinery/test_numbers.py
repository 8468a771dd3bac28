"""Numbers in texts."""

import pytest

from kubelite.api.machinery.numbers import integer


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("+7", 7),
        ("-7", -7),
        ("-0", 0),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", None),
        ("0" * 5000 + "1", 1),
        ("9" * 5000, None),
        ("1_0", None),
        ("٣", None),
        ("²", None),
        (" 1", None),
        ("1 ", None),
        ("--1", None),
        ("+", None),
        ("", None),
        ("1.0", None),
        ("0x1", None),
    ],
)
def test_numbers_are_read_as_go_reads_them(text: str, number: int | None) -> None:
    assert integer(text) == number


def test_a_number_may_have_fewer_bits() -> None:
    assert integer("2147483647", bits=32) == 2147483647
    assert integer("2147483648", bits=32) is None
