"""Texts as Go writes them."""

import pytest

from kubelite.cel.frame import CostExceeded
from kubelite.cel.libraries.go_text import quote, quote_bytes, shown
from kubelite.cel.types import INT
from kubelite.cel.values import NONE, Duration, Optional, Timestamp, Value


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain é😀", '"plain é😀"'),
        ('a"\\', '"a\\"\\\\"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\x00\x7f\x85", '"\\x00\\x7f\\u0085"'),
        ("\u200b\U000e0001", '"\\u200b\\U000e0001"'),
        ("\ud800", '"\ufffd"'),
        ("\u3000", '"\\u3000"'),
    ],
)
def test_quoting(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_quoting_of_bytes_that_are_no_text() -> None:
    assert quote_bytes(b"a\xff\xc3\xa9") == '"a\\xffé"'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "0"),
        (True, "true"),
        (1.5, "1.5"),
        ([1, "a"], "[1, a]"),
        ({"a": 1}, "{a: 1}"),
        (b"ab", "[97 98]"),
        (Timestamp(0), "1970-01-01T00:00:00Z"),
        (Duration(10**9), "1s"),
        (Optional(1), "optional(1)"),
        (NONE, "optional.none()"),
        (INT, "int"),
    ],
)
def test_values_in_messages(value: Value, text: str) -> None:
    assert shown(value) == text


def test_a_value_that_holds_another_many_times_is_not_written_out() -> None:
    value: Value = 1
    for _ in range(40):
        value = [value] * 10
    with pytest.raises(CostExceeded):
        shown(value)
