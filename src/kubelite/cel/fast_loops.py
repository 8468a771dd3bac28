"""Closures of comprehensions for evaluations in which nothing fails; those of the usual macros are loops of their own.

What an iteration costs is known beforehand but for what its parts count themselves. The limit is tested once in each.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from kubelite.cel import operators
from kubelite.cel.ast import Call, Comprehension, CreateList, Identifier, Literal, Node
from kubelite.cel.compiling import Compiler
from kubelite.cel.declarations import LIST_CREATION
from kubelite.cel.frame import COST, LIMIT, Code, CostExceeded, Frame, Retry, Run
from kubelite.cel.operators import ACCUMULATOR
from kubelite.cel.planner import iterate
from kubelite.cel.values import Value

_END: Final = object()


class Slots(NamedTuple):
    """Where the variables of a loop lie; `second` is None with one variable."""

    first: int
    second: int | None
    accumulator: int


def compile_loop(compiler: Compiler, node: Comprehension) -> Code:
    """Return the closure of a comprehension."""
    range_ = compiler.compile(node.range)
    with compiler.planner.scope(node) as (first, second, accumulator):
        slots = Slots(first, second, accumulator)
        code = (
            _quantifier(compiler, node, slots)
            or _building(compiler, node, slots)
            or _counting(compiler, node, slots)
            or _general(compiler, node, slots)
        )
    return Code(_over(range_.run, code.run), range_.cost + code.cost)


Body = Callable[[Frame, Any], Value]  # with what is visited


class _Loop(NamedTuple):
    run: Body
    cost: int


def _over(range_: Run, body: Body) -> Run:
    return lambda frame: body(frame, range_(frame))


def _visited(container: Any, slots: Slots) -> Iterable[Any]:
    """Return what a loop visits: elements or keys, or pairs with two variables."""
    if slots.second is not None:
        return iterate(container, is_pairwise=True)
    if isinstance(container, list | dict):
        return container
    raise Retry


def _is_accumulator(node: Node) -> bool:
    return isinstance(node, Identifier) and node.name == ACCUMULATOR


# all and exists


def _quantifier(compiler: Compiler, node: Comprehension, slots: Slots) -> _Loop | None:
    condition, step = node.condition, node.step
    if not isinstance(condition, Call) or condition.function != operators.NOT_STRICTLY_FALSE:
        return None
    is_all = _is_accumulator(condition.arguments[0])
    if not isinstance(step, Call) or step.function != (operators.AND if is_all else operators.OR):
        return None
    predicate = compiler.compile(step.arguments[1])
    test_cost = 2 if is_all else 3  # the condition: the accumulator, `!`, and that it is not false
    step_cost = test_cost + 1 + predicate.cost
    decide, (first, second, _) = predicate.run, slots

    def run(frame: Frame, container: Any) -> bool:
        visited: Iterator[Any] = iter(_visited(container, slots))
        limit = frame[LIMIT]
        for value in visited:
            if second is None:
                frame[first] = value
            else:
                frame[first], frame[second] = value
            decision = decide(frame)
            frame[COST] += step_cost
            if frame[COST] > limit:
                raise CostExceeded
            if decision is is_all:
                continue
            if decision is not (not is_all):
                raise Retry
            if next(visited, _END) is not _END:
                frame[COST] += test_cost
            return not is_all
        return is_all

    return _Loop(run, 1)


# map, filter and transformList


def _building(compiler: Compiler, node: Comprehension, slots: Slots) -> _Loop | None:
    """Return the loop of a macro that makes a list."""
    if not isinstance(node.initial, CreateList) or not _is_true(node.condition):
        return None
    step, predicate = node.step, None
    if isinstance(step, Call) and step.function == operators.CONDITIONAL:
        predicate, step = compiler.compile(step.arguments[0]), step.arguments[1]
    if not isinstance(step, Call) or not compiler.planner.is_accumulation(step):
        return None
    made = step.arguments[1]
    assert isinstance(made, CreateList)
    element = compiler.compile(made.elements[0])
    cost = 2 + (0 if compiler.is_constant(made) else LIST_CREATION + element.cost)
    if predicate is None:
        return _Loop(_mapping(element.run, cost, slots), 1)
    return _Loop(_filtering(predicate, element.run, cost, slots), 1)


def _is_true(node: Node) -> bool:
    return isinstance(node, Literal) and node.value is True


def _mapping(make: Run, cost: int, slots: Slots) -> Body:
    first, second, _ = slots

    def run(frame: Frame, container: Any) -> list[Value]:
        made: list[Value] = []
        limit = frame[LIMIT]
        for value in _visited(container, slots):
            if second is None:
                frame[first] = value
            else:
                frame[first], frame[second] = value
            made.append(make(frame))
            frame[COST] += cost
            if frame[COST] > limit:
                raise CostExceeded
        return made

    return run


def _filtering(predicate: Code, make: Run, cost: int, slots: Slots) -> Body:
    first, second, _ = slots
    decide, test_cost = predicate

    def run(frame: Frame, container: Any) -> list[Value]:
        made: list[Value] = []
        limit = frame[LIMIT]
        for value in _visited(container, slots):
            if second is None:
                frame[first] = value
            else:
                frame[first], frame[second] = value
            decision = decide(frame)
            frame[COST] += test_cost
            if decision is True:
                made.append(make(frame))
                frame[COST] += cost
            elif decision is not False:
                raise Retry
            if frame[COST] > limit:
                raise CostExceeded
        return made

    return run


# exists_one


def _counting(compiler: Compiler, node: Comprehension, slots: Slots) -> _Loop | None:
    step = node.step
    if not isinstance(node.initial, Literal) or not _is_true(node.condition):
        return None
    if not isinstance(step, Call) or step.function != operators.CONDITIONAL:
        return None
    predicate = compiler.compile(step.arguments[0])
    decide, test_cost = predicate
    first, second, _ = slots

    def run(frame: Frame, container: Any) -> bool:
        count = 0
        limit = frame[LIMIT]
        for value in _visited(container, slots):
            if second is None:
                frame[first] = value
            else:
                frame[first], frame[second] = value
            decision = decide(frame)
            frame[COST] += test_cost
            if decision is True:
                count += 1
                frame[COST] += 2  # the accumulator, and the addition
            elif decision is not False:
                raise Retry
            if frame[COST] > limit:
                raise CostExceeded
        return count == 1

    return _Loop(run, 2)


# any other


def _general(compiler: Compiler, node: Comprehension, slots: Slots) -> _Loop:
    initial = compiler.planner.initial(node)
    condition = compiler.compile(node.condition)
    step = compiler.compile(node.step)
    with compiler.planner.hidden(node):
        result = compiler.compile(node.result)
    first, second, accumulator = slots
    proceed, advance = condition.run, step.run
    cost = condition.cost + step.cost

    def run(frame: Frame, container: Any) -> Value:
        frame[accumulator] = initial()
        limit = frame[LIMIT]
        for key, value in iterate(container, is_pairwise=second is not None):
            frame[first] = key
            if second is not None:
                frame[second] = value
            if proceed(frame) is not True:
                raise Retry
            frame[accumulator] = advance(frame)
            frame[COST] += cost
            if frame[COST] > limit:
                raise CostExceeded
        return result.run(frame)

    return _Loop(run, result.cost)
