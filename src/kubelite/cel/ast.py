"""The syntax tree of an expression.

The parser builds it, macros already expanded; the checker notes in each node its type and which declaration it means.
`position` is the offset in characters that errors point at.
"""

from typing import Any, TypeAlias

from kubelite.cel.declarations import Overload
from kubelite.cel.types import Type
from kubelite.cel.values import Value


class Node:
    """The parent of all nodes."""

    __slots__ = ("position", "type")

    def __init__(self, position: int) -> None:
        self.position = position
        self.type: Type | None = None  # once checked


class Literal(Node):
    """A value written out: null, bool, int, uint, double, string or bytes."""

    __slots__ = ("value",)

    def __init__(self, position: int, value: Value) -> None:
        super().__init__(position)
        self.value = value


class Identifier(Node):
    """A name; `type_value` is the type that it names, if it does."""

    __slots__ = ("name", "type_value")

    def __init__(self, position: int, name: str) -> None:
        super().__init__(position)
        self.name = name
        self.type_value: Type | None = None


class Select(Node):
    """A field of an object or map, or with `is_test` whether there is one (`has`).

    The checker sets `identifier` if operand and field together are a qualified name.
    """

    __slots__ = ("field", "identifier", "is_test", "operand")

    def __init__(self, position: int, operand: Node, field: str, *, is_test: bool = False) -> None:
        super().__init__(position)
        self.operand = operand
        self.field = field
        self.is_test = is_test
        self.identifier: Identifier | None = None


class Call(Node):
    """A function or operator with its arguments, of a member function without the receiver, which is `target`."""

    __slots__ = ("arguments", "function", "overloads", "target")

    def __init__(
        self, position: int, function: str, arguments: list[Node], target: Node | None
    ) -> None:
        super().__init__(position)
        self.function = function
        self.arguments = arguments
        self.target = target
        self.overloads: tuple[Overload, ...] = ()  # that the checker found applicable


class CreateList(Node):
    """A list written out; `optional` holds the indices of elements with a question mark."""

    __slots__ = ("elements", "optional")

    def __init__(self, position: int, elements: list[Node], optional: set[int]) -> None:
        super().__init__(position)
        self.elements = elements
        self.optional = optional


class Entry:
    """An entry of a map, or with a str as key a field of an object, both written out."""

    __slots__ = ("is_optional", "key", "position", "value")

    def __init__(self, position: int, key: Any, value: Node, *, is_optional: bool) -> None:
        self.position = position
        self.key = key
        self.value = value
        self.is_optional = is_optional


class CreateMap(Node):
    """A map written out."""

    __slots__ = ("entries",)

    def __init__(self, position: int, entries: list[Entry]) -> None:
        super().__init__(position)
        self.entries = entries


class CreateStruct(Node):
    """An object of a named type, written out."""

    __slots__ = ("entries", "name")

    def __init__(self, position: int, name: str, entries: list[Entry]) -> None:
        super().__init__(position)
        self.name = name
        self.entries = entries


class Comprehension(Node):
    """A loop over a list or map; `second` is "" with one variable.

    The accumulator starts as `initial` and becomes `step` for each element while `condition` holds; the value is
    `result`.
    """

    __slots__ = (
        "accumulator",
        "condition",
        "first",
        "initial",
        "range",
        "result",
        "second",
        "step",
    )

    def __init__(  # noqa: PLR0913 - one for each part
        self,
        position: int,
        *,
        range_: Node,
        first: str,
        second: str,
        accumulator: str,
        initial: Node,
        condition: Node,
        step: Node,
        result: Node,
    ) -> None:
        super().__init__(position)
        self.range = range_
        self.first = first
        self.second = second
        self.accumulator = accumulator
        self.initial = initial
        self.condition = condition
        self.step = step
        self.result = result


Expression: TypeAlias = (
    Literal | Identifier | Select | Call | CreateList | CreateMap | CreateStruct | Comprehension
)
