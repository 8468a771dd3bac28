"""Macros: calls that the parser replaces by other expressions.

The standard ones, those over two variables, and those of optional values. A macro that does not apply to its arguments
reports an issue in their place; all nodes it makes stand at the position of the call.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from kubelite.cel import operators
from kubelite.cel.ast import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateStruct,
    Entry,
    Identifier,
    Literal,
    Node,
    Select,
)
from kubelite.cel.failures import Issue
from kubelite.cel.operators import ACCUMULATOR
from kubelite.cel.values import Value
from kubelite.limits import EXPRESSION_NODES

OLD_ACCUMULATOR: Final = "__result__"
UNUSED: Final = "#unused"


class MacroFailed(Exception):
    """The arguments of a macro are not what it needs."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.issue = Issue(position, message)


Expand = Callable[["Builder", Node, list[Node]], Node | None]  # None: the call is no macro


class Macro(Struct, frozen=True):
    """A macro: a function's name, how many arguments, whether it is called on a receiver; what it expands to."""

    function: str
    argument_count: int
    is_member: bool
    expand: Expand


class Room:
    """How many nodes macros may still copy, so that copies of copies stay within bounds."""

    __slots__ = ("nodes",)

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes


class Builder:
    """Makes nodes at one position."""

    __slots__ = ("_room", "position")

    def __init__(self, position: int, room: Room) -> None:
        self.position = position
        self._room = room

    def copy(self, node: Node) -> Node:
        """Return a copy of an unchecked tree, all nodes at their old positions."""
        self._room.nodes -= 1
        if self._room.nodes < 0:
            EXPRESSION_NODES.reached()
            raise MacroFailed(self.position, "expression has too many nodes")
        return _copy(self.copy, node)

    def literal(self, value: Value) -> Node:
        """Return a literal."""
        return Literal(self.position, value)

    def name(self, name: str = ACCUMULATOR) -> Node:
        """Return a name; that of the accumulator by default."""
        return Identifier(self.position, name)

    def call(self, function: str, *arguments: Node) -> Node:
        """Return a call of a function."""
        return Call(self.position, function, list(arguments), None)

    def member(self, function: str, target: Node) -> Node:
        """Return a call of a member function without arguments."""
        return Call(self.position, function, [], target)

    def one(self, element: Node) -> Node:
        """Return a list of one element."""
        return CreateList(self.position, [element], set())

    def loop(
        self,
        range_: Node,
        variables: tuple[str, str],
        initial: Node,
        *,
        condition: Node | None = None,
        step: Node,
        result: Node | None = None,
        accumulator: str = ACCUMULATOR,
    ) -> Node:
        """Return a comprehension; without condition all elements are visited."""
        return Comprehension(
            self.position,
            range_=range_,
            first=variables[0],
            second=variables[1],
            accumulator=accumulator,
            initial=initial,
            condition=self.literal(True) if condition is None else condition,
            step=step,
            result=self.name() if result is None else result,
        )


def _variable(node: Node, message: str = "argument must be a simple name") -> str:
    if not isinstance(node, Identifier):
        raise MacroFailed(node.position, message)
    return node.name


def _one_variable(node: Node, message: str) -> tuple[str, str]:
    name = _variable(node, message)
    _refuse_accumulator(name, node)
    return name, ""


def _two_variables(first: Node, second: Node) -> tuple[str, str]:
    names = _variable(first), _variable(second)
    if names[0] == names[1]:
        raise MacroFailed(second.position, f"duplicate variable name: {names[0]}")
    _refuse_accumulator(names[0], first)
    _refuse_accumulator(names[1], second)
    return names


def _refuse_accumulator(name: str, node: Node) -> None:
    if name in (ACCUMULATOR, OLD_ACCUMULATOR):
        raise MacroFailed(node.position, "iteration variable overwrites accumulator variable")


def _has(build: Builder, target: Node, arguments: list[Node]) -> Node:  # noqa: ARG001 - has() has no receiver
    (argument,) = arguments
    if not isinstance(argument, Select):
        raise MacroFailed(argument.position, "invalid argument to has() macro")
    return Select(build.position, argument.operand, argument.field, is_test=True)


