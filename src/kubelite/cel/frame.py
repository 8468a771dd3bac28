"""What one evaluation works on: its cost so far, its limits, and the values of its variables.

A frame is a list, since nothing in Python is read faster: the cost, the limit of the cost, the elements that may still
be compared and copied, then a slot for each variable of the expression and of its comprehensions.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple

from kubelite.cel.values import MapList, MixedMap, OpaqueValue, Rows, SetList, Value, equal, size_of
from kubelite.limits import EXPRESSION_COST, EXPRESSION_WORK

Frame = list[Any]
Run = Callable[[Frame], Value]

_CONTAINERS: Final = frozenset({list, dict, MapList, MixedMap, Rows, SetList})

COST: Final = 0
LIMIT: Final = 1
WORK: Final = 2
SLOTS: Final = 3  # the first variable

MISSING: Final = object()  # the value of a variable that was not given
UNSET: Final = object()  # the value of a name that was not needed yet


class Retry(Exception):
    """An evaluation met what its closures were not made for."""


class Code(NamedTuple):
    """A closure, and what each run of it costs at least: the part of its cost that it does not count itself."""

    run: Run
    cost: int


class CostExceeded(Exception):
    """An evaluation was broken off, since it cost more than it may; `limit` is what it met, for whoever counts that."""

    limit: ClassVar = EXPRESSION_COST

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


class WorkExceeded(CostExceeded):
    """It compared or copied more than it may, whatever that costs."""

    limit: ClassVar = EXPRESSION_WORK


def spend(frame: Frame, elements: int) -> None:
    """Note that so many elements are compared or copied; raises WorkExceeded past the limit."""
    frame[WORK] -= elements
    if frame[WORK] < 0:
        raise WorkExceeded


def spend_all(frame: Frame, value: Value) -> None:
    """Note that a value is visited with all that is in it, as often as it is in there; raises WorkExceeded."""
    left = frame[WORK]
    pending = [value]
    while pending:
        container = pending.pop()
        left -= len(container)
        if left < 0:
            raise WorkExceeded
        for each in container.values() if isinstance(container, dict) else container:
            if type(each) in _CONTAINERS:
                pending.append(each)  # noqa: PERF401 - a generator would cost more than the loop
    frame[WORK] = left


def equal_within(frame: Frame, left: Value, right: Value) -> bool:
    """Return whether two values are equal, if comparing them is within the limit on work."""
    if _are_alike(left, right) and len(left) == len(right):
        spend_all(frame, left)
    return equal(left, right)


def _are_alike(left: Value, right: Value) -> bool:
    return (isinstance(left, list) and isinstance(right, list)) or (
        isinstance(left, dict) and isinstance(right, dict)
    )


def equality_cost(left: Value, right: Value) -> int:
    """Return the cost of `==`."""
    if isinstance(left, OpaqueValue) and left.has_unit_equality_cost:
        return 1
    return inequality_cost(left, right)


def inequality_cost(left: Value, right: Value) -> int:
    """Return the cost of `!=`, which knows no types with a cost of their own."""
    return -(-min(size_of(left), size_of(right)) // 10)
