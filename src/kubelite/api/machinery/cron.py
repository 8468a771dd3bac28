"""Cron schedules, parsed and evaluated as by Kubernetes' CronJobs (the rules of robfig/cron v3, ParseStandard).

Five fields of numbers, names, ranges and steps, or a descriptor such as ``@daily`` or ``@every 1h30m``. ``?`` is ``*``.
A day has to match both day fields if one of them is ``*``, else either; ``*/2`` is no ``*``, ``*/1`` is. Sunday is 0,
not 7. A schedule follows the clock on the wall of its time zone: an hour that comes twice in autumn counts twice, one
that is left out in spring does not come.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple, Protocol

from kubelite.api.machinery.times import parse_duration, time_zone
from kubelite.remembered import remembered

EVERY = "@every "
YEARS_AHEAD = 5  # a schedule that is not due within them is never due
SHOWN_MAX = 200  # characters of a schedule shown in an error
INT64_MAX = 2**63 - 1
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
WEEKDAYS = "sun mon tue wed thu fri sat"


class InvalidCron(ValueError):
    """The schedule is malformed; the message is Kubernetes'."""


class Schedule(Protocol):
    """A rule for when something is due."""

    def after(self, date: datetime) -> datetime | None:
        """Return the first time later than `date`, in whole seconds of UTC; None if there is none."""
        ...


class Interval(NamedTuple):
    """Due at a fixed interval, counted from the last due time."""

    seconds: int

    def after(self, date: datetime) -> datetime | None:
        """Return the date one interval later, at most the last date of datetime."""
        try:
            return date.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=self.seconds)
        except OverflowError:
            return datetime.max.replace(microsecond=0, tzinfo=UTC)


class Field(NamedTuple):
    """The values of one field."""

    values: frozenset[int]
    has_star: bool = False


class Range(NamedTuple):
    """The bounds of a field, and the names that it accepts."""

    low: int
    high: int
    names: Mapping[str, int] = {}


MINUTE, HOUR, DAY = Range(0, 59), Range(0, 23), Range(1, 31)
MONTH = Range(1, 12, {name: number + 1 for number, name in enumerate(MONTHS.split())})
WEEKDAY = Range(0, 6, {name: number for number, name in enumerate(WEEKDAYS.split())})


