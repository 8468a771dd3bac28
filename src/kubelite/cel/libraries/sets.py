"""Lists as sets: cel-go's extension library of sets."""

from collections.abc import Sequence
from typing import Final

from kubelite.cel.declarations import ONE, Argument, CallEstimate, Library
from kubelite.cel.libraries.comparing import Keys
from kubelite.cel.libraries.declaring import Costing, function, plain
from kubelite.cel.types import BOOL, list_of, parameter
from kubelite.cel.values import Value, size_of


def contains(values: list[Value], others: list[Value]) -> bool:
    """Return whether each of `others` is equal to an element."""
    if not others:
        return True
    key = Keys()
    known = set(map(key, values))
    return all(key(other) in known for other in others)


def equivalent(values: list[Value], others: list[Value]) -> bool:
    """Return whether each element of one list is equal to an element of the other."""
    key = Keys()
    return set(map(key, values)) == set(map(key, others))


def intersects(values: list[Value], others: list[Value]) -> bool:
    """Return whether an element of both lists is equal."""
    if not values or not others:
        return False
    key = Keys()
    known = set(map(key, others))
    return any(key(value) in known for value in values)


def _costing(factor: int) -> Costing:
    def estimate(arguments: Sequence[Argument]) -> CallEstimate:
        product = arguments[0].size * arguments[1].size
        return CallEstimate(product.scaled(factor) + ONE)

    def cost(arguments: Sequence[Value], _result: Value) -> int:
        return 1 + size_of(arguments[0]) * size_of(arguments[1]) * factor

    return Costing(estimate, cost, is_by_id=True)


_LIST = list_of(parameter("T"))
_LISTS = (_LIST, _LIST)

LIBRARY: Final = Library(
    "cel.lib.ext.sets",
    functions=(
        function(
            "sets.contains",
            plain("list_sets_contains_list", _LISTS, BOOL, contains, _costing(1)),
        ),
        function(
            "sets.equivalent",
            plain("list_sets_equivalent_list", _LISTS, BOOL, equivalent, _costing(2)),
        ),
        function(
            "sets.intersects",
            plain("list_sets_intersects_list", _LISTS, BOOL, intersects, _costing(1)),
        ),
    ),
)
