"""Closures of function calls for evaluations in which nothing fails."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from kubelite.cel import operators
from kubelite.cel.ast import Call
from kubelite.cel.calls import Plan
from kubelite.cel.compiling import Compiler
from kubelite.cel.declarations import ActualCost, ActualWork
from kubelite.cel.fast_operators import BINARY, against_literal
from kubelite.cel.frame import COST, Code, Frame, Run, spend
from kubelite.cel.types import DYN, Kind
from kubelite.cel.values import Value

_SIZES: Final = frozenset(
    f"{name}_size" for name in ("bytes", "list", "map", "string")
) | frozenset(f"size_{name}" for name in ("bytes", "list", "map", "string"))


def compile_call(compiler: Compiler, node: Call) -> Code:
    """Return the closure of a call."""
    plan = compiler.planner.plan(node)
    codes = [compiler.compile(argument) for argument in plan.arguments]
    cost = sum(code.cost for code in codes)
    runs = [code.run for code in codes]
    if plan.overload is not None:
        known = _known(compiler, plan, runs)
        if known is not None:
            return Code(known.run, cost + known.cost)
    if node.function == operators.ADD:
        return Code(_sum(plan, runs), cost + (plan.cost is None))
    if plan.work is not None:
        return Code(_working(plan, plan.work, runs), cost + (plan.cost is None))
    if plan.cost is None:
        return Code(_plain(plan.call, runs), cost + 1)
    return Code(_costed(plan.call, plan.cost, runs), cost)


def _known(compiler: Compiler, plan: Plan, runs: list[Run]) -> Code | None:
    """Return the closure of an overload that has one of its own."""
    assert plan.overload is not None
    id_ = plan.overload.id
    if id_ in _SIZES:
        inner = runs[0]
        return Code(lambda frame: len(inner(frame)), 1)
    if id_ in BINARY:
        constant = compiler.planner.constant(plan.arguments[1])
        short = None if constant is None else against_literal(id_, runs[0], constant.value)
        return Code(short or BINARY[id_](*runs), 1)
    if id_ == "in_list":
        kinds = {(argument.type or DYN).kind for argument in plan.arguments}
        elements = (plan.arguments[1].type or DYN).parameters
        if kinds == {Kind.STRING, Kind.LIST} and elements and elements[0].kind is Kind.STRING:
            return Code(_in_texts(*runs), 0)
    if id_ == "matches_string" and compiler.is_constant(plan.arguments[1]):
        pattern = compiler.planner.constant(plan.arguments[1])
        assert pattern is not None
        return Code(_matches(plan.call, runs[0], pattern.value), 0)
    if id_ in _TEXTS:
        return Code(_TEXTS[id_](*runs), 0)
    return None


def _in_texts(value: Run, container: Run) -> Run:
    def run(frame: Frame) -> bool:
        text = value(frame)
        texts = container(frame)
        frame[COST] += len(texts)
        return text in texts

    return run


def _matches(call: Callable[..., Any], text: Run, pattern: str) -> Run:
    """Return the closure of a search for a literal pattern."""
    pattern_cost = (len(pattern) + 3) // 4

    def run(frame: Frame) -> Value:
        value = text(frame)
        result = call(value, pattern)
        frame[COST] += (len(value) + 10) // 10 * pattern_cost
        return result

    return run


def _starts_with(text: Run, part: Run) -> Run:
    def run(frame: Frame) -> bool:
        value = text(frame)
        result: bool = value.startswith(part(frame))
        frame[COST] += (len(value) + 9) // 10
        return result

    return run


def _ends_with(text: Run, part: Run) -> Run:
    def run(frame: Frame) -> bool:
        value = text(frame)
        result: bool = value.endswith(part(frame))
        frame[COST] += (len(value) + 9) // 10
        return result

    return run


def _contains(text: Run, part: Run) -> Run:
    def run(frame: Frame) -> bool:
        value = text(frame)
        within = part(frame)
        frame[COST] += (len(value) + 9) // 10 * ((len(within) + 9) // 10)
        return within in value

    return run


_TEXTS: Final[dict[str, Callable[..., Run]]] = {
    "starts_with_string": _starts_with,
    "ends_with_string": _ends_with,
    "contains_string": _contains,
}


def _sum(plan: Plan, runs: list[Run]) -> Run:
    """Return the closure of `+`, which copies lists: the elements are counted as work."""
    call, cost_of = plan.call, plan.cost
    left, right = runs

    def run(frame: Frame) -> Value:
        one = left(frame)
        other = right(frame)
        if isinstance(one, list) and isinstance(other, list):
            spend(frame, len(one) + len(other))
        result = call(one, other)
        if cost_of is not None:
            frame[COST] += cost_of((one, other), result)
        return result

    return run


def _plain(call: Callable[..., Any], runs: Sequence[Run]) -> Run:
    """Return the closure of a call that always costs the same."""
    match runs:
        case [one]:
            return lambda frame: call(one(frame))
        case [one, two]:
            return lambda frame: call(one(frame), two(frame))
        case _:
            return lambda frame: call(*[run(frame) for run in runs])


def _working(plan: Plan, work_of: ActualWork, runs: Sequence[Run]) -> Run:
    """Return the closure of a call that does more than its cost says."""
    call, cost_of = plan.call, plan.cost

    def run(frame: Frame) -> Value:
        values = [each(frame) for each in runs]
        spend(frame, work_of(values))
        result = call(*values)
        if cost_of is not None:
            frame[COST] += cost_of(values, result)
        return result

    return run


def _costed(call: Callable[..., Any], cost_of: ActualCost, runs: Sequence[Run]) -> Run:
    def run(frame: Frame) -> Value:
        values = [each(frame) for each in runs]
        result = call(*values)
        frame[COST] += cost_of(values, result)
        return result

    return run
