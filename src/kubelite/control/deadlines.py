"""Dates that lie some seconds from another, however many an object says: its seconds are 64-bit numbers."""

from datetime import UTC, datetime, timedelta

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def shifted(date: datetime, seconds: int) -> datetime:
    """Return the date so many seconds later, or earlier; the first or last date there is if it lies beyond."""
    try:
        return date + timedelta(seconds=seconds)
    except OverflowError:
        return LAST if seconds > 0 else FIRST
