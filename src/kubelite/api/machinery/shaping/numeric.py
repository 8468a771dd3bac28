"""The bounds of numbers, as Kubernetes checks them: integers as integers, with bounds cut to integers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, NamedTuple

from kubelite.api.machinery.shaping.node_types import format_of, is_integral, types_of

JSON = dict[str, Any]

_INT64 = range(-(2**63), 2**63)
_INT32 = range(-(2**31), 2**31)
_FLOAT32_END = float.fromhex("0x1.ffffffp+127")  # from here on rounding makes it infinite
_PLAIN_EXPONENTS = range(-4, 6)  # Go prints other floats with an exponent


class Finding(NamedTuple):
    """What is wrong with a number; `{}` in the text is its path. `anonymous`: the cause names no field."""

    text: str
    anonymous: bool = False


def go_number(number: float) -> str:
    """Print a number as Go's %v does."""
    if isinstance(number, int) or not isfinite(number):
        return str(number)
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int)
    size = len(digits) + exponent - 1
    if size in _PLAIN_EXPONENTS:
        return repr(number).removesuffix(".0") if size != -4 else f"{Decimal(repr(number)):f}"
    first, *rest = map(str, digits)
    mantissa = first + ("." + "".join(rest) if rest else "")
    return f"{'-' * sign}{mantissa}e{'-' if size < 0 else '+'}{abs(size):02d}"


def number_check(node: JSON, kind: type) -> Callable[[Any], bool] | bool:
    """Return the check of numbers of a class, or the constant that it always returns."""
    if kind is int and node.get("multipleOf") is None:
        return _range_check(node)
    constrained = any(node.get(key) is not None for key in ("minimum", "maximum", "multipleOf"))
    if not constrained and types_of(node) != ("integer",) and not format_of(node):
        return True
    return lambda number: next(number_findings(node, number), None) is None


def _range_check(node: JSON) -> Callable[[Any], bool] | bool:
    """Return the check of integers that have bounds only."""
    allowed = _INT32 if types_of(node) == ("integer",) and format_of(node) == "int32" else _INT64
    low, high = allowed.start, allowed.stop - 1
    bounds = [node[key] for key in ("minimum", "maximum") if node.get(key) is not None]
    if any(_misfit(node, bound) for bound in bounds):
        return False
    if (minimum := node.get("minimum")) is not None:
        low = max(low, _cut(minimum) + (node.get("exclusiveMinimum") is True))
    if (maximum := node.get("maximum")) is not None:
        high = min(high, _cut(maximum) - (node.get("exclusiveMaximum") is True))
    if low == _INT64.start and high == _INT64.stop - 1:
        return True
    return lambda number: low <= number <= high


def _cut(bound: float) -> int:
    """Return a bound as an integer, as Go converts it."""
    return min(max(int(bound), _INT64.start), _INT64.stop - 1)


def _misfit(node: JSON, number: float) -> bool:
    """Return whether a number does not fit into the node's type and format."""
    types, format_ = types_of(node), format_of(node)
    if types == ("integer",):
        whole = int(number)
        return whole != number or whole not in (_INT32 if format_ == "int32" else _INT64)
    return types == ("number",) and format_ == "float" and abs(number) >= _FLOAT32_END


def _misfits(node: JSON, number: float, what: str) -> Iterator[Finding]:
    if _misfit(node, number):
        form = format_of(node)
        form = f"with format {form}" if form else "(default format)"
        yield Finding(f"{what} value must be of type {types_of(node)[0]} {form} in {{}}", True)


def number_findings(node: JSON, number: float) -> Iterator[Finding]:
    """Yield what is wrong with a number."""
    yield from _misfits(node, number, "Checked")
    if (factor := node.get("multipleOf")) is not None:
        yield from _misfits(node, factor, "MultipleOf")
        yield from _of_multiple(number, factor, exact=not _misfit(node, factor))
    if (minimum := node.get("minimum")) is not None:
        yield from _misfits(node, minimum, "Minimum boundary")
        bound, value = _comparable(node, minimum, number)
        if node.get("exclusiveMinimum") is True:
            if value <= bound:
                yield Finding(f"{{}} in body should be greater than {go_number(bound)}")
        elif value < bound:
            yield Finding(f"{{}} in body should be greater than or equal to {go_number(bound)}")
    if (maximum := node.get("maximum")) is not None:
        yield from _misfits(node, maximum, "Maximum boundary")
        bound, value = _comparable(node, maximum, number)
        if node.get("exclusiveMaximum") is True:
            if value >= bound:
                yield Finding(f"{{}} in body should be less than {go_number(bound)}")
        elif value > bound:
            yield Finding(f"{{}} in body should be less than or equal to {go_number(bound)}")


def _comparable(node: JSON, bound: float, number: float) -> tuple[float, float]:
    """Return a bound and a number as they are compared: both integers, or both floats."""
    if isinstance(number, int) and not _misfit(node, bound):
        return _cut(bound), number
    return float(bound), float(number)


def _of_multiple(number: float, factor: float, *, exact: bool) -> Iterator[Finding]:
    factor = _cut(factor) if exact and isinstance(number, int) else float(factor)
    if factor <= 0:
        text = f"factor MultipleOf declared for {{}} must be positive: {go_number(factor)}"
        yield Finding(text)
    elif isinstance(factor, int):
        if number % factor:
            yield Finding(f"{{}} in body should be a multiple of {factor}")
    elif not is_integral(1 / factor * number if factor < 1 else number / factor):
        yield Finding(f"{{}} in body should be a multiple of {go_number(factor)}")
