"""Turns a checked tree into closures for evaluations in which nothing fails.

They add up the costs that are known beforehand only where ways part: each closure comes with the cost of the parts that
always run, and whoever runs it conditionally or in a loop counts it. Types that the checker knows are not tested again.
Where anything is not as expected a closure raises, with one of `UNEXPECTED`, and the evaluation is repeated by `exact`,
which has no side effects to undo. Costs are counted behind what they pay for, so a limit is never passed too early.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from kubelite.cel import operators
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
from kubelite.cel.cost import is_bind
from kubelite.cel.declarations import LIST_CREATION, MAP_CREATION, STRUCT_CREATION
from kubelite.cel.exact import check_constant_key, is_attribute, merge
from kubelite.cel.fast_calls import compile_call
from kubelite.cel.fast_loops import compile_loop
from kubelite.cel.fast_operators import (
    compile_equality,
    compile_membership,
    logical_and,
    logical_or,
)
from kubelite.cel.frame import COST, UNSET, Code, Frame, Retry, Run, spend
from kubelite.cel.planner import Entries, Planner, insert, optional_value
from kubelite.cel.selection import check_key, get, get_optional, has
from kubelite.cel.types import DYN, Kind, Type
from kubelite.cel.values import EvaluationFailed, Optional, Rows, Value, map_of_entries

UNEXPECTED: Final = (
    EvaluationFailed,
    Retry,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ValueError,
    ArithmeticError,
)
_KEYED: Final = frozenset({Kind.MAP, Kind.STRUCT, Kind.DYN, Kind.ANY})


class FastCompiler:
    """Makes the closures of one tree."""

    def __init__(self, planner: Planner) -> None:
        self.planner = planner

    def compile(self, node: Node, *, costs_root: bool = True) -> Code:
        """Return the closure of a node and what it always costs; `costs_root` as in `exact`."""
        constant = self.planner.constant(node)
        if constant is not None:
            value = constant.value
            return Code(lambda _: value, 0)
        if isinstance(node, Select) and node.identifier is not None:
            node = node.identifier
        return self._COMPILERS[type(node)](self, node, costs_root)

    def is_constant(self, node: Node) -> bool:
        """Return whether a node needs no evaluation."""
        return self.planner.constant(node) is not None

    # paths

    def _identifier(self, node: Identifier, costs_root: bool) -> Code:
        slot, initial = self.planner.slot(node.name)
        if initial is None:
            return Code(lambda frame: frame[slot], int(costs_root))
        start = self.compile(initial)

        def run(frame: Frame) -> Value:
            value = frame[slot]
            if value is UNSET:
                value = frame[slot] = start.run(frame)
                frame[COST] += start.cost
            return value

        return Code(run, int(costs_root))

    def _operand(self, node: Node, costs_root: bool) -> Code:
        """Return the closure of what is selected from, with the cost of the root of the path."""
        if is_attribute(node) and not self.is_constant(node):
            return self.compile(node, costs_root=costs_root)
        code = self.compile(node)
        return Code(code.run, code.cost + costs_root)

    def _select(self, node: Select, costs_root: bool) -> Code:
        key, read = self.planner.field(node)
        operand = self._operand(node.operand, costs_root and not node.is_test)
        type_ = node.operand.type or DYN
        if type_.kind not in _KEYED:
            return self._select_any(node, operand, key, read)
        cost = operand.cost + 1
        if node.is_test:
            return Code(_presence(operand.run, key), cost)
        run = self._entry_of(node.operand, operand.run, key)
        if read is None:
            return Code(run, cost)
        return Code(lambda frame: read(run(frame)), cost)

    def _entry_of(self, operand: Node, inner: Run, key: str) -> Run:
        """Return the closure of an entry; of a variable it is read without another call."""
        if isinstance(operand, Identifier) and not self.is_constant(operand):
            slot, initial = self.planner.slot(operand.name)
            if initial is None:
                return lambda frame: frame[slot][key]
        return lambda frame: inner(frame)[key]

    def _select_any(self, node: Select, operand: Code, key: str, read: Any) -> Code:
        """Return the closure of a selection from an optional, or from what has no fields."""
        inner = operand.run
        if node.is_test:

            def test(frame: Frame) -> bool:
                container = inner(frame)
                found = has(container, key)
                frame[COST] += found if type(container) is Optional else 1
                return found

            return Code(test, operand.cost)

        def run(frame: Frame) -> Value:
            container = inner(frame)
            found = get(container, key)
            frame[COST] += found.has_value if type(container) is Optional else 1
            return found if read is None else read(found)

        return Code(run, operand.cost)

    def _index(self, node: Call, costs_root: bool) -> Code:
        operand = self._operand(node.arguments[0], costs_root)
        key_node = node.arguments[1]
        constant = self.planner.constant(key_node)
        if constant is not None:
            check_constant_key(constant.value)
        key = self.compile(key_node, costs_root=not is_attribute(key_node))
        type_ = node.arguments[0].type or DYN
        is_optional = node.function != operators.INDEX or _is_optional(type_)
        if is_optional:
            return self._index_optional(node, operand, key)
        cost = operand.cost + key.cost + 1
        inner, find = operand.run, key.run
        kind = (key_node.type or DYN).kind
        if type_.kind is Kind.MAP and kind is Kind.STRING:
            return Code(lambda frame: inner(frame)[find(frame)], cost)
        if type_.kind is Kind.LIST and kind is Kind.INT:
            return Code(_element(inner, find), cost)

        def run(frame: Frame) -> Value:
            container = inner(frame)
            value = find(frame)
            check_key(value)
            if type(container) is Optional:
                raise Retry
            return get(container, value)

        return Code(run, cost)

    def _index_optional(self, node: Call, operand: Code, key: Code) -> Code:
        inner, find = operand.run, key.run
        read = None
        if node.function == operators.OPTIONAL_SELECT:
            name, read = self.planner.optional_field(node)
            find = lambda _: name  # noqa: E731 - as short as what it replaces

        def run(frame: Frame) -> Value:
            container = inner(frame)
            if type(container) is Optional and not container.has_value:
                return container
            value = find(frame)
            check_key(value)
            found = get_optional(container, value)
            frame[COST] += key.cost + found.has_value
            return found if read is None else read(found)

        return Code(run, operand.cost)

    # operators

    def _call(self, node: Call, costs_root: bool) -> Code:
        match node.function:
            case operators.AND:
                return logical_and(*map(self.compile, node.arguments))
            case operators.OR:
                return logical_or(*map(self.compile, node.arguments))
            case operators.CONDITIONAL:
                return self._conditional(node)
            case operators.EQUALS | operators.NOT_EQUALS:
                return compile_equality(self, node)
            case operators.INDEX | operators.OPTIONAL_INDEX | operators.OPTIONAL_SELECT:
                return self._index(node, costs_root)
            case operators.MAP_INSERT:
                return self._insertion(node)
            case "or" | "orValue" if self.planner.is_optional_choice(node):
                return self._optional_choice(node)
            case _:
                return self._function_or_special(node)

    def _function_or_special(self, node: Call) -> Code:
        if node.function == operators.ADD and self.planner.is_accumulation(node):
            return self._accumulation(node)
        members = self.planner.members(node) if node.function == operators.IN else None
        if members is not None:
            return compile_membership(self, node, members)
        return compile_call(self, node)

    def _conditional(self, node: Call) -> Code:
        condition = self.compile(node.arguments[0])
        yes, no = (
            self.compile(branch, costs_root=not is_attribute(branch))
            for branch in node.arguments[1:]
        )
        decide, run_yes, run_no = condition.run, yes.run, no.run
        yes_cost, no_cost = yes.cost, no.cost

        def run(frame: Frame) -> Value:
            value = decide(frame)
            if value is True:
                result = run_yes(frame)
                frame[COST] += yes_cost
                return result
            if value is False:
                result = run_no(frame)
                frame[COST] += no_cost
                return result
            raise Retry

        return Code(run, condition.cost)

    def _optional_choice(self, node: Call) -> Code:
        assert node.target is not None
        left = self.compile(node.target)
        right = self.compile(node.arguments[0])
        unwraps = node.function == "orValue"

        def run(frame: Frame) -> Value:
            value = left.run(frame)
            if type(value) is not Optional:
                return value
            if value.has_value:
                return value.value if unwraps else value
            result = right.run(frame)
            frame[COST] += right.cost
            return result

        return Code(run, left.cost)

    # aggregates

    def _list(self, node: CreateList, costs_root: bool) -> Code:  # noqa: ARG002 - one of a table
        codes = [self.compile(element) for element in node.elements]
        cost = LIST_CREATION + sum(code.cost for code in codes)
        runs = [code.run for code in codes]
        if len(runs) == 1 and not node.optional:
            (only,) = runs
            return Code(lambda frame: [only(frame)], cost)
        if not node.optional:
            return Code(lambda frame: [run(frame) for run in runs], cost)
        return Code(_optional_list(runs, node.optional), cost)

    def _map(self, node: CreateMap, costs_root: bool) -> Code:  # noqa: ARG002 - one of a table
        keys = [self.compile(entry.key) for entry in node.entries]
        values = [self.compile(entry.value) for entry in node.entries]
        cost = MAP_CREATION + sum(code.cost for code in (*keys, *values))
        flags = [entry.is_optional for entry in node.entries]
        parts = list(
            zip((code.run for code in keys), (code.run for code in values), flags, strict=True)
        )

        def run(frame: Frame) -> dict[Value, Value]:
            entries: Entries = []
            for key, value, is_optional in parts:
                insert(entries, key(frame), value(frame), is_optional=is_optional)
            return map_of_entries(entries)

        return Code(run, cost)

    def _struct(self, node: CreateStruct, costs_root: bool) -> Code:  # noqa: ARG002 - one of a table
        make = self.planner.struct_maker(node.name)
        codes = [self.compile(entry.value) for entry in node.entries]
        parts = [
            (entry.key, code.run, entry.is_optional)
            for entry, code in zip(node.entries, codes, strict=True)
        ]

        def run(frame: Frame) -> Value:
            entries: Entries = []
            for key, value, is_optional in parts:
                insert(entries, key, value(frame), is_optional=is_optional)
            return make(dict(entries))

        return Code(run, STRUCT_CREATION + sum(code.cost for code in codes))

    # comprehensions

    def _comprehension(self, node: Comprehension, costs_root: bool) -> Code:  # noqa: ARG002 - one of a table
        if is_bind(node):
            return self._bind(node)
        return compile_loop(self, node)

    def _bind(self, node: Comprehension) -> Code:
        with self.planner.binding(node) as slot:
            result = self.compile(node.result)

        def run(frame: Frame) -> Value:
            frame[slot] = UNSET
            return result.run(frame)

        return Code(run, result.cost)

    def _accumulation(self, node: Call) -> Code:
        left, right = map(self.compile, node.arguments)

        def run(frame: Frame) -> Value:
            target = left.run(frame)
            new = right.run(frame)
            if len(new) > 1:
                spend(frame, len(new))
            target.extend(new)
            return target

        return Code(run, left.cost + right.cost + 1)

    def _insertion(self, node: Call) -> Code:
        codes = [self.compile(argument) for argument in node.arguments]
        target, *parts = (code.run for code in codes)

        def run(frame: Frame) -> Value:
            values = [part(frame) for part in parts]
            new = {values[0]: values[1]} if len(values) == 2 else values[0]
            return merge(target(frame), new)

        return Code(run, 1 + sum(code.cost for code in codes))

    _COMPILERS: ClassVar[dict[type[Node], Callable[[Any, Any, bool], Code]]] = {
        Identifier: _identifier,
        Select: _select,
        Call: _call,
        CreateList: _list,
        CreateMap: _map,
        CreateStruct: _struct,
        Comprehension: _comprehension,
        Literal: lambda _compiler, node, _root: Code(lambda _frame: node.value, 0),
    }


def _is_optional(type_: Type) -> bool:
    return type_.kind is Kind.OPAQUE and type_.name == "optional_type"


def _presence(inner: Run, key: str) -> Run:
    def run(frame: Frame) -> bool:
        container = inner(frame)
        if isinstance(container, dict):
            return key in container or type(container) is Rows
        raise Retry

    return run


def _element(inner: Run, find: Run) -> Run:
    def run(frame: Frame) -> Value:
        index = find(frame)
        if index >= 0:
            return inner(frame)[index]
        raise Retry

    return run


def _optional_list(runs: Sequence[Run], optional: set[int]) -> Run:
    def run(frame: Frame) -> list[Value]:
        values: list[Value] = []
        for index, element in enumerate(runs):
            value = element(frame)
            if index not in optional:
                values.append(value)
                continue
            inner = optional_value(value, "list element")
            if inner.has_value:
                values.append(inner.value)
        return values

    return run
