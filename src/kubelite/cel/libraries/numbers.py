"""Floating-point numbers with fixed places and with an exponent, as golang.org/x/text writes them for English readers.

Go keeps places in numbers of 8 and 16 bits there, and takes the precision of an exponent for a width; both show.
"""

import math

_SUPERSCRIPTS = str.maketrans(
    "0123456789-", "\u2070\xb9\xb2\xb3\u2074\u2075\u2076\u2077\u2078\u2079\u207b"
)
_NUMBER_MAX = (
    1_000_000  # past which Go's reader of format strings gives up, before it takes another digit
)
_NO_VERB = "%!(NOVERB)"
_SCIENTIFIC_PLACES = 6


def fixed(number: float, places: int) -> str:
    """Return a number with `places` after the point and its thousands grouped."""
    if places // 10 > _NUMBER_MAX:
        return _NO_VERB
    special = _special(number)
    if special:
        return special
    least, most = places & 0xFF, _int16(places)
    shortest = most < 0
    text = f"{abs(number):.{400 if shortest else most}f}"
    if shortest:
        text = _shortest(abs(number))
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0").ljust(least, "0")
    sign = "-" if number < 0 else ""
    return f"{sign}{int(whole):,}{'.' + fraction if fraction else ''}"


def _int16(number: int) -> int:
    return (number + 0x8000) % 0x10000 - 0x8000


def _shortest(number: float) -> str:
    digits, exponent = f"{number!r}".partition("e")[::2]
    whole, _, fraction = digits.partition(".")
    shift = int(exponent or 0)
    if shift >= 0:
        return f"{whole}{fraction[:shift].ljust(shift, '0')}.{fraction[shift:]}"
    return f"0.{'0' * (-shift - len(whole))}{whole}{fraction}"


def scientific(number: float, width: int) -> str:
    """Return a number with one digit before and six after the point and a power of ten, at least `width` wide."""
    if width // 10 > _NUMBER_MAX:
        return _NO_VERB
    return (_special(number) or _scientific(number)).rjust(width & 0xFFFF)


def _scientific(number: float) -> str:
    mantissa, _, exponent = f"{abs(number):.{_SCIENTIFIC_PLACES}e}".partition("e")
    power = f"{int(exponent):03d}" if int(exponent) < 0 else f"{int(exponent):02d}"
    sign = "-" if number < 0 else ""
    return f"{sign}{mantissa}\xd710{power.translate(_SUPERSCRIPTS)}"


def _special(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "\u221e" if number > 0 else "-\u221e"
    return ""
