"""Amounts of resources: quantity, isQuantity, arithmetic and comparisons, as Kubernetes' resource.Quantity.

An amount is a small one, value times a power of ten with a value of 64 bits, or an exact decimal where that does not
suffice. Which it is shows: only small ones are integers, whatever their value.
"""

import re
from decimal import MAX_EMAX, MIN_EMIN, ROUND_UP, Context, Decimal, Inexact
from typing import ClassVar, Final, NamedTuple

from kubelite.cel.declarations import ONE, CallEstimate, Library
from kubelite.cel.frame import CostExceeded
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.declaring import function, member, plain
from kubelite.cel.types import BOOL, DOUBLE, INT, STRING, Type, struct
from kubelite.cel.values import INT_MAX, INT_MIN, EvaluationFailed, OpaqueValue
from kubelite.limits import CEL_DIGITS

QUANTITY_TYPE: Final = struct("kubernetes.Quantity")
FORMAT_WRONG: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
NUMBER_WRONG: Final = "unable to parse numeric part of quantity"
SUFFIX_WRONG: Final = "unable to parse quantity's suffix"

_MATCH = re.compile(
    # Possessive: else zeros would be tried as leading ones, digits and exponent in turn.
    r"([+-]?)0*+([0-9]*+)(?:\.([0-9]*+))?+([eEinumkKMGTP]*+[-+]?[0-9]*+)",
    re.ASCII,
).fullmatch
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)", re.ASCII).fullmatch
_DECIMAL: Final = {
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
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_SMALL_DIGITS: Final = 18  # that fit in 64 bits whatever they are
_SMALL_BINARY_DIGITS: Final = 15
_NANO: Final = -9
_BINARY_MAX: Final = Decimal(INT_MAX)


class Small(NamedTuple):
    """Value times ten to the scale; the value fits in 64 bits."""

    value: int
    scale: int

    def exact(self) -> Decimal:
        """Return it as a decimal, with as many places."""
        return Decimal(f"{self.value}e{self.scale}")


class Quantity(OpaqueValue):
    """An amount; equality and order are those of the number."""

    __slots__ = ("amount",)
    cel_type: ClassVar[Type] = QUANTITY_TYPE

    def __init__(self, amount: Small | Decimal) -> None:
        self.amount = amount

    @property
    def number(self) -> Decimal:
        """Return the amount as a decimal."""
        return self.amount.exact() if isinstance(self.amount, Small) else self.amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.number == other.number

    def __hash__(self) -> int:
        return hash(self.number)


def parse(text: str) -> Quantity:
    """Read a quantity; raises EvaluationFailed."""
    matched = _MATCH(text) if text else None
    if matched is None:
        raise EvaluationFailed(FORMAT_WRONG)
    sign, whole, fraction, suffix = matched.groups(default="")
    factor, exponent = _suffix(suffix)
    small = _small(whole or "0", fraction, factor, exponent)
    if small is None:
        if not re.search("[0-9]", matched.string[: matched.start(4)]):
            raise EvaluationFailed(NUMBER_WRONG)
        amount = _exact(whole, fraction, factor, exponent)
        return Quantity(amount.copy_negate() if sign == "-" else amount)
    return Quantity(Small(-small.value, small.scale) if sign == "-" else small)


def is_quantity(text: str) -> bool:
    """Return whether a text is a quantity."""
    try:
        parse(text)
    except EvaluationFailed:
        return False
    return True


def _suffix(suffix: str) -> tuple[int, int]:
    """Return the power of two that a suffix multiplies by, 0 if none, and the power of ten."""
    if suffix in _DECIMAL:
        return 0, _DECIMAL[suffix]
    if suffix in _BINARY:
        return _BINARY[suffix], 0
    written = _EXPONENT(suffix)
    if written is None or len(written[1].lstrip("+-0")) > 19:
        raise EvaluationFailed(SUFFIX_WRONG)
    exponent = int(written[1])
    if not INT_MIN <= exponent <= INT_MAX:
        raise EvaluationFailed(SUFFIX_WRONG)
    return 0, (exponent + (1 << 31)) % (1 << 32) - (1 << 31)  # as Go cuts it to 32 bits


def _small(whole: str, fraction: str, power: int, exponent: int) -> Small | None:
    if power:
        if fraction or len(whole) > _SMALL_BINARY_DIGITS - power * 3 // 10 - 1:
            return None
    elif len(whole) + len(fraction) > _SMALL_DIGITS:
        return None
    scale = exponent - len(fraction)
    if scale < _NANO:
        return None
    value = int(whole + fraction) << power
    return Small(value, scale) if value <= INT_MAX else None


def _exact(whole: str, fraction: str, power: int, exponent: int) -> Decimal:
    """Return a number that is not negative: its places beyond the ninth rounded up, those that lack filled in."""
    digits = len(whole) + len(fraction)
    amount = Decimal(f"{whole or '0'}.{fraction}e{exponent}")
    if power:
        amount = Context(prec=digits + 20).multiply(amount, Decimal(1 << power))
    places = max(digits + 20 + exponent, 1) + 9
    if amount and places <= digits + CEL_DIGITS.value:
        amount = amount.quantize(Decimal(1).scaleb(_NANO), ROUND_UP, _context(places))
    return min(amount, _BINARY_MAX) if power else amount


def _context(digits: int) -> Context:
    return Context(prec=digits, Emin=MIN_EMIN, Emax=MAX_EMAX)


def add(quantity: Quantity, other: Quantity) -> Quantity:
    """Return the sum; raises CostExceeded past `CEL_DIGITS` digits."""
    left, right = quantity.amount, other.amount
    if isinstance(left, Small) and isinstance(right, Small):
        total = _add_small(left, right)
        if total is not None:
            return Quantity(total)
    context = _context(CEL_DIGITS.value)
    context.traps[Inexact] = True
    try:
        return Quantity(context.add(quantity.number, other.number))
    except Inexact as error:
        CEL_DIGITS.reached()
        raise CostExceeded from error


def subtract(quantity: Quantity, other: Quantity) -> Quantity:
    """Return the difference; raises CostExceeded past `CEL_DIGITS` digits."""
    amount = other.amount
    if isinstance(amount, Small):
        return add(quantity, Quantity(Small(-amount.value, amount.scale)))
    return add(quantity, Quantity(amount.copy_negate()))


def _add_small(left: Small, right: Small) -> Small | None:
    if not right.value:
        return left
    if not left.value:
        return right
    scale = min(left.scale, right.scale)
    values = [_shifted(each.value, each.scale - scale) for each in (left, right)]
    total = sum(value for value in values if value is not None)
    return None if None in values or not INT_MIN <= total <= INT_MAX else Small(total, scale)


def _shifted(value: int, places: int) -> int | None:
    """Return a value times a power of ten; None if that does not fit in 64 bits."""
    if not value:
        return 0
    shifted = value * 10**places if places <= 19 else INT_MAX + 1
    return shifted if abs(shifted) <= INT_MAX else None


def _integer(quantity: Quantity) -> int | None:
    amount = quantity.amount
    if not isinstance(amount, Small) or amount.scale < 0:
        return None
    return amount.value if not amount.scale else _shifted(amount.value, amount.scale)


def as_integer(quantity: Quantity) -> int:
    """Return the amount if it is a small integer; raises EvaluationFailed."""
    value = _integer(quantity)
    if value is None:
        raise EvaluationFailed("cannot convert value to integer")
    return value


def as_float(quantity: Quantity) -> float:
    """Return about the amount, with the rounding errors of Kubernetes."""
    amount = quantity.amount
    if isinstance(amount, Small):
        base, exponent = float(amount.value), amount.scale
    else:
        sign, digits, exponent = amount.as_tuple()  # type: ignore[assignment] # the number is finite
        base = float(Decimal((sign, digits, 0)))
    return base * _power_of_ten(exponent) if exponent else base


def _power_of_ten(exponent: int) -> float:
    """Return a power of ten as Go's Pow10 computes it, from two tables."""
    if exponent < -323:
        return 0.0
    if exponent > 308:
        return float("inf")
    tens, rest = divmod(abs(exponent), 32)
    if exponent >= 0:
        return float(f"1e{32 * tens}") * float(f"1e{rest}")
    return float(f"1e-{32 * tens}") / float(f"1e{rest}")


def compare(quantity: Quantity, other: Quantity) -> int:
    """Return -1, 0 or 1."""
    left, right = quantity.number, other.number
    return (left > right) - (left < right)


def sign(quantity: Quantity) -> int:
    """Return -1, 0 or 1."""
    number = quantity.number
    return (number > 0) - (number < 0)


def _of_int(number: int) -> Quantity:
    return Quantity(Small(number, 0))


_UNIT = costs.fixed(1)
_PARSING = costs.by_size()
_ONE = (QUANTITY_TYPE,)
_PAIR = (QUANTITY_TYPE, QUANTITY_TYPE)
_WITH_INT = (QUANTITY_TYPE, INT)

LIBRARY: Final = Library(
    "kubernetes.quantity",
    types=(QUANTITY_TYPE,),
    functions=(
        function(
            "quantity", plain("string_to_quantity", (STRING,), QUANTITY_TYPE, parse, _PARSING)
        ),
        function("isQuantity", plain("is_quantity_string", (STRING,), BOOL, is_quantity, _PARSING)),
        function("sign", plain("quantity_sign", _ONE, INT, sign, _UNIT)),
        function(
            "isGreaterThan",
            member(
                "quantity_is_greater_than",
                _PAIR,
                BOOL,
                lambda quantity, other: quantity.number > other.number,
                _UNIT,
            ),
        ),
        function(
            "isLessThan",
            member(
                "quantity_is_less_than",
                _PAIR,
                BOOL,
                lambda quantity, other: quantity.number < other.number,
                _UNIT,
            ),
        ),
        function("compareTo", member("quantity_compare_to", _PAIR, INT, compare, _UNIT)),
        function("asApproximateFloat", member("quantity_get_float", _ONE, DOUBLE, as_float, _UNIT)),
        function("asInteger", member("quantity_get_int", _ONE, INT, as_integer, _UNIT)),
        function(
            "isInteger",
            member(
                "quantity_is_integer",
                _ONE,
                BOOL,
                lambda quantity: _integer(quantity) is not None,
                _UNIT,
            ),
        ),
        function(
            "add",
            member("quantity_add", _PAIR, QUANTITY_TYPE, add, _UNIT),
            member(
                "quantity_add_int",
                _WITH_INT,
                QUANTITY_TYPE,
                lambda quantity, number: add(quantity, _of_int(number)),
                _UNIT,
            ),
        ),
        function(
            "sub",
            member("quantity_sub", _PAIR, QUANTITY_TYPE, subtract, _UNIT),
            member(
                "quantity_sub_int",
                _WITH_INT,
                QUANTITY_TYPE,
                lambda quantity, number: subtract(quantity, _of_int(number)),
                _UNIT,
            ),
        ),
    ),
    equality={QUANTITY_TYPE.name: lambda _arguments: CallEstimate(ONE)},
)
