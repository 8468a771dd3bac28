"""The wall clock, injected so that a simulation can advance it.

Durations and deadlines use the running loop's `time()`; only dates that end up in objects, certificates or logs
come from here.
"""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the date."""

    def now(self) -> datetime:
        """Return the date, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the date, aware, in UTC."""
        return datetime.now(UTC)


def timestamp(date: datetime) -> str:
    """Return a date as objects carry it (`Time`): RFC 3339 in UTC, whole seconds."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(date: datetime) -> str:
    """Return a date as leases and events carry it (`MicroTime`): RFC 3339 in UTC, six decimals."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def date_of(text: str) -> datetime:
    """Return the date that a `Time` or `MicroTime` says; raises ValueError."""
    date = datetime.fromisoformat(text)
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


class SetClock:
    """Stands where it was set; for tests and simulations only."""

    def __init__(self, date: datetime) -> None:
        self.date = date

    def now(self) -> datetime:
        """Return the date that was set."""
        return self.date
