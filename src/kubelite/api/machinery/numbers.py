"""Parses numbers as Go does. Python's `int` accepts underscores and all scripts, and raises for thousands of digits."""

_DIGITS_MAX = 19  # digits of a 64-bit number


def integer(text: str, *, bits: int = 64) -> int | None:
    """Return the signed decimal number in a text; None if it is malformed or exceeds `bits` (Go's strconv.ParseInt)."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdigit():
        return None
    digits = digits.lstrip("0") or "0"
    if len(digits) > _DIGITS_MAX:
        return None
    number = -int(digits) if text[0] == "-" else int(digits)
    limit = 1 << (bits - 1)
    return number if -limit <= number < limit else None
