"""Turns a checked tree into closures that count costs step by step, as Kubernetes does, also where something fails.

An evaluation that goes right takes the way of `fast`; this one is for those in which anything fails, since what fails
may be absorbed by `&&`, `||` and comprehensions, and what it cost up to there counts. Each closure takes the frame and
returns a value or raises EvaluationFailed.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from kubelite.cel import operators
from kubelite.cel.arithmetic import no_overload
from kubelite.cel.ast import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateStruct,
    Identifier,
    Literal,
    Node,
    Select,
)
from kubelite.cel.calls import Plan
from kubelite.cel.cost import is_bind
from kubelite.cel.declarations import LIST_CREATION, MAP_CREATION, STRUCT_CREATION
from kubelite.cel.frame import (
    COST,
    LIMIT,
    MISSING,
    UNSET,
    CostExceeded,
    Frame,
    Run,
    equal_within,
    equality_cost,
    inequality_cost,
    spend,
)
from kubelite.cel.planner import Entries, Planner, insert, iterate, optional_value
from kubelite.cel.selection import check_key, get, get_optional, has
from kubelite.cel.values import EvaluationFailed, Optional, Value, map_of_entries

_ATTRIBUTES: Final = (Identifier, Select)
_INDEXING: Final = frozenset(
    {operators.INDEX, operators.OPTIONAL_INDEX, operators.OPTIONAL_SELECT, operators.CONDITIONAL}
)


def is_attribute(node: Node) -> bool:
    """Return whether a node is a path from a variable, or a choice of such: its root costs nothing inside of others."""
    return isinstance(node, _ATTRIBUTES) or (isinstance(node, Call) and node.function in _INDEXING)


def _attempt(run: Run, frame: Frame) -> Value:
    """Return the value of a part, or its error."""
    try:
        return run(frame)
    except EvaluationFailed as error:
        return EvaluationFailed(error.text)  # without the frames that the traceback holds


def _raise_first(*values: Value) -> None:
    for value in values:
        if isinstance(value, EvaluationFailed):
            raise value


class ExactCompiler:
    """Makes the closures of one tree."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def compile(self, node: Node, *, costs_root: bool = True) -> Run:
        """Return the closure of a node; `costs_root` is False where a path is part of something that counts it."""
        constant = self._planner.constant(node)
        if constant is not None:
            value = constant.value
            return lambda _: value
        if isinstance(node, Select) and node.identifier is not None:
            node = node.identifier
        return self._COMPILERS[type(node)](self, node, costs_root)

    # paths

    def _identifier(self, node: Identifier, costs_root: bool) -> Run:
        slot, initial = self._planner.slot(node.name)
        start = None if initial is None else self.compile(initial)
        name = node.name
        cost = int(costs_root)

        def run(frame: Frame) -> Value:
            frame[COST] += cost
            value = frame[slot]
            if value is UNSET and start is not None:
                value = frame[slot] = _attempt(start, frame)
            if value is MISSING:
                raise EvaluationFailed(f"no such attribute(s): {name}")
            if isinstance(value, EvaluationFailed):
                raise EvaluationFailed(value.text)  # a traceback would grow with each time
            return value

        return run

    def _operand(self, node: Node, costs_root: bool) -> tuple[Run, int]:
        """Return the closure of what is selected from, and the cost of the root of the path, if that begins here."""
        if is_attribute(node) and self._planner.constant(node) is None:
            return self.compile(node, costs_root=costs_root), 0
        return self.compile(node), int(costs_root)

    def _select(self, node: Select, costs_root: bool) -> Run:
        key, read = self._planner.field(node)
        if node.is_test:
            operand, _ = self._operand(node.operand, costs_root=False)

            def test(frame: Frame) -> bool:
                container = operand(frame)
                found = has(container, key)
                frame[COST] += found if type(container) is Optional else 1
                return found

            return test
        operand, root = self._operand(node.operand, costs_root)

        def run(frame: Frame) -> Value:
            frame[COST] += root
            container = operand(frame)
            if type(container) is Optional:
                found = get_optional(container, key)
                frame[COST] += found.has_value
            else:
                frame[COST] += 1
                found = get(container, key)
            return found if read is None else read(found)

        return run

    def _index(self, node: Call, costs_root: bool) -> Run:
        operand, root = self._operand(node.arguments[0], costs_root)
        key_node = node.arguments[1]
        is_optional = node.function != operators.INDEX
        constant = self._planner.constant(key_node)
        read = None
        if constant is not None:
            check_constant_key(constant.value)
        if node.function == operators.OPTIONAL_SELECT and constant is not None:
            real, read = self._planner.optional_field(node)
            key: Run = lambda _: real  # noqa: E731 - as short as what stands in its place
        else:
            key = self.compile(key_node, costs_root=not is_attribute(key_node))

        def run(frame: Frame) -> Value:
            frame[COST] += root
            container = operand(frame)
            if is_optional or type(container) is Optional:
                if type(container) is Optional and not container.has_value:
                    return container
                value = key(frame)
                check_key(value)
                found = get_optional(container, value)
                frame[COST] += found.has_value
            else:
                frame[COST] += 1
                value = key(frame)
                check_key(value)
                found = get(container, value)
            return found if read is None else read(found)

        return run

    # operators

    def _call(self, node: Call, costs_root: bool) -> Run:
        match node.function:
            case operators.AND | operators.OR:
                return self._logical(node, decisive=node.function == operators.OR)
            case operators.CONDITIONAL:
                return self._conditional(node)
            case operators.EQUALS | operators.NOT_EQUALS:
                return self._equality(node, is_equality=node.function == operators.EQUALS)
            case operators.INDEX | operators.OPTIONAL_INDEX | operators.OPTIONAL_SELECT:
                return self._index(node, costs_root)
            case operators.NOT_STRICTLY_FALSE:
                return self._not_strictly_false(node)
            case operators.MAP_INSERT:
                return self._insertion(node)
            case "or" | "orValue" if self._planner.is_optional_choice(node):
                return self._optional_choice(node)
            case _:
                return self._function_or_special(node)

    def _function_or_special(self, node: Call) -> Run:
        if node.function == operators.ADD and self._planner.is_accumulation(node):
            return self._accumulation(node)
        members = self._planner.members(node) if node.function == operators.IN else None
        if members is not None:
            return self._membership(node, members)
        return self._function(self._planner.plan(node))

    def _logical(self, node: Call, *, decisive: bool) -> Run:
        terms = [self.compile(argument) for argument in node.arguments]

        def run(frame: Frame) -> bool:
            error: EvaluationFailed | None = None
            for term in terms:
                try:
                    value = term(frame)
                except EvaluationFailed as failure:
                    error = error or failure
                    continue
                if value is decisive:
                    return bool(value)
                if value is not True and value is not False:
                    error = error or no_overload()
            if error is not None:
                raise error
            return not decisive

        return run

    def _conditional(self, node: Call) -> Run:
        condition = self.compile(node.arguments[0])
        yes, no = (
            self.compile(branch, costs_root=not is_attribute(branch))
            for branch in node.arguments[1:]
        )

        def run(frame: Frame) -> Value:
            value = condition(frame)
            if value is True:
                return yes(frame)
            if value is False:
                return no(frame)
            raise no_overload()

        return run

    def _equality(self, node: Call, *, is_equality: bool) -> Run:
        left, right = map(self.compile, node.arguments)
        cost_of = equality_cost if is_equality else inequality_cost

        def run(frame: Frame) -> bool:
            one = _attempt(left, frame)
            other = _attempt(right, frame)
            frame[COST] += cost_of(one, other)
            _raise_first(one, other)
            return equal_within(frame, one, other) == is_equality

        return run

    def _not_strictly_false(self, node: Call) -> Run:
        operand = self.compile(node.arguments[0])

        def run(frame: Frame) -> bool:
            value = _attempt(operand, frame)
            frame[COST] += 1
            return value is not False

        return run

    def _membership(self, node: Call, members: Sequence[Value]) -> Run:
        from kubelite.cel.standard import is_in

        operand = self.compile(node.arguments[0])
        return lambda frame: is_in(operand(frame), members)

    def _optional_choice(self, node: Call) -> Run:
        assert node.target is not None
        left = self.compile(node.target)
        right = self.compile(node.arguments[0])
        unwraps = node.function == "orValue"

        def run(frame: Frame) -> Value:
            value = left(frame)
            if type(value) is not Optional:
                return value
            if value.has_value:
                return value.value if unwraps else value
            return right(frame)

        return run

    # functions

    def _function(self, plan: Plan) -> Run:
        arguments = [self.compile(argument) for argument in plan.arguments]
        if plan.stops_early:
            return self._stopping(plan, arguments)
        call, cost_of, work_of = plan.call, plan.cost, plan.work

        def run(frame: Frame) -> Value:
            values = [_attempt(argument, frame) for argument in arguments]
            for value in values:
                if isinstance(value, EvaluationFailed):
                    frame[COST] += cost_with_errors(cost_of, values, value)
                    raise value
            if work_of is not None:
                spend(frame, work_of(values))
            return counted(frame, call, cost_of, values)

        return run

    def _stopping(self, plan: Plan, arguments: list[Run]) -> Run:
        """Return the closure of a call that evaluates no argument behind one that fails, and then costs nothing."""
        call, cost_of, work_of = plan.call, plan.cost, plan.work
        last = len(arguments) - 1

        def run(frame: Frame) -> Value:
            values = []
            for index, argument in enumerate(arguments):
                try:
                    values.append(argument(frame))
                except EvaluationFailed as error:
                    if index == last:
                        frame[COST] += cost_with_errors(cost_of, [*values, error], error)
                    raise
            if work_of is not None:
                spend(frame, work_of(values))
            return counted(frame, call, cost_of, values)

        return run

    # aggregates

    def _list(self, node: CreateList, costs_root: bool) -> Run:  # noqa: ARG002 - one of a table
        elements = [
            (self.compile(element), index in node.optional)
            for index, element in enumerate(node.elements)
        ]

        def run(frame: Frame) -> list[Value]:
            frame[COST] += LIST_CREATION
            values: list[Value] = []
            for element, is_optional in elements:
                value = element(frame)
                if is_optional:
                    optional = optional_value(value, "list element")
                    if not optional.has_value:
                        continue
                    value = optional.value
                values.append(value)
            return values

        return run

    def _map(self, node: CreateMap, costs_root: bool) -> Run:  # noqa: ARG002 - one of a table
        entries = [
            (self.compile(entry.key), self.compile(entry.value), entry.is_optional)
            for entry in node.entries
        ]

        def run(frame: Frame) -> dict[Value, Value]:
            frame[COST] += MAP_CREATION
            values: Entries = []
            for key_of, value_of, is_optional in entries:
                key, value = key_of(frame), value_of(frame)
                insert(values, key, value, is_optional=is_optional)
            return map_of_entries(values)

        return run

    def _struct(self, node: CreateStruct, costs_root: bool) -> Run:  # noqa: ARG002 - one of a table
        make = self._planner.struct_maker(node.name)
        entries = [
            (entry.key, self.compile(entry.value), entry.is_optional) for entry in node.entries
        ]

        def run(frame: Frame) -> Value:
            frame[COST] += STRUCT_CREATION
            values: Entries = []
            for key, value_of, is_optional in entries:
                insert(values, key, value_of(frame), is_optional=is_optional)
            return make(dict(values))

        return run

    # comprehensions

    def _comprehension(self, node: Comprehension, costs_root: bool) -> Run:  # noqa: ARG002 - one of a table
        if is_bind(node):
            return self._bind(node)
        range_ = self.compile(node.range)
        initial = self._planner.initial(node)
        with self._planner.scope(node) as slots:
            condition = self.compile(node.condition)
            step = self.compile(node.step)
            with self._planner.hidden(node):
                result = self.compile(node.result)
        first, second, accumulator = slots

        def run(frame: Frame) -> Value:
            frame[accumulator] = initial()
            container = range_(frame)
            for key, value in iterate(container, is_pairwise=second is not None):
                frame[first] = key
                if second is not None:
                    frame[second] = value
                proceed = _attempt(condition, frame)
                if proceed is False:
                    break
                frame[accumulator] = _attempt(step, frame)
                if frame[COST] > frame[LIMIT]:
                    raise CostExceeded
            return result(frame)

        return run

    def _bind(self, node: Comprehension) -> Run:
        with self._planner.binding(node) as slot:
            result = self.compile(node.result)

        def run(frame: Frame) -> Value:
            frame[slot] = UNSET
            return result(frame)

        return run

    def _accumulation(self, node: Call) -> Run:
        """Return the closure of `accumulator + list`, which adds to the accumulator in its place."""
        left, right = map(self.compile, node.arguments)

        def run(frame: Frame) -> Value:
            one = _attempt(left, frame)
            other = _attempt(right, frame)
            frame[COST] += 1
            _raise_first(one, other)
            if not isinstance(other, list):
                raise no_overload()
            if len(other) > 1:
                spend(frame, len(other))
            one.extend(other)
            return one

        return run

    def _insertion(self, node: Call) -> Run:
        """Return the closure that adds an entry, or those of another map, to the accumulator in its place."""
        parts = [self.compile(argument) for argument in node.arguments]
        is_entry = len(parts) == 3

        def run(frame: Frame) -> Value:
            values = []
            for index, part in enumerate(parts):
                try:
                    values.append(part(frame))
                except EvaluationFailed:
                    if not is_entry or index == 2:
                        if not is_entry and index == 0:
                            _attempt(parts[1], frame)
                        frame[COST] += 1
                    raise
            frame[COST] += 1
            new = {values[1]: values[2]} if is_entry else values[1]
            return merge(values[0], new)

        return run

    _COMPILERS: ClassVar[dict[type[Node], Callable[[Any, Any, bool], Run]]] = {
        Identifier: _identifier,
        Select: _select,
        Call: _call,
        CreateList: _list,
        CreateMap: _map,
        CreateStruct: _struct,
        Comprehension: _comprehension,
        Literal: lambda _compiler, node, _root: lambda _frame: node.value,
    }


