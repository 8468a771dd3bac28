"""Values that JSON has no type for."""

from collections.abc import Callable
from typing import Any

import pytest

from kubelite.api.machinery.expressions import scalars
from kubelite.cel.values import Duration, EvaluationFailed, Timestamp

DAY = 86_400 * 10**9


@pytest.mark.parametrize(
    ("read", "given", "value"),
    [
        (scalars.read_duration, "1h30m", Duration(5400 * 10**9)),
        (scalars.read_duration, "3 days", Duration(3 * DAY)),
        (scalars.read_duration, "1 week 2 d", Duration(9 * DAY)),
        (scalars.read_datetime, "1970-01-02T00:00:00Z", Timestamp(DAY)),
        (scalars.read_datetime, "1970-01-02T00:00:00", Timestamp(DAY)),
        (scalars.read_datetime, "", Timestamp(0)),
        (scalars.read_date, "1970-01-02", Timestamp(DAY)),
        (scalars.read_bytes, "aGk=", b"hi"),
        (scalars.read_double, 3, 3.0),
        (scalars.read_integer, 3, 3),
        (scalars.read_duration, None, None),
        (scalars.read_double, None, None),
    ],
)
def test_what_is_read(read: Callable[[Any], Any], given: Any, value: Any) -> None:
    found = read(given)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("read", "given", "text"),
    [
        (scalars.read_duration, "soon", "Invalid duration soon: unable to parse soon as duration"),
        (scalars.read_duration, f"{'9' * 30} days", "value out of range"),
        (scalars.read_datetime, "soon", "Invalid date-time formatted string soon"),
        (scalars.read_date, "1970-01-32", "Invalid date formatted string 1970-01-32"),
        (scalars.read_bytes, "?", "Invalid byte formatted string ?"),
        (scalars.read_double, "1", "invalid data, expected float, got string"),
        (scalars.read_integer, 1.5, "invalid data, expected int, got float64"),
        (scalars.read_date, 5, "invalid data, expected string, got int64"),
    ],
)
def test_what_cannot_be_read(read: Callable[[Any], Any], given: Any, text: str) -> None:
    with pytest.raises(EvaluationFailed) as failed:
        read(given)
    assert text in failed.value.text
