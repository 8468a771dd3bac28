"""Quantities of resources: parsed, compared and formatted exactly as Kubernetes does.

The amount is a Decimal; the format (binary, decimal, exponent) is that of the text it was read from. Values are rounded
up to 10^-9 and capped at 2^63-1.
"""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_UP, Context, Decimal
from functools import lru_cache, total_ordering

BINARY, DECIMAL, EXPONENT = "BinarySI", "DecimalSI", "DecimalExponent"

_MATCH = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)", re.ASCII).fullmatch
_EXPONENT = re.compile(r"[eE]([-+]?\d+)", re.ASCII).fullmatch
_EXACT = Context(prec=120)
_NANO = Decimal("1e-9")
_MAXIMUM = Decimal(2**63 - 1)

_DECIMAL_SUFFIXES = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_BINARY_SUFFIXES = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL_SUFFIXES.items()}
_BY_POWER = {power: suffix for suffix, power in _BINARY_SUFFIXES.items()} | {0: ""}
_LENGTH_LIMIT = 256

FORMAT_WRONG = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
SUFFIX_WRONG = "unable to parse quantity's suffix"


@total_ordering
class Quantity:
    """An amount with a format; equality and order ignore the format."""

    __slots__ = ("amount", "format")

    def __init__(self, amount: Decimal | int, written: str = DECIMAL) -> None:
        self.amount = Decimal(amount)
        self.format = written

    def __str__(self) -> str:
        return _write(self.amount, self.format)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.amount == other.amount

    def __lt__(self, other: "Quantity") -> bool:
        return self.amount < other.amount

    def __hash__(self) -> int:
        return hash(self.amount)

    def __bool__(self) -> bool:
        return bool(self.amount)

    def __add__(self, other: "Quantity") -> "Quantity":
        """Return the sum; a zero takes the format of the other operand, as in Kubernetes."""
        written = self.format if self.amount else other.format
        return Quantity(_EXACT.add(self.amount, other.amount), written)

    def __sub__(self, other: "Quantity") -> "Quantity":
        written = self.format if self.amount else other.format
        return Quantity(_EXACT.subtract(self.amount, other.amount), written)

    def __neg__(self) -> "Quantity":
        return Quantity(_EXACT.minus(self.amount), self.format)

    def value(self) -> int:
        """Return the amount rounded up to a whole number."""
        return int(self.amount.to_integral_value(ROUND_CEILING))

    def milli_value(self) -> int:
        """Return the amount in thousandths, rounded up."""
        return int(_EXACT.scaleb(self.amount, 3).to_integral_value(ROUND_CEILING))


def parse_quantity(text: str | float) -> Quantity:
    """Parse a quantity; a JSON number counts as its text.

    Raises:
        ValueError: It is none; the message is Kubernetes' own.
    """
    if isinstance(text, str):
        if len(text) > _LENGTH_LIMIT:
            raise ValueError(FORMAT_WRONG)
        return _parse(text)
    return _parse(str(text) if isinstance(text, int) else repr(text))


@lru_cache(maxsize=4096)
def _parse(text: str) -> Quantity:
    matched = _MATCH(text)
    if matched is None or not text:
        raise ValueError(FORMAT_WRONG)
    sign, whole, fraction, suffix = matched.groups()
    digits = Decimal(f"{whole or '0'}.{fraction or '0'}")
    amount, written = _scaled(digits, suffix)
    if amount > _MAXIMUM:
        amount = _MAXIMUM
    elif amount and amount != amount.quantize(_NANO, ROUND_FLOOR, _EXACT):
        amount = amount.quantize(_NANO, ROUND_UP, _EXACT)
    return Quantity(_EXACT.minus(amount) if sign == "-" else amount, written)


def _scaled(digits: Decimal, suffix: str) -> tuple[Decimal, str]:
    if (exponent := _DECIMAL_SUFFIXES.get(suffix)) is not None:
        return _EXACT.scaleb(digits, exponent), DECIMAL
    if power := _BINARY_SUFFIXES.get(suffix):
        return _EXACT.multiply(digits, Decimal(1 << power)), BINARY
    written = _EXPONENT(suffix)
    if written is None:
        raise ValueError(SUFFIX_WRONG)
    # Beyond these bounds the value is zero or the maximum for all digits.
    exponent = max(-600, min(600, int(written[1])))
    return Context(prec=1000).scaleb(digits, exponent), EXPONENT


def _write(amount: Decimal, written: str) -> str:
    if not amount:
        return "0"
    whole = amount == amount.to_integral_value()
    if written == BINARY and whole and abs(amount) >= 1024:
        number, power = int(amount), 0
        while power < 60 and number % 1024 == 0:
            number //= 1024
            power += 10
        return f"{number}{_BY_POWER[power]}"
    return _write_decimal(amount, written)


def _write_decimal(amount: Decimal, written: str) -> str:
    sign, digits, exponent = _EXACT.normalize(amount).as_tuple()
    assert isinstance(exponent, int)
    scale = exponent // 3 * 3
    number = int("".join(map(str, digits))) * 10 ** (exponent - scale)
    if written != EXPONENT and scale > 18:
        number, scale = number * 10 ** (scale - 18), 18
    exponential = f"e{scale}" if scale else ""
    suffix = exponential if written == EXPONENT else _BY_EXPONENT[scale]
    return f"{'-' if sign else ''}{number}{suffix}"


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return str(_parse(text))


def canonical_quantity(text: str | float) -> str:
    """Return a quantity in canonical form: ``0.5`` becomes ``500m``.

    Raises:
        ValueError: It is none.
    """
    if isinstance(text, str) and len(text) <= _LENGTH_LIMIT:
        return _canonical(text)
    return str(parse_quantity(text))


def total(*texts: str) -> str:
    """Return the sum of quantities in text form."""
    return str(sum((parse_quantity(text) for text in texts), ZERO))


ZERO = Quantity(0)
