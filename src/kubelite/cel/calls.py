"""Binds a call to what runs it: the overload that the checker chose, or a choice by the values where it chose several.

Arguments whose types the checker did not know are compared with the declaration when the call happens.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from kubelite.cel import operators
from kubelite.cel.ast import Call, Node
from kubelite.cel.declarations import ActualCost, ActualWork, Function, Overload
from kubelite.cel.failures import ProgramFailed
from kubelite.cel.types import DYN, Kind, Type
from kubelite.cel.unification import is_dynamic
from kubelite.cel.values import EvaluationFailed, Value, type_of

_OPEN: Final = frozenset({Kind.DYN, Kind.ANY, Kind.PARAMETER})
_SELF_GUARDED: Final = frozenset(  # they say themselves what is wrong with their arguments
    {
        *(operators.ADD, operators.SUBTRACT, operators.MULTIPLY, operators.DIVIDE),
        *(operators.MODULO, operators.NEGATE, operators.NOT, operators.IN),
        *(operators.LESS, operators.LESS_EQUALS, operators.GREATER, operators.GREATER_EQUALS),
        *("size", "type", "dyn", "matches", "contains", "startsWith", "endsWith"),
    }
)


class Plan(Struct, frozen=True):
    """How a call runs: its arguments with the receiver first, what is called, and what a call costs (None: 1).

    `stops_early` is True where nothing behind an argument that fails is evaluated. `overload` is the only one that
    applies, if there is one and the types of all arguments are known.
    """

    arguments: Sequence[Node]
    call: Callable[..., Any]
    cost: ActualCost | None
    stops_early: bool = False
    overload: Overload | None = None
    work: ActualWork | None = None


def accepts(declared: Type, value: Value) -> bool:
    """Return whether a value is of a declared type, as far as its first elements show."""
    if declared.kind in _OPEN:
        return True
    if declared.is_nullable and value is None:
        return True
    if type_of(value).name != declared.name:
        return False
    if declared.kind is Kind.LIST:
        return not value or accepts(declared.parameters[0], value[0])
    if declared.kind is Kind.MAP and value:
        key, first = next(iter(value.items()))
        return accepts(declared.parameters[0], key) and accepts(declared.parameters[1], first)
    return True


def _mismatch(name: str, values: Sequence[Value]) -> EvaluationFailed:
    kinds = ", ".join(type_of(value).name for value in values)
    return EvaluationFailed(f"no such overload: {name}({kinds})")


def _guarded(name: str, overload: Overload) -> Callable[..., Any]:
    """Return the call of an overload, refusing values of other types."""
    declared, call = overload.arguments, overload.call

    def guarded(*values: Value) -> Value:
        if all(map(accepts, declared, values)):
            return call(*values)
        raise _mismatch(name, values)

    return guarded


def _chosen_by_values(function: Function, count: int) -> Callable[..., Any]:
    """Return a call of the first overload that takes the values."""
    overloads = [each for each in function.overloads if len(each.arguments) == count]
    name = function.name

    def choose(*values: Value) -> Value:
        for overload in overloads:
            if all(map(accepts, overload.arguments, values)):
                return overload.call(*values)
        raise _mismatch(name, values)

    return choose


def _needs_guard(node: Node, declared: Type) -> bool:
    type_ = node.type or DYN
    if declared.kind in _OPEN:
        return False
    if is_dynamic(type_) or type_.kind is Kind.ERROR or type_.kind is Kind.NULL:
        return True
    if type_.is_nullable and not declared.is_nullable:
        return True
    return any(
        is_dynamic(known) and wanted.kind not in _OPEN
        for known, wanted in zip(type_.parameters, declared.parameters, strict=False)
    )


def plan_call(node: Call, functions: Mapping[str, Function], literals: Mapping[int, Value]) -> Plan:
    """Return how a call runs; `literals` are its arguments that are constant. Raises ProgramFailed."""
    arguments = node.arguments if node.target is None else [node.target, *node.arguments]
    function = functions.get(node.function)
    if function is None:
        return Plan(arguments, _undeclared(node.function), None)
    if len(node.overloads) == 1:
        return _plan_overload(node, arguments, node.overloads[0], literals)
    if node.function in _SELF_GUARDED:
        return Plan(arguments, function.overloads[0].call, None)
    call = _chosen_by_values(function, len(arguments))
    candidates = node.overloads or function.overloads
    costs = (each.cost for each in candidates if not each.is_charged_if_known)
    cost = next((each for each in costs if each is not None), None)
    return Plan(arguments, call, cost, stops_early=len(arguments) > 1)


def _plan_overload(
    node: Call, arguments: Sequence[Node], overload: Overload, literals: Mapping[int, Value]
) -> Plan:
    call: Callable[..., Any] = overload.call
    is_known = not any(map(_needs_guard, arguments, overload.arguments))
    stops_early = len(arguments) > 2
    if overload.specialise is not None:
        try:
            special = overload.specialise(literals)
        except EvaluationFailed as error:
            raise ProgramFailed(error.text) from error
        if special is not None:
            overload = _with_call(overload, special)
            call = special
            stops_early = True
    if not is_known and node.function not in _SELF_GUARDED:
        call = _guarded(node.function, overload)
    known = overload if is_known else None
    return Plan(arguments, call, overload.cost, stops_early, known, overload.work)


def _with_call(overload: Overload, call: Callable[..., Any]) -> Overload:
    return Overload(
        id=overload.id,
        arguments=overload.arguments,
        result=overload.result,
        call=call,
        is_member=overload.is_member,
        estimate=overload.estimate,
        cost=overload.cost,
    )


def _undeclared(name: str) -> Callable[..., Any]:
    def call(*_: Value) -> Value:
        raise EvaluationFailed(f"no such overload: {name}")

    return call