def _all(build: Builder, target: Node, names: tuple[str, str], predicate: Node) -> Node:
    return build.loop(
        target,
        names,
        build.literal(True),
        condition=build.call(operators.NOT_STRICTLY_FALSE, build.name()),
        step=build.call(operators.AND, build.name(), predicate),
    )


def _exists(build: Builder, target: Node, names: tuple[str, str], predicate: Node) -> Node:
    return build.loop(
        target,
        names,
        build.literal(False),
        condition=build.call(operators.NOT_STRICTLY_FALSE, build.call(operators.NOT, build.name())),
        step=build.call(operators.OR, build.name(), predicate),
    )


def _exists_one(build: Builder, target: Node, names: tuple[str, str], predicate: Node) -> Node:
    counted = build.call(operators.ADD, build.name(), build.literal(1))
    return build.loop(
        target,
        names,
        build.literal(0),
        step=build.call(operators.CONDITIONAL, predicate, counted, build.name()),
        result=build.call(operators.EQUALS, build.name(), build.literal(1)),
    )


Quantifier = Callable[[Builder, Node, tuple[str, str], Node], Node]


def _over_one(quantifier: Quantifier) -> Expand:
    return lambda build, target, arguments: quantifier(
        build,
        target,
        _one_variable(arguments[0], "argument must be a simple name"),
        arguments[1],
    )


def _over_two(quantifier: Quantifier) -> Expand:
    return lambda build, target, arguments: quantifier(
        build, target, _two_variables(arguments[0], arguments[1]), arguments[2]
    )


def _filtered(build: Builder, predicate: Node, step: Node) -> Node:
    return build.call(operators.CONDITIONAL, predicate, step, build.name())


def expand_map(build: Builder, target: Node, arguments: list[Node]) -> Node:
    """Expand `map`, with or without a condition; raises MacroFailed."""
    names = _one_variable(arguments[0], "argument is not an identifier")
    step = build.call(operators.ADD, build.name(), build.one(arguments[-1]))
    if len(arguments) == 3:
        step = _filtered(build, arguments[1], step)
    return build.loop(target, names, CreateList(build.position, [], set()), step=step)


def _filter(build: Builder, target: Node, arguments: list[Node]) -> Node:
    names = _one_variable(arguments[0], "argument is not an identifier")
    kept = build.call(operators.ADD, build.name(), build.one(arguments[0]))
    step = _filtered(build, arguments[1], kept)
    return build.loop(target, names, CreateList(build.position, [], set()), step=step)


def _transform_list(build: Builder, target: Node, arguments: list[Node]) -> Node:
    names = _two_variables(arguments[0], arguments[1])
    step = build.call(operators.ADD, build.name(), build.one(arguments[-1]))
    if len(arguments) == 4:
        step = _filtered(build, arguments[2], step)
    return build.loop(target, names, CreateList(build.position, [], set()), step=step)


def _transform_map(build: Builder, target: Node, arguments: list[Node]) -> Node:
    names = _two_variables(arguments[0], arguments[1])
    step = build.call(operators.MAP_INSERT, build.name(), build.name(names[0]), arguments[-1])
    if len(arguments) == 4:
        step = _filtered(build, arguments[2], step)
    return build.loop(target, names, CreateMap(build.position, []), step=step)


def _transform_map_entry(build: Builder, target: Node, arguments: list[Node]) -> Node:
    names = _two_variables(arguments[0], arguments[1])
    step = build.call(operators.MAP_INSERT, build.name(), arguments[-1])
    if len(arguments) == 4:
        step = _filtered(build, arguments[2], step)
    return build.loop(target, names, CreateMap(build.position, []), step=step)


def _bound(build: Builder, function: str, target: Node, arguments: list[Node]) -> Node:
    """Return the expression `arguments[1]` with the value of an optional bound to the name `arguments[0]`."""
    name = _variable(arguments[0], f"{function}() variable name must be a simple identifier")
    return bind(build, name, build.member("value", build.copy(target)), arguments[1])


