from datetime import UTC, datetime, timedelta, timezone

import pytest

from kubelite.clock import date_of, micro_timestamp, timestamp


def test_dates_are_written_in_utc_and_read_back() -> None:
    date = datetime(2026, 1, 2, 5, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(date) == "2026-01-02T03:04:05Z"
    assert micro_timestamp(date) == "2026-01-02T03:04:05.000678Z"
    assert date_of(micro_timestamp(date)) == date
    assert date_of("2026-01-02T03:04:05") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        date_of("yesterday")
