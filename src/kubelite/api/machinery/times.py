"""Dates as Kubernetes writes them, and the durations that kubectl shows.

`Time` has whole seconds, `MicroTime` six decimals, both in UTC with a ``Z``.
"""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_LAYOUT = "2006-01-02T15:04:05Z07:00"
# The names of the time zone database have at most three parts. Python looks a name up as a path and as a package, part by
# part, so that a name of a thousand parts ends in a RecursionError.
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII).fullmatch

MINUTE, HOUR, DAY = 60, 3600, 86400
YEAR = 365 * DAY


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 date with any offset and fraction into an aware date in UTC.

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


def time_zone(name: str) -> ZoneInfo:
    """Return a zone of the time zone database, such as ``Europe/Berlin``.

    Raises:
        ValueError: There is none of that name.
    """
    if _ZONE(name) is None:
        raise ValueError(f"unknown time zone {name}")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as error:  # OSError: it is a folder of the database
        raise ValueError(f"unknown time zone {name}") from error


def format_time(date: datetime) -> str:
    """Write a `Time`: whole seconds, cut off and not rounded."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20)


def format_micro_time(date: datetime) -> str:
    """Write a `MicroTime`: six decimals."""
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").zfill(27)


def seconds_between(start: str, end: datetime) -> float:
    """Return how long after the written date `start` the date `end` is."""
    return (end - parse_time(start)).total_seconds()


# Durations below the bound are shown in the unit, and in the smaller unit too where there is one.
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
    """Show a duration with two or three significant digits, as kubectl's AGE column does."""
    whole = int(seconds)
    if whole < 0:
        return "<invalid>" if whole < -1 else "0s"
    for bound, unit, name, smaller, smaller_name in _SCALES:
        if whole < bound:
            rest = whole % unit // smaller if smaller else 0
            return f"{whole // unit}{name}" + (f"{rest}{smaller_name}" if rest else "")
    return f"{whole // YEAR}y"


def age(timestamp: str | None, now: datetime) -> str:
    """Show how long ago a written date was; `<unknown>` where there is none."""
    if not timestamp:
        return "<unknown>"
    try:
        return human_duration(seconds_between(timestamp, now))
    except ValueError:
        return "<unknown>"