def bind(build: Builder, name: str, value: Node, result: Node) -> Node:
    """Return `result` in which `name` stands for a value: a loop over nothing."""
    return build.loop(
        CreateList(build.position, [], set()),
        (UNUSED, ""),
        value,
        condition=build.literal(False),
        step=build.name(name),
        result=result,
        accumulator=name,
    )


def _optional_map(build: Builder, target: Node, arguments: list[Node]) -> Node:
    bound = _bound(build, "optMap", target, arguments)
    return build.call(
        operators.CONDITIONAL,
        build.member("hasValue", target),
        build.call("optional.of", bound),
        build.call("optional.none"),
    )


def _optional_flat_map(build: Builder, target: Node, arguments: list[Node]) -> Node:
    bound = _bound(build, "optFlatMap", target, arguments)
    return build.call(
        operators.CONDITIONAL,
        build.member("hasValue", target),
        bound,
        build.call("optional.none"),
    )


def _bind(build: Builder, target: Node, arguments: list[Node]) -> Node | None:
    """Return `arguments[2]` with the value of `arguments[1]` bound to a name; None if it is not called on ``cel``."""
    if not (isinstance(target, Identifier) and target.name == "cel"):
        return None
    name = _variable(arguments[0], "cel.bind() variable names must be simple identifiers")
    return bind(build, name, arguments[1], arguments[2])


Copy = Callable[[Node], Node]


def _copy(copy: Copy, node: Node) -> Node:
    at = node.position
    match node:
        case Literal():
            return Literal(at, node.value)
        case Identifier():
            return Identifier(at, node.name)
        case Select():
            return Select(at, copy(node.operand), node.field, is_test=node.is_test)
        case Call():
            target = None if node.target is None else copy(node.target)
            return Call(at, node.function, [copy(each) for each in node.arguments], target)
        case CreateList():
            return CreateList(at, [copy(each) for each in node.elements], node.optional)
        case CreateMap():
            return CreateMap(at, [_copy_entry(copy, entry) for entry in node.entries])
        case CreateStruct():
            return CreateStruct(at, node.name, [_copy_entry(copy, entry) for entry in node.entries])
        case Comprehension():
            return Comprehension(
                at,
                range_=copy(node.range),
                first=node.first,
                second=node.second,
                accumulator=node.accumulator,
                initial=copy(node.initial),
                condition=copy(node.condition),
                step=copy(node.step),
                result=copy(node.result),
            )
        case _:
            raise AssertionError(node)


def _copy_entry(copy: Copy, entry: Entry) -> Entry:
    key = entry.key if isinstance(entry.key, str) else copy(entry.key)
    return Entry(entry.position, key, copy(entry.value), is_optional=entry.is_optional)


STANDARD: Final = (
    Macro("has", 1, False, _has),
    Macro("all", 2, True, _over_one(_all)),
    Macro("exists", 2, True, _over_one(_exists)),
    Macro("exists_one", 2, True, _over_one(_exists_one)),
    Macro("map", 2, True, expand_map),
    Macro("map", 3, True, expand_map),
    Macro("filter", 2, True, _filter),
)
OPTIONAL: Final = (
    Macro("optMap", 2, True, _optional_map),
    Macro("optFlatMap", 2, True, _optional_flat_map),
)
TWO_VARIABLES: Final = (
    Macro("all", 3, True, _over_two(_all)),
    Macro("exists", 3, True, _over_two(_exists)),
    Macro("exists_one", 3, True, _over_two(_exists_one)),
    Macro("existsOne", 3, True, _over_two(_exists_one)),
    Macro("transformList", 3, True, _transform_list),
    Macro("transformList", 4, True, _transform_list),
    Macro("transformMap", 3, True, _transform_map),
    Macro("transformMap", 4, True, _transform_map),
    Macro("transformMapEntry", 3, True, _transform_map_entry),
    Macro("transformMapEntry", 4, True, _transform_map_entry),
)
BINDINGS: Final = (Macro("bind", 3, True, _bind),)
