"""Functions on lists that Kubernetes adds: isSorted, sum, min, max, indexOf, lastIndexOf."""

from collections.abc import Callable, Iterator
from functools import reduce
from itertools import pairwise
from typing import Final

from kubelite.cel.arithmetic import add
from kubelite.cel.declarations import Function, Library, Overload
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.comparing import compare
from kubelite.cel.libraries.declaring import function, member
from kubelite.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    parameter,
)
from kubelite.cel.values import Duration, EvaluationFailed, UInt, Value, equal

# The order of overloads decides which is tried first where the type of elements is not known.
COMPARABLE: Final = {
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "bool": BOOL,
    "duration": DURATION,
    "timestamp": TIMESTAMP,
    "string": STRING,
    "bytes": BYTES,
}


def is_sorted(values: list[Value]) -> bool:
    """Return whether no element is greater than the next; elements without an order do not matter."""
    return not any(compare(before, after) == 1 for before, after in pairwise(values))


_SUMMABLE: Final[dict[str, tuple[Type, Value]]] = {
    "int": (INT, 0),
    "uint": (UINT, UInt(0)),
    "double": (DOUBLE, 0.0),
    "duration": (DURATION, Duration(0)),
}


def _sum_from(zero: Value) -> Callable[[list[Value]], Value]:
    return lambda values: reduce(add, values, zero)


def _most(name: str, replaced_when: int) -> Callable[[list[Value]], Value]:
    """Return the function that keeps an element unless comparing it with a later one gives `replaced_when`."""

    def most(values: list[Value]) -> Value:
        if not values:
            raise EvaluationFailed(f"{name} called on empty list")
        result = values[0]
        for value in values:
            if compare(result, value) == replaced_when:
                result = value
        return result

    return most


minimum: Final = _most("min", 1)
maximum: Final = _most("max", -1)


def index_of(values: list[Value], item: Value) -> int:
    """Return the index of the first element that is equal; -1 if none is."""
    return next((index for index, value in enumerate(values) if equal(value, item)), -1)


def last_index_of(values: list[Value], item: Value) -> int:
    """Return the index of the last element that is equal; -1 if none is."""
    backwards = range(len(values) - 1, -1, -1)
    return next((index for index in backwards if equal(values[index], item)), -1)


def _most_of(name: str, call: Callable[[list[Value]], Value]) -> Function:
    return function(
        name,
        *(
            member(f"list_{each}_{name}_{each}", (list_of(type_),), type_, call, costs.TRAVERSAL)
            for each, type_ in COMPARABLE.items()
        ),
    )


def _sorted_overloads() -> Iterator[Overload]:
    for name, type_ in COMPARABLE.items():
        arguments = (list_of(type_),)
        yield member(f"list_{name}_is_sorted_bool", arguments, BOOL, is_sorted, costs.TRAVERSAL)


def _sum_overloads() -> Iterator[Overload]:
    for name, (type_, zero) in _SUMMABLE.items():
        call = _sum_from(zero)
        yield member(f"list_{name}_sum_{name}", (list_of(type_),), type_, call, costs.TRAVERSAL)


_ELEMENT = parameter("A")
_ITEM_IN_LIST = (list_of(_ELEMENT), _ELEMENT)

LIBRARY: Final = Library(
    "kubernetes.lists",
    functions=(
        function("isSorted", *_sorted_overloads()),
        function("sum", *_sum_overloads()),
        _most_of("max", maximum),
        _most_of("min", minimum),
        function(
            "indexOf",
            member("list_a_index_of_int", _ITEM_IN_LIST, INT, index_of, costs.TRAVERSAL),
        ),
        function(
            "lastIndexOf",
            member("list_a_last_index_of_int", _ITEM_IN_LIST, INT, last_index_of, costs.TRAVERSAL),
        ),
    ),
)
