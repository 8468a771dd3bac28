"""cel-go's extension library of lists, version 3: slice, flatten, sort, range, reverse, distinct.

Kubernetes' own functions on lists are in `lists`. The macro sortBy expands to ``@sortByAssociatedKeys``.
"""

from collections.abc import Callable, Sequence
from functools import cmp_to_key
from typing import Final

from kubelite.cel.ast import Call, CreateMap, CreateStruct, Literal, Node
from kubelite.cel.declarations import (
    COST_MAX,
    LIST_CREATION,
    STRING_TRAVERSAL,
    ActualCost,
    Argument,
    CallEstimate,
    Estimate,
    Function,
    Library,
    Range,
)
from kubelite.cel.libraries import costs
from kubelite.cel.libraries.bounds import check_list, check_values
from kubelite.cel.libraries.comparing import COMPARABLE as COMPARABLE_VALUES
from kubelite.cel.libraries.comparing import Keys, compare
from kubelite.cel.libraries.declaring import Costing, function, member, plain
from kubelite.cel.libraries.lists import COMPARABLE
from kubelite.cel.macros import Builder, Macro, MacroFailed, bind, expand_map
from kubelite.cel.types import DYN, INT, Kind, Type, list_of, parameter
from kubelite.cel.values import EvaluationFailed, Value, size_of, type_of

_CALL = 1 + LIST_CREATION
_ORDERING = 2.0  # cost of comparing two elements


def slice_list(values: list[Value], start: int, end: int) -> list[Value]:
    """Return the elements from `start` to before `end`."""
    call = f"cannot slice({start}, {end})"
    if start < 0 or end < 0:
        raise EvaluationFailed(f"{call}, negative indexes not supported")
    if start > end:
        raise EvaluationFailed(f"{call}, start index must be less than or equal to end index")
    if len(values) < end:
        raise EvaluationFailed(f"{call}, list is length {len(values)}")
    return values[start:end]


def flatten(values: list[Value], depth: int = 1) -> list[Value]:
    """Return the elements of lists in the list, `depth` levels down."""
    if depth < 0:
        raise EvaluationFailed("level must be non-negative")
    flattening = _Flattening()
    flattening.add(values, depth)
    return flattening.flat


class _Flattening:
    """The elements found so far; lists in which there are none are walked over once."""

    def __init__(self) -> None:
        self.flat: list[Value] = []
        self._empty: set[tuple[int, int]] = set()  # identity of a list, depth
        self._walked = 0

    def add(self, values: list[Value], depth: int) -> None:
        if (id(values), depth) in self._empty:
            return
        self._walked += len(values)
        check_values(self._walked)
        before = len(self.flat)
        for value in values:
            if depth and isinstance(value, list):
                self.add(value, depth - 1)
            else:
                self.flat.append(value)
        check_list(len(self.flat))
        if len(self.flat) == before:
            self._empty.add((id(values), depth))


def sort(values: list[Value]) -> list[Value]:
    """Return the elements in order."""
    return sort_by_keys(values, values)


def sort_by_keys(values: list[Value], keys: list[Value]) -> list[Value]:
    """Return the elements in the order of their keys; equal ones stay in place."""
    if len(values) != len(keys):
        raise EvaluationFailed(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, "
            f"but got {len(values)} and {len(keys)} elements respectively"
        )
    if not keys:
        return values
    if type(keys[0]) not in COMPARABLE_VALUES:
        raise EvaluationFailed("list elements must be comparable")
    kind = type(keys[0])
    if any(type(key) is not kind for key in keys):
        raise EvaluationFailed("list elements must have the same type")
    order: Callable[[Value], Value] = keys.__getitem__
    if kind is float and any(key != key for key in keys):
        compared = cmp_to_key(lambda left, right: compare(left, right) or 0)
        order = lambda index: compared(keys[index])  # noqa: E731 - it replaces the look-up above
    return [values[index] for index in sorted(range(len(keys)), key=order)]


def numbers(count: int) -> list[int]:
    """Return the numbers from 0 to before `count`."""
    check_list(count)
    return list(range(count))


def reverse(values: list[Value]) -> list[Value]:
    """Return the elements in reverse order."""
    return values[::-1]


def distinct(values: list[Value]) -> list[Value]:
    """Return the first of equal elements each."""
    key = Keys()
    seen = set()
    unique = []
    for value in values:
        known = key(value)
        if known not in seen:
            seen.add(known)
            unique.append(value)
    return unique


def _estimate(factor: float, size: Range) -> CallEstimate:
    return CallEstimate(size.scaled(factor) + Range(_CALL, _CALL), size)


def _actual(factor: float, size: int) -> int:
    return costs.wrapped(int(size * factor) + _CALL)


def _by_result(_arguments: Sequence[Value], result: Value) -> int:
    return _actual(1, size_of(result))


def _estimate_slice(arguments: Sequence[Argument]) -> CallEstimate:
    start = costs.literal_size(arguments[1], 0)
    length = costs.wrapped(costs.literal_size(arguments[2], arguments[0].size.max) - start)
    return _estimate(1, Range(length, length))


