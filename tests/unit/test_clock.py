from datetime import UTC, datetime, timedelta

from kubelite.clock import SetClock, SystemClock


def test_the_machines_clock_tells_an_aware_date_in_utc() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert SystemClock().now() >= now


def test_a_clock_that_was_set_stands() -> None:
    date = datetime(2026, 1, 1, tzinfo=UTC)
    assert SetClock(date).now() == date
