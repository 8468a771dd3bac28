from datetime import UTC, datetime, timedelta

import pytest

from kubelite.api.kinds.batch import CronJob, CronJobSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control import indexes
from kubelite.control.cronjob import SCHEDULED_AT, InvalidSchedule, job_for, times
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


def test_the_hour_that_comes_twice_in_autumn_is_not_silent() -> None:
    # 01:40 by the clock of New York, for the second time.
    now = datetime(2026, 11, 1, 6, 40, 20, tzinfo=UTC)
    found = times("* * * * *", "America/New_York", now - timedelta(minutes=2), now)
    assert found.last == now.replace(second=0)
    assert found.next == now.replace(second=0) + timedelta(minutes=1)


def test_a_day_that_never_comes_is_told_by_an_event_of_its_own() -> None:
    with pytest.raises(InvalidSchedule, match="invalid schedule: 0 0 31 2 ") as wrong:
        times("0 0 31 2 *", None, NOW, NOW)
    assert wrong.value.reason == "InvalidSchedule"
    with pytest.raises(InvalidSchedule) as wrong:
        times("x", None, NOW, NOW)
    assert wrong.value.reason == "UnparseableSchedule"


@pytest.mark.parametrize(("minutes", "many"), [(100, False), (101, True), (10**8, True)])
def test_more_than_a_hundred_missed_times_are_told(minutes: int, many: bool) -> None:
    since = datetime(1, 1, 1, tzinfo=UTC) if minutes > 10**6 else NOW - timedelta(minutes=minutes)
    assert times("* * * * *", None, since, NOW).has_missed_many is many


def test_a_job_tells_its_time_by_the_clock_of_its_zone() -> None:
    cron = CronJob(metadata=ObjectMeta(name="c"), spec=CronJobSpec(timeZone="Europe/Berlin"))
    due = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert job_for(cron, due).metadata.annotations[SCHEDULED_AT] == "2026-07-01T14:00:00+02:00"
    cron = CronJob(metadata=ObjectMeta(name="c"), spec=CronJobSpec())
    assert job_for(cron, due).metadata.annotations[SCHEDULED_AT] == "2026-07-01T12:00:00Z"


def test_index_sets_are_written_and_read() -> None:
    assert str(IndexSet.of({0, 1, 2, 5, 7, 8})) == "0-2,5,7,8"
    assert indexes.parse("0-2,5,7,8") == IndexSet.of({0, 1, 2, 5, 7, 8})
    assert indexes.parse("") == IndexSet()
    assert str(IndexSet()) == ""
