"""Converts what lies in JSON to values of expressions, where JSON has no such type: times, bytes, doubles.

What does not fit raises EvaluationFailed with Kubernetes' text: it is the error of the rule that reads it.
"""

import base64
import binascii
import re
from typing import Any, Final

from kubelite.cel.times import parse_duration, parse_timestamp
from kubelite.cel.values import INT_MAX, INT_MIN, Duration, EvaluationFailed, Timestamp

_AMOUNT = re.compile(r"(?<![0-9])([0-9]++)[\t\n\f\r ]*+([A-Za-z\u00b5]++)")
_NANOSECONDS: Final = {
    ("ns",): 1,
    ("us", "\u00b5s"): 1_000,
    ("ms",): 1_000_000,
    ("s",): 1_000_000_000,
    ("m",): 60_000_000_000,
    ("h", "hr"): 3_600_000_000_000,
    ("d",): 86_400_000_000_000,
    ("w", "wk"): 604_800_000_000_000,
}
_UNITS: Final = {unit: each for units, each in _NANOSECONDS.items() for unit in units}
_BEGINNINGS: Final = (
    ("nano", 1),
    ("micro", 1_000),
    ("milli", 1_000_000),
    ("sec", 1_000_000_000),
    ("min", 60_000_000_000),
    ("hour", 3_600_000_000_000),
    ("day", 86_400_000_000_000),
    ("week", 604_800_000_000_000),
)
_EPOCH: Final = Timestamp(0)


def read_duration(value: Any) -> Any:
    """Return a span of time, in Go's notation or as in ``3 days``."""
    if value is None:
        return None
    text = _text(value)
    try:
        return parse_duration(text)
    except ValueError:
        pass
    total, found = 0, False
    for amount, unit in _AMOUNT.findall(text):
        if len(amount.lstrip("0")) > 19 or int(amount) > INT_MAX:
            raise EvaluationFailed(
                f'Invalid duration {text}: strconv.Atoi: parsing "{amount}": value out of range'
            )
        each = _unit(unit.lower())
        if each:
            found = True
            total += int(amount) * each
    if not found:
        raise EvaluationFailed(f"Invalid duration {text}: unable to parse {text} as duration")
    return Duration((total - INT_MIN) % (1 << 64) + INT_MIN)  # as integers of 64 bits wrap around


def _unit(name: str) -> int:
    if name in _UNITS:
        return _UNITS[name]
    return next((each for start, each in _BEGINNINGS if name.startswith(start)), 0)


def read_datetime(value: Any) -> Any:
    """Return an instant; without an offset it is in UTC."""
    if value is None:
        return None
    text = _text(value)
    if not text:
        return _EPOCH
    for whole in (text, f"{text}Z"):
        try:
            return parse_timestamp(whole)
        except ValueError:
            continue
    raise EvaluationFailed(f"Invalid date-time formatted string {text}")


def read_date(value: Any) -> Any:
    """Return the instant at which a day begins in UTC."""
    if value is None:
        return None
    text = _text(value)
    try:
        return parse_timestamp(f"{text}T00:00:00Z")
    except ValueError:
        raise EvaluationFailed(f"Invalid date formatted string {text}") from None


def read_bytes(value: Any) -> Any:
    """Return the bytes of a text in base64."""
    if value is None:
        return None
    text = _text(value)
    try:
        return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvaluationFailed(f"Invalid byte formatted string {text}: {error}") from None


def read_double(value: Any) -> Any:
    """Return a number as a double."""
    kind = value.__class__
    if kind is int:
        return float(value)
    if kind is float or value is None:
        return value
    raise EvaluationFailed(f"invalid data, expected float, got {_go_type(value)}")


def read_integer(value: Any) -> Any:
    """Return a whole number."""
    if value.__class__ is int or value is None:
        return value
    raise EvaluationFailed(f"invalid data, expected int, got {_go_type(value)}")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise EvaluationFailed(f"invalid data, expected string, got {_go_type(value)}")


_GO_TYPES: Final = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
    list: "[]interface {}",
    dict: "map[string]interface {}",
}


def _go_type(value: Any) -> str:
    return _GO_TYPES.get(value.__class__, "<nil>")
