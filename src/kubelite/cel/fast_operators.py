"""Closures of operators for evaluations in which nothing fails: logic, equality, membership, and sums of integers."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from kubelite.cel import operators
from kubelite.cel.ast import Call, Literal, Node
from kubelite.cel.compiling import Compiler
from kubelite.cel.frame import (
    COST,
    Code,
    Frame,
    Retry,
    Run,
    equal_within,
    equality_cost,
    inequality_cost,
)
from kubelite.cel.standard import is_in
from kubelite.cel.types import DYN, Kind
from kubelite.cel.values import INT_MAX, INT_MIN, Value

_EXACT: Final = frozenset(
    {Kind.INT, Kind.UINT, Kind.BOOL, Kind.DOUBLE, Kind.TIMESTAMP, Kind.DURATION}
)


def logical_and(left: Code, right: Code) -> Code:
    """Return the closure of `&&`."""
    first, second = left.run, right.run
    cost = right.cost

    def run(frame: Frame) -> bool:
        value = first(frame)
        if value is True:
            value = second(frame)
            frame[COST] += cost
            if value is True or value is False:
                return value
        elif value is False:
            return False
        raise Retry

    return Code(run, left.cost)


def logical_or(left: Code, right: Code) -> Code:
    """Return the closure of `||`."""
    first, second = left.run, right.run
    cost = right.cost

    def run(frame: Frame) -> bool:
        value = first(frame)
        if value is False:
            value = second(frame)
            frame[COST] += cost
            if value is True or value is False:
                return value
        elif value is True:
            return True
        raise Retry

    return Code(run, left.cost)


def compile_equality(compiler: Compiler, node: Call) -> Code:
    """Return the closure of `==` or `!=`."""
    is_equality = node.function == operators.EQUALS
    left_node, right_node = node.arguments
    left, right = compiler.compile(left_node), compiler.compile(right_node)
    cost = left.cost + right.cost
    one, other = left.run, right.run
    kinds = {_kind(left_node), _kind(right_node)}
    if len(kinds) == 1 and kinds <= _EXACT:
        if is_equality:
            return Code(lambda frame: one(frame) == other(frame), cost + 1)
        return Code(lambda frame: one(frame) != other(frame), cost + 1)
    if kinds == {Kind.STRING}:
        for text_node, run in ((right_node, one), (left_node, other)):
            if isinstance(text_node, Literal):
                return Code(_equals_text(run, text_node.value, is_equality=is_equality), cost)
        return Code(_equals_texts(one, other, is_equality=is_equality), cost)
    cost_of = equality_cost if is_equality else inequality_cost

    def run_any(frame: Frame) -> bool:
        first = one(frame)
        second = other(frame)
        result = equal_within(frame, first, second)
        frame[COST] += cost_of(first, second)
        return result is is_equality

    return Code(run_any, cost)


def _kind(node: Node) -> Kind:
    """Return the kind of a node, DYN if null may stand there too."""
    type_ = node.type or DYN
    return Kind.DYN if type_.is_nullable else type_.kind


def _equals_text(run: Run, text: str, *, is_equality: bool) -> Run:
    length = len(text)

    def equals(frame: Frame) -> bool:
        value = run(frame)
        frame[COST] += (min(len(value), length) + 9) // 10
        return (value == text) is is_equality

    return equals


def _equals_texts(one: Run, other: Run, *, is_equality: bool) -> Run:
    def equals(frame: Frame) -> bool:
        left = one(frame)
        right = other(frame)
        frame[COST] += (min(len(left), len(right)) + 9) // 10
        return (left == right) is is_equality

    return equals


def compile_membership(compiler: Compiler, node: Call, members: Sequence[Value]) -> Code:
    """Return the closure of `in` with a constant list of simple values."""
    operand = compiler.compile(node.arguments[0])
    run = operand.run
    types = set(map(type, members))
    kind = _kind(node.arguments[0])
    if (kind is Kind.STRING and types == {str}) or (kind is Kind.INT and types == {int}):
        known = frozenset(members)
        return Code(lambda frame: run(frame) in known, operand.cost)
    return Code(lambda frame: is_in(run(frame), members), operand.cost)


# binary operators on known types; costs of 1 are counted by the caller


def _add(left: Run, right: Run) -> Run:
    def run(frame: Frame) -> int:
        value = left(frame) + right(frame)
        if INT_MIN <= value <= INT_MAX:
            return value  # type: ignore[no-any-return] # of two ints
        raise Retry

    return run


def _subtract(left: Run, right: Run) -> Run:
    def run(frame: Frame) -> int:
        value = left(frame) - right(frame)
        if INT_MIN <= value <= INT_MAX:
            return value  # type: ignore[no-any-return] # of two ints
        raise Retry

    return run


def _multiply(left: Run, right: Run) -> Run:
    def run(frame: Frame) -> int:
        value = left(frame) * right(frame)
        if INT_MIN <= value <= INT_MAX:
            return value  # type: ignore[no-any-return] # of two ints
        raise Retry

    return run


_ORDERS: Final[dict[str, Callable[[Run, Run], Run]]] = {
    "less": lambda left, right: lambda frame: left(frame) < right(frame),
    "less_equals": lambda left, right: lambda frame: left(frame) <= right(frame),
    "greater": lambda left, right: lambda frame: left(frame) > right(frame),
    "greater_equals": lambda left, right: lambda frame: left(frame) >= right(frame),
}
BINARY: Final[dict[str, Callable[[Run, Run], Run]]] = {
    "add_int64": _add,
    "subtract_int64": _subtract,
    "multiply_int64": _multiply,
    **{
        f"{order}_{kind}": make
        for order, make in _ORDERS.items()
        for kind in ("int64", "uint64", "int64_uint64", "uint64_int64")
    },
}
"""By the identifier of the overload."""


def against_literal(id_: str, left: Run, literal: Any) -> Run | None:
    """Return the closure of a comparison of an int with a literal, which takes one call less."""
    match id_:
        case "less_int64":
            return lambda frame: left(frame) < literal
        case "less_equals_int64":
            return lambda frame: left(frame) <= literal
        case "greater_int64":
            return lambda frame: left(frame) > literal
        case "greater_equals_int64":
            return lambda frame: left(frame) >= literal
        case _:
            return None
