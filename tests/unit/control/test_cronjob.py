from datetime import UTC, datetime, timedelta

import pytest

from kubelite.control import indexes
from kubelite.control.cronjob import InvalidSchedule, times
from kubelite.control.indexes import IndexSet

NOW = datetime(2026, 3, 1, 12, 30, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "last", "following"),
    [
        ("*/10 * * * *", None, "12:30", "12:40"),
        ("0 * * * *", None, "12:00", "13:00"),
        ("@hourly", None, "12:00", "13:00"),
        ("0 14 * * *", "Europe/Berlin", None, "13:00"),
        ("30 12 * * *", "Etc/UTC", "12:30", "12:30"),
        ("@every 25m", None, "11:55", "12:45"),
    ],
)
def test_last_and_next(schedule: str, zone: str | None, last: str | None, following: str) -> None:
    since = (
        NOW - timedelta(hours=1)
        if "every" not in schedule
        else datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    )
    found = times(schedule, zone, since, NOW)
    if schedule == "@every 25m":
        last = "12:20"
    assert (found.last and f"{found.last:%H:%M}") == last
    assert f"{found.next:%H:%M}" == following


@pytest.mark.parametrize(
    ("schedule", "zone"),
    [
        ("x", None),
        ("61 * * * *", None),
        ("* * * * *", "Nowhere/X"),
        ("* * * * *", "Europe"),
        ("* * * * *", "a/" * 2000 + "b"),
        ("* * * * *", "UTC" * 3000),
        ("* * * * *", "../../etc/localtime"),
        ("@every 5x", None),
        ("@every " + "9" * 5000 + "h", None),
        ("@every " + "9" * 60 + "h", None),
        ("9" * 5000 + " * * * *", None),
    ],
)
def test_what_cannot_be_read(schedule: str, zone: str | None) -> None:
    with pytest.raises(InvalidSchedule):
        times(schedule, zone, NOW, NOW)


def test_index_sets_are_written_and_read() -> None:
    assert str(IndexSet.of({0, 1, 2, 5, 7, 8})) == "0-2,5,7,8"
    assert indexes.parse("0-2,5,7,8") == IndexSet.of({0, 1, 2, 5, 7, 8})
    assert indexes.parse("") == IndexSet()
    assert str(IndexSet()) == ""
