"""Numbers in texts, read as Go reads them: Python takes underscores and digits of all scripts, and not thousands."""

_DIGITS_MAX = 19  # of a number of 64 bits


def integer(text: str, *, bits: int = 64) -> int | None:
    """Return a decimal number; None for what is none, or does not fit into so many bits (Go's strconv.ParseInt)."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdigit():
        return None
    digits = digits.lstrip("0") or "0"
    if len(digits) > _DIGITS_MAX:
        return None
    number = -int(digits) if text[0] == "-" else int(digits)
    limit = 1 << (bits - 1)
    return number if -limit <= number < limit else None
