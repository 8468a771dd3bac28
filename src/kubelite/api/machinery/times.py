"""Dates in Kubernetes' text form, and durations as kubectl shows them.

`Time` has whole seconds, `MicroTime` six decimals, both in UTC with a ``Z``.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_LAYOUT = "2006-01-02T15:04:05Z07:00"
_DURATION_LENGTH_MAX = 64
_DURATION_MAX_SECONDS = 2**63 // 10**9  # the range of Go's time.Duration
_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
_UNIT = "(?:ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"([+-]?)(0|(?:{_NUMBER}{_UNIT})+)", re.ASCII).fullmatch
_DURATION_PART = re.compile(rf"({_NUMBER})({_UNIT})", re.ASCII).findall
_UNITS = {
    unit: Decimal(seconds)
    for unit, seconds in {
        "ns": "1e-9",
        "us": "1e-6",
        "µs": "1e-6",
        "μs": "1e-6",
        "ms": "1e-3",
        "s": "1",
        "m": "60",
        "h": "3600",
    }.items()
}
# The names of the time zone database have at most three parts. Python resolves a name as a path and as a package, part
# by part, so a name of a thousand parts would raise a RecursionError.
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII).fullmatch

MINUTE, HOUR, DAY = 60, 3600, 86400
YEAR = 365 * DAY


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 date with any offset and fraction to an aware date in UTC.

    Raises:
        ValueError: It is not such a date.
    """
    matched = _RFC3339(text)
    if matched is None:
        raise ValueError(f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{text}" as "2006"')
    seconds, fraction, zone = matched.groups()
    try:
        date = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone))
        if fraction:
            date = date.replace(microsecond=int(fraction[:6].ljust(6, "0")))
        return date.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'parsing time "{text}": day out of range') from error


def time_zone(name: str) -> tzinfo:
    """Return a zone of the time zone database, such as ``Europe/Berlin``.

    Raises:
        ValueError: No zone has that name.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if _ZONE(name) is None:
        raise ValueError(f"unknown time zone {name}")
    try:
        return ZoneInfo(name)
    except (
        ZoneInfoNotFoundError,
        OSError,
    ) as error:  # OSError: the name is a folder of the database
        raise ValueError(f"unknown time zone {name}") from error


def parse_duration(text: str) -> timedelta:
    """Parse a duration in Go's form, such as ``1h30m`` or ``-1.5s``; fractions of a microsecond are dropped.

    Raises:
        ValueError: It is none, or longer than 290 years.
    """
    matched = _DURATION(text) if len(text) <= _DURATION_LENGTH_MAX else None
    if matched is None:
        raise ValueError(f'time: invalid duration "{text[:_DURATION_LENGTH_MAX]}"')
    parts = _DURATION_PART(matched[2])
    seconds = sum((Decimal(number) * _UNITS[unit] for number, unit in parts), Decimal(0))
    if seconds > _DURATION_MAX_SECONDS:
        raise ValueError(f'time: invalid duration "{text}"')
    return timedelta(microseconds=int(seconds * 1_000_000)) * (-1 if matched[1] == "-" else 1)


def format_time(date: datetime) -> str:
    """Format a `Time`: whole seconds, truncated, not rounded."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def format_micro_time(date: datetime) -> str:
    """Format a `MicroTime`: six decimals."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def seconds_between(start: str, end: datetime) -> float:
    """Return the seconds from `start`, an RFC 3339 text, to `end`."""
    return (end - parse_time(start)).total_seconds()


# Durations below the bound are shown in the unit, and in the smaller unit if there is one.
_SCALES = (
    (2 * MINUTE, 1, "s", 0, ""),
    (10 * MINUTE, MINUTE, "m", 1, "s"),
    (3 * HOUR, MINUTE, "m", 0, ""),
    (8 * HOUR, HOUR, "h", MINUTE, "m"),
    (2 * DAY, HOUR, "h", 0, ""),
    (8 * DAY, DAY, "d", HOUR, "h"),
    (2 * YEAR, DAY, "d", 0, ""),
    (8 * YEAR, YEAR, "y", DAY, "d"),
)


def human_duration(seconds: float) -> str:
    """Format a duration with two or three significant digits, as in kubectl's AGE column."""
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    for bound, unit, name, smaller, smaller_name in _SCALES:
        if whole < bound:
            rest = whole % unit // smaller if smaller else 0
            return f"{whole // unit}{name}" + (f"{rest}{smaller_name}" if rest else "")
    return f"{whole // YEAR}y"


def age(timestamp: str | None, now: datetime) -> str:
    """Format the time since an RFC 3339 date; `<unknown>` if there is none."""
    if not timestamp:
        return "<unknown>"
    try:
        return human_duration(seconds_between(timestamp, now))
    except ValueError:
        return "<unknown>"
