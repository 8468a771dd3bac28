"""Date arithmetic that cannot overflow: the seconds in an object are 64-bit numbers."""

from datetime import UTC, datetime, timedelta

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def shifted(date: datetime, seconds: int) -> datetime:
    """Return the date `seconds` later, or earlier if negative; clamped to the range of datetime."""
    try:
        return date + timedelta(seconds=seconds)
    except OverflowError:
        return LAST if seconds > 0 else FIRST