def _estimate_range(arguments: Sequence[Argument]) -> CallEstimate:
    count = costs.literal_size(arguments[0], COST_MAX)
    return _estimate(1, Range(count, count))


def _estimate_reverse(arguments: Sequence[Argument]) -> CallEstimate:
    return _estimate(1, arguments[0].size)


def _estimate_flatten(arguments: Sequence[Argument]) -> CallEstimate:
    depth = costs.literal_size(arguments[1], COST_MAX) if len(arguments) > 1 else 1
    return _estimate(depth, arguments[0].size)


def _cost_flatten(arguments: Sequence[Value], result: Value) -> int:
    depth = arguments[1] if len(arguments) > 1 else 1
    cost = _actual(depth, size_of(arguments[0]))
    # Lists that hold one list many times grow without being charged for it.
    grown = size_of(result) if isinstance(result, list) else 0
    return max(cost, grown) if grown > costs.FREE_ELEMENTS else cost


def _estimate_distinct(arguments: Sequence[Argument]) -> CallEstimate:
    size = arguments[0].size
    return _estimate(_ORDERING, size * size)


def _estimate_sort(type_: Type, keys_at: int) -> Estimate:
    factor = _ORDERING + (STRING_TRAVERSAL if type_.kind in (Kind.STRING, Kind.BYTES) else 0)

    def estimate(arguments: Sequence[Argument]) -> CallEstimate:
        size = arguments[keys_at].size
        return _estimate(factor, size * size)

    return estimate


def _cost_comparing(keys_at: int) -> ActualCost:
    def cost(arguments: Sequence[Value], _result: Value) -> int:
        keys = arguments[keys_at]
        size = size_of(keys)
        factor = _ORDERING
        if isinstance(keys, list) and keys and type_of(keys[0]).kind in (Kind.STRING, Kind.BYTES):
            factor += STRING_TRAVERSAL
        return _actual(factor, size * size)

    return cost


_INPUT: Final = "@__sortBy_input__"


def _sort_by(build: Builder, target: Node, arguments: list[Node]) -> Node:
    """Expand ``list.sortBy(e, key)``: the list is bound to a name, its keys are made, and it is sorted by them."""
    if isinstance(target, Literal | CreateMap | CreateStruct):
        raise MacroFailed(
            target.position,
            "sortBy can only be applied to a list, identifier, comprehension, call or select expression",
        )
    keys = expand_map(build, build.name(_INPUT), arguments)
    ordered = Call(build.position, "@sortByAssociatedKeys", [keys], build.name(_INPUT))
    return bind(build, _INPUT, target, ordered)


def _by_id(estimate: Estimate, cost: ActualCost) -> Costing:
    return Costing(estimate, cost, is_by_id=True)


_ELEMENT = parameter("T")
_LIST = list_of(_ELEMENT)
_LIST_OF_LISTS = list_of(_LIST)
_LIST_OF_ANY = list_of(DYN)
_FLATTENING = _by_id(_estimate_flatten, _cost_flatten)


def _sort_functions() -> tuple[Function, Function]:
    types = [(type_.name, type_, list_of(type_)) for type_ in COMPARABLE.values()]
    return (
        function(
            "sort",
            *(
                member(
                    f"list_{name}_sort",
                    (keys,),
                    keys,
                    sort,
                    _by_id(_estimate_sort(type_, 0), _cost_comparing(0)),
                )
                for name, type_, keys in types
            ),
        ),
        function(
            "@sortByAssociatedKeys",
            *(
                member(
                    f"list_{name}_sortByAssociatedKeys",
                    (_LIST, keys),
                    _LIST,
                    sort_by_keys,
                    _by_id(_estimate_sort(type_, 1), _cost_comparing(1)),
                )
                for name, type_, keys in types
            ),
        ),
    )


LIBRARY: Final = Library(
    "cel.lib.ext.lists",
    macros=(Macro("sortBy", 2, True, _sort_by),),
    functions=(
        function(
            "slice",
            member(
                "list_slice",
                (_LIST, INT, INT),
                _LIST,
                slice_list,
                _by_id(_estimate_slice, _by_result),
            ),
        ),
        function(
            "flatten",
            member("list_flatten", (_LIST_OF_LISTS,), _LIST, flatten, _FLATTENING),
            member("list_flatten_int", (_LIST_OF_ANY, INT), _LIST_OF_ANY, flatten, _FLATTENING),
        ),
        *_sort_functions(),
        function(
            "lists.range",
            plain(
                "lists_range", (INT,), list_of(INT), numbers, _by_id(_estimate_range, _by_result)
            ),
        ),
        function(
            "reverse",
            member("list_reverse", (_LIST,), _LIST, reverse, _by_id(_estimate_reverse, _by_result)),
        ),
        function(
            "distinct",
            member(
                "list_distinct",
                (_LIST,),
                _LIST,
                distinct,
                _by_id(_estimate_distinct, _cost_comparing(0)),
            ),
        ),
    ),
)
