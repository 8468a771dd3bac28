"""What calls of library functions cost, estimated and actual, by the sizes of arguments and results."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Final

from kubelite.cel.declarations import (
    COST_MAX,
    ONE,
    STRING_TRAVERSAL,
    Argument,
    CallEstimate,
    Range,
)
from kubelite.cel.libraries.declaring import Costing
from kubelite.cel.types import Kind
from kubelite.cel.values import Value, size_of
from kubelite.limits import CEL_TEXT_FREE

FREE_ELEMENTS: Final = 1_000  # of a list for which a call is charged by its arguments only


def by_size(at: int = 0, factor: float = STRING_TRAVERSAL, *, keeps_size: bool = False) -> Costing:
    """Return the costing of `factor` per character of an argument; with `keeps_size` the result is as long as it."""

    def estimate(arguments: Sequence[Argument]) -> CallEstimate:
        size = arguments[at].size
        return CallEstimate(size.scaled(factor), size if keeps_size else None)

    def cost(arguments: Sequence[Value], _result: Value) -> int:
        return math.ceil(size_of(arguments[at]) * factor)

    return Costing(estimate, cost)


def cost_of_copy(arguments: Sequence[Value], _result: Value) -> int:
    """Return the cost of walking through the first argument and of building as much."""
    return math.ceil(size_of(arguments[0]) * 2 * STRING_TRAVERSAL)


def fixed(cost: int) -> Costing:
    """Return the costing of calls that always cost the same."""
    estimate = CallEstimate(Range(cost, cost))
    return Costing(lambda _arguments: estimate, lambda _arguments, _result: cost)


def with_growth(cost: int, result: Value) -> int:
    """Return a cost with that of a long result added, where nothing else is charged for its length.

    Kubernetes charges such calls by their arguments alone, so that a few could fill the memory. Results of up to
    `CEL_TEXT_FREE` characters cost what they cost there.
    """
    if not isinstance(result, str) or len(result) <= CEL_TEXT_FREE.value:
        return cost
    return max(cost, math.ceil(len(result) * STRING_TRAVERSAL))


def traversal(value: Value) -> int:
    """Return the cost of walking through a value with all values in it; each list and map is walked over once."""
    return _traversal(value, {})


def _traversal(value: Value, known: dict[int, int]) -> int:
    if isinstance(value, str):
        return int(len(value.encode(errors="replace")) * STRING_TRAVERSAL)
    if isinstance(value, bytes):
        return int(len(value) * STRING_TRAVERSAL)
    if not isinstance(value, list | dict):
        return 1
    cost = known.get(id(value))
    if cost is None:
        cost = 0
        for part in chain(value, value.values()) if isinstance(value, dict) else value:
            cost += _traversal(part, known)
        known[id(value)] = cost
    return cost


def _traversal_cost(arguments: Sequence[Value], _result: Value) -> int:
    return traversal(arguments[0])


def _traversal_estimate(arguments: Sequence[Argument]) -> CallEstimate:
    """Return the estimate for walking through the first argument: a list, or a text."""
    target = arguments[0]
    element = target.element
    if element is None:
        return CallEstimate(target.size.scaled(STRING_TRAVERSAL))
    each = ONE
    if element.type.kind in (Kind.STRING, Kind.BYTES):
        each += element.size.scaled(STRING_TRAVERSAL)
    return CallEstimate(target.size * each)


TRAVERSAL: Final = Costing(_traversal_estimate, _traversal_cost)


def literal_size(argument: Argument, default: int) -> int:
    """Return the value of a literal int, 0 if it is negative; `default` of anything else."""
    value = argument.literal
    if type(value) is not int:
        return default
    return max(value, 0)


def wrapped(number: int) -> int:
    """Return a number as an unsigned one of 64 bits wraps around."""
    return number & COST_MAX
