"""Instants and spans of time: their texts in RFC 3339 and Go's notation, and their parts by the calendar.

Go's own parsers decide what is accepted, leniency included; calendars are Gregorian throughout.
"""

import re
from typing import Final
from zoneinfo import ZoneInfo

from kubelite.cel.values import INT_MAX, INT_MIN, Duration, EvaluationFailed, Timestamp
from kubelite.remembered import remembered

NANOSECONDS: Final = 1_000_000_000
TIMESTAMP_MIN: Final = -62135596800  # seconds: the beginning of the year 1
TIMESTAMP_MAX: Final = 253402300799  # seconds: the end of the year 9999
_DAY: Final = 86400
_RFC_3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d?):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_UNITS: Final = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 1_000_000,
    "s": NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "h": 3600 * NANOSECONDS,
}
_SPAN: Final = re.compile(r"(\d*)(?:\.(\d*))?([^\d.]+)", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_MONTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Moment:
    """An instant by the calendar of a place."""

    __slots__ = ("day", "day_of_year", "month", "seconds", "weekday", "year")

    def __init__(self, seconds: int) -> None:
        """`seconds` are those since 1970 by the clock of the place."""
        days, self.seconds = divmod(seconds, _DAY)
        self.weekday = (days + 4) % 7  # 0: Sunday
        self.year, self.month, self.day = _civil(days)
        self.day_of_year = days - _days(self.year, 1, 1)


def _civil(days: int) -> tuple[int, int, int]:
    """Return year, month and day of the days since 1970; by Howard Hinnant's `civil_from_days`."""
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day


def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970 of a date; by Howard Hinnant's `days_from_civil`."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return (
        era * 146097
        + year_of_era * 365
        + year_of_era // 4
        - year_of_era // 100
        + day_of_year
        - 719468
    )


def _days_in(year: int, month: int) -> int:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and is_leap else _MONTHS[month - 1]


def parse_timestamp(text: str) -> Timestamp:
    """Return the instant of a text in RFC 3339; raises ValueError, and EvaluationFailed outside of its range."""
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= _days_in(year, month)):
        raise ValueError(text)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(text)
    offset = 0
    if found[8]:
        hours, minutes = int(found[9]), int(found[10])
        if hours > 24 or minutes > 60:
            raise ValueError(text)
        offset = (hours * 3600 + minutes * 60) * (-1 if found[8] == "-" else 1)
    fraction = int((found[7] or "")[:9].ljust(9, "0"))
    seconds = _days(year, month, day) * _DAY + hour * 3600 + minute * 60 + second - offset
    if not TIMESTAMP_MIN <= seconds <= TIMESTAMP_MAX:
        raise EvaluationFailed("timestamp overflow")
    return Timestamp(seconds * NANOSECONDS + fraction, offset)


def format_timestamp(value: Timestamp) -> str:
    """Return the text of an instant in RFC 3339, with as many digits as it needs, in its own offset."""
    seconds, nanoseconds = divmod(value.nanoseconds, NANOSECONDS)
    at = Moment(seconds + value.offset)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    hours, rest = divmod(at.seconds, 3600)
    date = f"{at.year:04d}-{at.month:02d}-{at.day:02d}"
    clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{date}T{clock}{fraction}{_offset_text(value.offset)}"


def _offset_text(offset: int) -> str:
    if not offset:
        return "Z"
    minutes = abs(offset) // 60
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def parse_duration(text: str) -> Duration:
    """Return the span of time of a text in Go's notation, as in `1h30m`; raises ValueError."""
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return Duration(0)
    if not rest:
        raise ValueError(text)
    total = 0
    position = 0
    while position < len(rest):
        found = _SPAN.match(rest, position)
        if found is None or not (found[1] or found[2]) or found[3] not in _UNITS:
            raise ValueError(text)
        total += _span(found[1], found[2] or "", _UNITS[found[3]])
        position = found.end()
        if total > INT_MAX + 1:
            raise ValueError(text)
    if not INT_MIN <= sign * total <= INT_MAX:
        raise ValueError(text)
    return Duration(sign * total)


def _span(whole: str, fraction: str, unit: int) -> int:
    if len(whole) > 30:
        raise ValueError(whole)
    fraction = fraction[:18]
    part = int(int(fraction or "0") * (unit / 10 ** len(fraction)))
    return int(whole or "0") * unit + part


def seconds_of(value: Duration, unit: int = NANOSECONDS) -> float:
    """Return a span of time in seconds, or in another unit of so many nanoseconds."""
    nanoseconds = abs(value.nanoseconds)
    number = nanoseconds // unit + (nanoseconds % unit) / unit
    return -number if value.nanoseconds < 0 else number


def format_duration(value: Duration) -> str:
    """Return a span of time in seconds, as in `1.5s`."""
    return f"{_plain(seconds_of(value))}s"


def _plain(number: float) -> str:
    """Return the shortest digits that make a double, without an exponent."""
    text = repr(number)
    if "e" in text:
        digits, _, exponent = text.partition("e")
        text = f"{number:.{max(0, -int(exponent)) + len(digits.replace('.', '').lstrip('-')) - 1}f}"
    return text.removesuffix(".0")


def moment(value: Timestamp, zone: str) -> Moment:
    """Return an instant by the calendar of a time zone: a name, or an offset as in `-08:00`."""
    seconds = value.nanoseconds // NANOSECONDS
    return Moment(seconds + _offset(seconds, zone))


def _offset(seconds: int, zone: str) -> int:
    hours, colon, minutes = zone.partition(":")
    if colon:
        sign = -1 if zone.startswith("-") else 1
        return (_integer(hours) * 60 + sign * _integer(minutes)) * 60
    if zone in ("", "UTC", "Local"):
        return 0
    try:
        located = _zone(zone)
    except (ValueError, OSError, KeyError) as error:  # not found is a KeyError
        raise EvaluationFailed(f"unknown time zone {zone}") from error
    return _zone_offset(seconds, located)


def _integer(text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        raise EvaluationFailed(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


@remembered(64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _zone_offset(seconds: int, zone: ZoneInfo) -> int:
    from datetime import UTC, datetime, timedelta

    try:
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        offset = instant.astimezone(zone).utcoffset()
    except OverflowError:  # within a day of the first or the last instant
        return 0
    return 0 if offset is None else int(offset.total_seconds())
