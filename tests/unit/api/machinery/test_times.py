"""Dates and durations."""

from datetime import UTC, datetime, timedelta

import pytest

from kubelite.api.machinery.times import (
    age,
    format_micro_time,
    format_time,
    human_duration,
    parse_duration,
    parse_time,
    time_zone,
)


def test_dates_round_trip() -> None:
    date = parse_time("2026-01-02T03:04:05.678901Z")
    assert format_time(date) == "2026-01-02T03:04:05Z"
    assert format_micro_time(date) == "2026-01-02T03:04:05.678901Z"
    assert format_time(parse_time("2026-01-02T03:04:05+02:00")) == "2026-01-02T01:04:05Z"
    assert format_time(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("text", ["", "today", "2026-01-02", "2026-13-02T03:04:05Z"])
def test_refusals(text: str) -> None:
    with pytest.raises(ValueError, match="parsing time"):
        parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-2, "<invalid>"),
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (3600, "60m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (10 * 3600, "10h"),
        (50 * 3600, "2d2h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_human_durations(seconds: int, shown: str) -> None:
    assert human_duration(seconds) == shown


def test_age() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert age("2026-01-01T00:00:00Z", now) == "60s"
    assert age(None, now) == age("nonsense", now) == "<unknown>"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("-2m", -120),
        ("0", 0),
        (".5h", 1800),
        ("2.h", 7200),
        ("+1s", 1),
        ("100us", 0.0001),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5x",
        "s",
        "1h ",
        "\u0665s",
        "9" * 60 + "h",
        "1s" * 100,
        "--1s",
        "1h 1m",
        "1s-1s",
        "1e3s",
        "1d",
    ],
)
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "name", ["Europe/Berlin", "UTC", "Etc/GMT+10", "America/Argentina/Ushuaia"]
)
def test_time_zones(name: str) -> None:
    assert str(time_zone(name)) == name