def merge(target: dict[Value, Value], new: Value) -> dict[Value, Value]:
    """Add entries to a map that is being built; raises EvaluationFailed if one is there already."""
    from kubelite.cel.selection import key_text

    if not isinstance(new, dict):
        raise no_overload()
    for key, value in new.items():
        if key in target:
            raise EvaluationFailed(f"insert failed: key {key_text(key)} already exists")
        target[key] = value
    return target


def check_constant_key(key: Value) -> None:
    """Refuse a literal that is no key of anything, when the program is made."""
    from kubelite.cel.failures import ProgramFailed

    try:
        check_key(key)
    except EvaluationFailed as error:
        raise ProgramFailed(error.text) from error


CostOf = Callable[[Sequence[Value], Value], int] | None


def cost_with_errors(cost_of: CostOf, values: Sequence[Value], result: Value) -> int:
    """Return the cost of a call of which an argument failed; errors have the size 1."""
    if cost_of is None:
        return 1
    try:
        return cost_of(values, result)
    except (TypeError, ValueError, AttributeError):  # it reads what an error does not have
        return 1


def counted(frame: Frame, call: Callable[..., Any], cost_of: CostOf, values: list[Value]) -> Value:
    """Return the result of a call, its cost counted, also if it fails."""
    try:
        result = call(*values)
    except EvaluationFailed as error:
        frame[COST] += cost_with_errors(cost_of, values, error)
        raise
    frame[COST] += 1 if cost_of is None else cost_of(values, result)
    return result
