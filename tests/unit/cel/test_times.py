"""Texts of instants and spans of time, and the calendar."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.cel.times import (
    NANOSECONDS,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    Moment,
    format_duration,
    format_timestamp,
    moment,
    parse_duration,
    parse_timestamp,
)
from kubelite.cel.values import INT_MIN, Duration, EvaluationFailed, Timestamp


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z"),
        ("2024-01-01T00:00:00.120Z", "2024-01-01T00:00:00.12Z"),
        ("2024-01-01T00:00:00.1234567899Z", "2024-01-01T00:00:00.123456789Z"),
        ("2024-01-01T01:00:00+02:30", "2024-01-01T01:00:00+02:30"),
        ("2024-01-01T1:00:00Z", "2024-01-01T01:00:00Z"),  # Go takes one digit of hours
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_instants_are_read_and_shown(text: str, shown: str) -> None:
    assert format_timestamp(parse_timestamp(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "2024-01-01", "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z",
     "2024-01-01T00:00:60Z", "2024-01-01t00:00:00z", "2024-01-01T00:00:00", "2024-01-01T00:00:00.Z",
     "2024-01-01T00:00:00+25:00", "٢٠٢٤-01-01T00:00:00Z"],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_timestamp(text)


def test_instants_outside_of_the_years_1_to_9999_overflow() -> None:
    with pytest.raises(EvaluationFailed, match="timestamp overflow"):
        parse_timestamp("0001-01-01T00:00:00+01:00")
    with pytest.raises(EvaluationFailed, match="timestamp overflow"):
        parse_timestamp("9999-12-31T23:59:59-01:00")


@pytest.mark.parametrize(
    ("text", "nanoseconds", "shown"),
    [
        ("1h2m3s4ms5us6ns", 3723004005006, "3723.004005006s"),
        ("-1.5h", -5400 * NANOSECONDS, "-5400s"),
        ("0", 0, "0s"),
        ("+5s", 5 * NANOSECONDS, "5s"),
        ("1µs", 1000, "0.000001s"),
        (".5s", NANOSECONDS // 2, "0.5s"),
        ("1.s", NANOSECONDS, "1s"),
        ("1ns", 1, "0.000000001s"),
        ("-9223372036854775808ns", INT_MIN, "-9223372036.854776s"),
    ],
)
def test_spans_are_read_and_shown(text: str, nanoseconds: int, shown: str) -> None:
    assert parse_duration(text) == Duration(nanoseconds)
    assert format_duration(Duration(nanoseconds)) == shown


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1d", "s", ".s", "1h-2m", "9223372037s", "1" * 99 + "h"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("", 12), ("UTC", 12), ("-08:00", 4), ("+05:30", 17), ("Asia/Tokyo", 21)],
)
def test_zones_are_names_or_offsets(zone: str, hour: int) -> None:
    assert moment(parse_timestamp("2024-06-01T12:00:00Z"), zone).seconds // 3600 == hour


@pytest.mark.parametrize(
    ("zone", "error"),
    [
        ("Mars/Base", "unknown time zone Mars/Base"),
        ("../etc/passwd", "unknown time zone ../etc/passwd"),
        ("x:00", 'strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_unknown_zones_fail(zone: str, error: str) -> None:
    with pytest.raises(EvaluationFailed) as failed:
        moment(Timestamp(0), zone)
    assert failed.value.text == error


@given(st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX))
def test_the_calendar_is_that_of_python(seconds: int) -> None:
    at = Moment(seconds)
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert (at.year, at.month, at.day) == (expected.year, expected.month, expected.day)
    assert at.day_of_year == expected.timetuple().tm_yday - 1
    assert at.weekday == (expected.weekday() + 1) % 7


@given(st.integers(TIMESTAMP_MIN * NANOSECONDS, TIMESTAMP_MAX * NANOSECONDS))
def test_an_instant_is_read_as_it_is_shown(nanoseconds: int) -> None:
    assert parse_timestamp(format_timestamp(Timestamp(nanoseconds))) == Timestamp(nanoseconds)


@given(st.integers(-(2**52), 2**52))
def test_a_span_is_read_as_it_is_shown_up_to_the_last_digit(nanoseconds: int) -> None:
    read = parse_duration(format_duration(Duration(nanoseconds)))
    assert abs(read.nanoseconds - nanoseconds) <= 1  # as in Go, seconds are a double on the way
