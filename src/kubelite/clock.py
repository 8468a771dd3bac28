"""The wall clock, injected so that a simulation can advance it.

Durations and deadlines use the running loop's `time()`; only dates that are written into objects, certificates or
logs come from here.
"""

from datetime import UTC, datetime
from typing import Final, Protocol

# A clock that shows an earlier date than this release is wrong.
OLDEST_SANE_DATE: Final = datetime(2026, 7, 1, tzinfo=UTC)


def is_sane(now: datetime) -> bool:
    """Return whether the date is not earlier than this release."""
    return now >= OLDEST_SANE_DATE


class Clock(Protocol):
    """A source of the current date."""

    def now(self) -> datetime:
        """Return the date, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the date, aware, in UTC."""
        return datetime.now(UTC)


class SetClock:
    """A clock that stands still until `date` is set; for tests and simulations only."""

    def __init__(self, date: datetime) -> None:
        self.date = date

    def now(self) -> datetime:
        """Return the date that was set."""
        return self.date
