"""Conversions between types: `int("7")`, `string(1.5)`, `timestamp("…")`, and what cannot be converted."""

import math
import re
from typing import Final

from kubelite.cel import types
from kubelite.cel.arithmetic import int_of, timestamp_of, uint_of
from kubelite.cel.times import (
    NANOSECONDS,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    format_duration,
    format_timestamp,
    parse_duration,
    parse_timestamp,
)
from kubelite.cel.types import Type
from kubelite.cel.values import Duration, EvaluationFailed, Timestamp, UInt, Value, type_of

_INT: Final = re.compile(r"[+-]?[0-9]+")
_UINT: Final = re.compile(r"[0-9]+")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_HEXADECIMAL: Final = re.compile(
    r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+"
)
_BOOLS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def _impossible(value: Value, target: Type) -> EvaluationFailed:
    source = type_of(value)
    return EvaluationFailed(f"type conversion error from '{source.name}' to '{target.name}'")


def string_to_int(text: str) -> int:
    """Return the int that a text spells in decimal."""
    if _INT.fullmatch(text) is None or len(text) > 4000:
        raise _impossible(text, types.INT)
    try:
        return int_of(int(text))
    except EvaluationFailed:
        raise _impossible(text, types.INT) from None


def double_to_int(number: float) -> int:
    """Return a double without its fraction."""
    if not -(2.0**63) < number < 2.0**63:  # false for NaN as well
        raise EvaluationFailed("integer overflow")
    return int(number)


def uint_to_int(number: UInt) -> int:
    """Return a uint as an int."""
    return int_of(int(number))


def duration_to_int(value: Duration) -> int:
    """Return the nanoseconds of a span of time."""
    return value.nanoseconds


def timestamp_to_int(value: Timestamp) -> int:
    """Return the whole seconds since 1970."""
    return value.nanoseconds // NANOSECONDS


def string_to_uint(text: str) -> UInt:
    """Return the uint that a text spells in decimal."""
    if _UINT.fullmatch(text) is None or len(text) > 4000:
        raise _impossible(text, types.UINT)
    try:
        return uint_of(int(text))
    except EvaluationFailed:
        raise _impossible(text, types.UINT) from None


def double_to_uint(number: float) -> UInt:
    """Return a double without its fraction."""
    if not 0 <= number < 2.0**64:
        raise EvaluationFailed("unsigned integer overflow")
    return UInt(number)


def int_to_uint(number: int) -> UInt:
    """Return an int as a uint."""
    return uint_of(number)


def string_to_double(text: str) -> float:
    """Return the double that a text spells, in decimal or hexadecimal, or by name as in "inf"."""
    if _SPECIAL.fullmatch(text):
        return float(text)
    try:
        if _DECIMAL.fullmatch(text):
            number = float(text)
        elif _HEXADECIMAL.fullmatch(text):
            number = float.fromhex(text)
        else:
            raise _impossible(text, types.DOUBLE)
    except OverflowError:
        raise _impossible(text, types.DOUBLE) from None
    if math.isinf(number):
        raise _impossible(text, types.DOUBLE)
    return number


def to_double(number: int) -> float:
    """Return an int or uint as a double."""
    return float(number)


def string_to_bool(text: str) -> bool:
    """Return the bool that a text names."""
    try:
        return _BOOLS[text]
    except KeyError:
        raise _impossible(text, types.BOOL) from None


def string_to_bytes(text: str) -> bytes:
    """Return a text in UTF-8."""
    return text.encode(errors="surrogatepass")


def bytes_to_string(octets: bytes) -> str:
    """Return the text that bytes are in UTF-8."""
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise EvaluationFailed("invalid UTF-8 in bytes, cannot convert to string") from None


def bool_to_string(value: bool) -> str:
    """Return `true` or `false`."""
    return "true" if value else "false"


def int_to_string(number: int) -> str:
    """Return an int or uint in decimal."""
    return str(int(number))


def double_to_string(number: float) -> str:
    """Return the shortest text that makes a double, as Go's `%g`: with an exponent below -4 and from 6 on."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    digits, _, exponent = f"{number!r}".partition("e")
    sign = "-" if digits.startswith("-") else ""
    whole, _, fraction = digits.removeprefix("-").partition(".")
    significant = (whole + fraction).lstrip("0")
    if not significant:
        return f"{sign}0"
    point = len(whole) + int(exponent or "0")
    point -= len(whole + fraction) - len(significant)
    significant = significant.rstrip("0") or "0"
    return sign + _general(significant, point)


def _general(digits: str, point: int) -> str:
    """Return digits with a point behind the first `point` of them, or with an exponent where there are too many."""
    power = point - 1
    if power < -4 or power >= 6:
        mantissa = digits[0] + (f".{digits[1:]}" if len(digits) > 1 else "")
        return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def string_to_timestamp(text: str) -> Timestamp:
    """Return the instant of a text in RFC 3339."""
    try:
        return parse_timestamp(text)
    except ValueError:
        raise _impossible(text, types.TIMESTAMP) from None


def int_to_timestamp(seconds: int) -> Timestamp:
    """Return the instant so many seconds after 1970."""
    if not TIMESTAMP_MIN <= seconds <= TIMESTAMP_MAX:
        raise EvaluationFailed("timestamp overflow")
    return timestamp_of(seconds * NANOSECONDS)


def string_to_duration(text: str) -> Duration:
    """Return the span of time of a text in Go's notation."""
    try:
        return parse_duration(text)
    except ValueError:
        raise _impossible(text, types.DURATION) from None


def int_to_duration(number: int) -> Duration:
    """Refuse an int: its unit would be a guess."""
    raise _impossible(number, types.DURATION)


timestamp_to_string = format_timestamp
duration_to_string = format_duration