class Calendar(NamedTuple):
    """Due at the minutes that match five fields, in a time zone."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    zone: tzinfo

    def after(self, date: datetime) -> datetime | None:
        """Return the next time that matches; None if there is none within five years."""
        wall = _Wall(int(date.timestamp()) + 1, self.zone)
        last_year = wall.now.year + YEARS_AHEAD
        while wall.now.year <= last_year:
            if self._advance(wall):
                return datetime.fromtimestamp(wall.instant, UTC)
        return None

    def _advance(self, wall: "_Wall") -> bool:
        """Advance field by field to the next match; False if a field wrapped: check the larger ones again."""
        while wall.now.month not in self.month.values:
            wall.to_next_month()
            if wall.now.month == 1:
                return False
        while not self._is_day(wall.now):
            wall.to_next_day()
            if wall.now.day == 1:
                return False
        while wall.now.hour not in self.hour.values:
            wall.to_next_hour()
            if wall.now.hour == 0:
                return False
        while wall.now.second or wall.now.minute not in self.minute.values:
            wall.to_next_minute()
            if wall.now.minute == 0:
                return False
        return True

    def _is_day(self, day: datetime) -> bool:
        in_month, in_week = day.day in self.day.values, day.isoweekday() % 7 in self.weekday.values
        if self.day.has_star or self.weekday.has_star:
            return in_month and in_week
        return in_month or in_week


class _Wall:
    """A wall-clock time in a zone, advanced step by step as Go's `time` and robfig/cron do.

    The first step sets the smaller units to their first values. After that only a change of the UTC offset moves them.
    """

    def __init__(self, instant: int, zone: tzinfo) -> None:
        self.instant = instant  # seconds since 1970, UTC
        self._zone = zone
        self._has_moved = False
        self.now = datetime.fromtimestamp(instant, zone)

    def to_next_month(self) -> None:
        """Advance to the next month."""
        wall = self._begin(day=1, hour=0, minute=0, second=0)
        year, month = wall.year + wall.month // 12, wall.month % 12 + 1
        # A day that the month does not have overflows into the following month.
        self._set(wall.replace(year=year, month=month, day=1) + timedelta(days=wall.day - 1))

    def to_next_day(self) -> None:
        """Advance to the next midnight, or to where it would be."""
        self._set(self._begin(hour=0, minute=0, second=0) + timedelta(days=1))
        # If a change of the UTC offset skips or repeats midnight the hour is not 0, so correct it.
        if self.now.hour:
            self._move((24 - self.now.hour if self.now.hour > 12 else -self.now.hour) * 3600)

    def to_next_hour(self) -> None:
        """Advance an hour, from the start of the hour."""
        if not self._has_moved:
            self._set(self._begin(minute=0, second=0))
        self._move(3600)

    def to_next_minute(self) -> None:
        """Advance to the start of the next minute."""
        self._has_moved = True
        self._move(60 - self.now.second)

    def _begin(self, **units: int) -> datetime:
        """Return the local time; at the first step with the smaller units at their first values."""
        wall = self.now.replace(tzinfo=None, fold=0)
        if not self._has_moved:
            self._has_moved = True
            wall = wall.replace(**units)  # type: ignore[arg-type]  # units of a date are numbers
            self._set(wall)
            wall = self.now.replace(tzinfo=None, fold=0)
        return wall

    def _move(self, seconds: int) -> None:
        self.instant += seconds
        self.now = datetime.fromtimestamp(self.instant, self._zone)

    def _set(self, wall: datetime) -> None:
        """Set the instant at which the local time is `wall`, or would be if a change of the offset did not skip it."""
        seconds = int(wall.replace(tzinfo=UTC).timestamp())
        self.instant = seconds - self._offset(seconds - self._offset(seconds))
        self.now = datetime.fromtimestamp(self.instant, self._zone)

    def _offset(self, instant: int) -> int:
        offset = datetime.fromtimestamp(instant, self._zone).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())


def last_due(schedule: Schedule, since: datetime, now: datetime) -> datetime | None:
    """Return the last time in (since, now] at which `schedule` was due, by bisection; None if there was none."""
    if isinstance(schedule, Interval):
        passed = int((now - since).total_seconds()) // schedule.seconds
        return since + timedelta(seconds=passed * schedule.seconds) if passed > 0 else None
    last = schedule.after(since)
    if last is None or last > now:
        return None
    low, high = int(last.timestamp()), int(now.timestamp())
    while low < high:
        middle = (low + high) // 2
        due = schedule.after(datetime.fromtimestamp(middle, UTC))
        if due is not None and due <= now:
            last, low = due, int(due.timestamp())
        else:
            high = middle
    return last


@remembered(512)
def parse_cron(text: str) -> Schedule:
    """Parse a schedule, in UTC unless it begins with ``TZ=`` or ``CRON_TZ=``; raises InvalidCron."""
    return parse_cron_in(text, UTC)


def parse_cron_in(text: str, zone: tzinfo) -> Schedule:
    """Parse a schedule in a time zone; raises InvalidCron."""
    if not text:
        raise InvalidCron("empty spec string")
    if text.startswith(("TZ=", "CRON_TZ=")):
        name, _, text = text.partition("=")[2].partition(" ")
        try:
            zone = time_zone(name)
        except ValueError as error:
            raise InvalidCron(f"provided bad location {_cut(name)}: {error}") from error
        text = text.strip()
    if text.startswith(EVERY):
        return _interval(text)
    if text.startswith("@") and text not in DESCRIPTORS:
        raise InvalidCron(f"unrecognized descriptor: {_cut(text)}")
    fields = DESCRIPTORS.get(text, text).split()
    if len(fields) != 5:
        raise InvalidCron(
            f"expected exactly 5 fields, found {len(fields)}: [{_cut(' '.join(fields))}]"
        )
    minute, hour, day, month, weekday = fields
    return Calendar(
        _field(minute, MINUTE),
        _field(hour, HOUR),
        _field(day, DAY),
        _field(month, MONTH),
        _field(weekday, WEEKDAY),
        zone,
    )


def _interval(text: str) -> Interval:
    try:
        delay = parse_duration(text.removeprefix(EVERY))
    except ValueError as error:
        raise InvalidCron(f"failed to parse duration {_cut(text)}: {error}") from error
    return Interval(max(delay // timedelta(seconds=1), 1))


def _field(text: str, bounds: Range) -> Field:
    values: set[int] = set()
    has_star = False
    for part in filter(None, text.split(",")):
        found, starred = _part(part, bounds)
        values.update(found)
        has_star |= starred
    return Field(frozenset(values), has_star)


def _part(text: str, bounds: Range) -> tuple[range, bool]:
    """Parse ``N``, ``N-M``, ``*`` or one of them with ``/step``; return the values and whether it is a star."""
    span, *steps = text.split("/")
    low, *highs = span.split("-")
    has_star = low in ("*", "?")
    if has_star:
        start, end = bounds.low, bounds.high
    else:
        if len(highs) > 1:
            raise InvalidCron(f"too many hyphens: {_cut(text)}")
        start = _number(low, bounds.names)
        end = _number(highs[0], bounds.names) if highs else start
    step = 1
    if len(steps) > 1:
        raise InvalidCron(f"too many slashes: {_cut(text)}")
    if steps:
        step = _number(steps[0], {})
        if not highs:  # N/step means N-max/step
            end = bounds.high
        has_star = has_star and step <= 1
    _check(start, end, step, bounds, text)
    return range(start, end + 1, step), has_star


def _check(start: int, end: int, step: int, bounds: Range, text: str) -> None:
    shown = _cut(text)
    if start < bounds.low:
        raise InvalidCron(f"beginning of range ({start}) below minimum ({bounds.low}): {shown}")
    if end > bounds.high:
        raise InvalidCron(f"end of range ({end}) above maximum ({bounds.high}): {shown}")
    if start > end:
        raise InvalidCron(f"beginning of range ({start}) beyond end of range ({end}): {shown}")
    if step == 0:
        raise InvalidCron(f"step of range should be a positive number: {shown}")


def _number(text: str, names: Mapping[str, int]) -> int:
    if (named := names.get(text.lower())) is not None:
        return named
    digits = text.removeprefix("-") if text[:1] == "-" else text.removeprefix("+")
    shown = _cut(text)
    failed = f'failed to parse int from {shown}: strconv.Atoi: parsing "{shown}"'
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidCron(f"{failed}: invalid syntax")
    if len(digits.lstrip("0")) > len(str(INT64_MAX)) or int(digits) > INT64_MAX:
        raise InvalidCron(f"{failed}: value out of range")
    number = int(text)
    if number < 0:
        raise InvalidCron(f"negative number ({number}) not allowed: {shown}")
    return number


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
