"""What both ways of compiling a tree share: slots of variables, constants, and how calls and fields are bound."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Struct

from kubelite.cel import operators
from kubelite.cel.ast import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    Identifier,
    Literal,
    Node,
    Select,
)
from kubelite.cel.calls import Plan, plan_call
from kubelite.cel.declarations import Field, Function, StructType
from kubelite.cel.failures import ProgramFailed
from kubelite.cel.frame import SLOTS
from kubelite.cel.types import Kind, Type
from kubelite.cel.values import EvaluationFailed, Optional, UInt, Value, equal, map_of_entries

_CONVERSIONS: Final = frozenset(
    {"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"}
)
_PRIMITIVES: Final = frozenset({bool, float, int, str, UInt})


class Constant(Struct, frozen=True):
    """The value of a node that is the same in every evaluation."""

    value: Value


Read = Callable[[Any], Value] | None


class Planner:
    """The declarations a tree was checked with, and the slots it has been given so far."""

    def __init__(
        self, functions: Mapping[str, Function], structs: Mapping[str, StructType]
    ) -> None:
        self._functions = functions
        self._structs = structs
        self._constants: dict[Node, Constant | None] = {}
        self._scopes: list[dict[str, tuple[int, Node | None]]] = []
        self.variables: dict[str, int] = {}  # those of the environment, by name
        self.slot_count = SLOTS

    # slots

    def _allocate(self) -> int:
        self.slot_count += 1
        return self.slot_count - 1

    def slot(self, name: str) -> tuple[int, Node | None]:
        """Return the slot of a variable, and the node that gives its value when it is needed first, if there is one."""
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name not in self.variables:
            self.variables[name] = self._allocate()
        return self.variables[name], None

    @contextmanager
    def scope(self, node: Comprehension) -> Iterator[tuple[int, int | None, int]]:
        """Give slots to the variables of a comprehension for the time of a block."""
        first, accumulator = self._allocate(), self._allocate()
        second = self._allocate() if node.second else None
        self._scopes.append({node.accumulator: (accumulator, None)})
        loop: dict[str, tuple[int, Node | None]] = {node.first: (first, None)}
        if second is not None:
            loop[node.second] = (second, None)
        self._scopes.append(loop)
        try:
            yield first, second, accumulator
        finally:
            del self._scopes[-2:]

    @contextmanager
    def hidden(self, node: Comprehension) -> Iterator[None]:  # noqa: ARG002 - says whose
        """Hide the variables of the innermost loop for the time of a block: its result does not see them."""
        loop = self._scopes.pop()
        try:
            yield
        finally:
            self._scopes.append(loop)

    @contextmanager
    def binding(self, node: Comprehension) -> Iterator[int]:
        """Give a slot to the one name that a comprehension binds."""
        slot = self._allocate()
        self._scopes.append({node.accumulator: (slot, node.initial)})
        try:
            yield slot
        finally:
            self._scopes.pop()

    def initial(self, node: Comprehension) -> Callable[[], Value]:
        """Return what makes the first value of an accumulator: a new list or map, or a literal."""
        if isinstance(node.initial, CreateList):
            return list
        if isinstance(node.initial, CreateMap):
            return dict
        assert isinstance(node.initial, Literal), "macros begin with nothing else"
        value = node.initial.value
        return lambda: value

    # constants

    def constant(self, node: Node) -> Constant | None:
        """Return the value of a node that needs no evaluation; raises ProgramFailed if it has none."""
        if isinstance(node, Literal):
            return Constant(node.value)
        if node not in self._constants:
            self._constants[node] = self._fold(node)
        return self._constants[node]

    def _fold(self, node: Node) -> Constant | None:
        if isinstance(node, Select) and node.identifier is not None:
            node = node.identifier
        if isinstance(node, Identifier):
            return None if node.type_value is None else Constant(erased(node.type_value))
        if isinstance(node, CreateList):
            return self._fold_list(node)
        if isinstance(node, CreateMap):
            return self._fold_map(node)
        if isinstance(node, Call):
            return self._fold_call(node)
        return None

    def _fold_list(self, node: CreateList) -> Constant | None:
        elements = [self.constant(element) for element in node.elements]
        if node.optional or any(element is None for element in elements):
            return None
        return Constant([element.value for element in elements if element is not None])

    def _fold_map(self, node: CreateMap) -> Constant | None:
        entries: Entries = []
        for entry in node.entries:
            key, value = self.constant(entry.key), self.constant(entry.value)
            if key is None or value is None or entry.is_optional:
                return None
            entries.append((key.value, value.value))
        return Constant(map_of_entries(entries))

    def _fold_call(self, node: Call) -> Constant | None:
        if node.function == operators.IN:
            container = self.constant(node.arguments[1])
            is_empty = container is not None and container.value == []
            return Constant(False) if is_empty and _is_list_search(node) else None
        if node.function not in _CONVERSIONS or node.target is not None:
            return None
        if len(node.arguments) != 1 or self.constant(node.arguments[0]) is None:
            return None
        argument = self.constant(node.arguments[0])
        assert argument is not None
        try:
            return Constant(self.plan(node).call(argument.value))
        except EvaluationFailed as error:
            raise ProgramFailed(error.text) from error

    # calls

    def plan(self, node: Call) -> Plan:
        """Return how a call of a function runs."""
        arguments = node.arguments if node.target is None else [node.target, *node.arguments]
        constants = ((index, self.constant(each)) for index, each in enumerate(arguments))
        literals = {index: each.value for index, each in constants if each is not None}
        return plan_call(node, self._functions, literals)

    def members(self, node: Call) -> Sequence[Value] | None:
        """Return the constant list of simple values that `in` searches; that is free of cost."""
        container = self.constant(node.arguments[1])
        if container is None or not _is_list_search(node):
            return None
        elements = container.value
        assert isinstance(elements, list)
        return elements if all(type(each) in _PRIMITIVES for each in elements) else None

    def is_accumulation(self, node: Call) -> bool:
        """Return whether a sum adds a list to the accumulator of a comprehension, which nothing else can see."""
        left, right = node.arguments
        return (
            isinstance(left, Identifier)
            and left.name == operators.ACCUMULATOR
            and isinstance(right, CreateList)
        )

    def is_optional_choice(self, node: Call) -> bool:
        """Return whether `or` and `orValue` are those of optional values."""
        if node.target is None or len(node.arguments) != 1:
            return False
        return not node.overloads or node.overloads[0].id.startswith("optional_or")

    # fields

    def field(self, node: Select) -> tuple[str, Read]:
        """Return the key of a field in the object itself, and what converts its value."""
        return self._field(node.operand.type, node.field)

    def optional_field(self, node: Call) -> tuple[str, Read]:
        """Return the same of a selection with a question mark; what converts takes and returns an optional."""
        name = node.arguments[1]
        assert isinstance(name, Literal)
        operand = node.arguments[0].type
        key, read = self._field(operand, name.value)
        is_optional = operand is not None and operand.name == "optional_type"
        return key, read if read is None or is_optional else _reading_optional(read)

    def _field(self, type_: Type | None, name: str) -> tuple[str, Read]:
        if type_ is not None and type_.kind is Kind.OPAQUE and type_.name == "optional_type":
            key, read = self._field(type_.parameters[0], name)
            return key, None if read is None else _reading_optional(read)
        field: Field | None = None
        if type_ is not None and type_.kind is Kind.STRUCT and type_.name in self._structs:
            field = self._structs[type_.name].fields.get(name)
        return (name, None) if field is None else (field.key or name, field.read)

    def struct_maker(self, name: str) -> Callable[[dict[str, Value]], Value]:
        """Return what makes an object of a type from its fields; raises ProgramFailed if nothing does."""
        struct = self._structs.get(name)
        if struct is None:
            raise ProgramFailed(f"unknown type: {name}")
        return struct.make or dict


def _is_list_search(node: Call) -> bool:
    return len(node.overloads) == 1 and node.overloads[0].id == "in_list"


def _reading_optional(read: Callable[[Any], Value]) -> Callable[[Any], Value]:
    return lambda found: Optional(read(found.value)) if found.has_value else found


def erased(type_: Type) -> Type:
    """Return a type as a value: `list(int)` and `list` are one at run time."""
    return type_


def optional_value(value: Value, what: str) -> Optional:
    """Return the optional behind a question mark; raises EvaluationFailed if it is none."""
    if type(value) is Optional:
        return value
    raise EvaluationFailed(f"cannot initialize optional {what} from non-optional value")


Entries = list[tuple[Value, Value]]


def insert(entries: Entries, key: Value, value: Value, *, is_optional: bool = False) -> None:
    """Add an entry of a map that is written out; an empty optional takes away what the key had."""
    if is_optional:
        optional = optional_value(value, "entry")
        if not optional.has_value:
            entries[:] = [entry for entry in entries if not equal(entry[0], key)]
            return
        value = optional.value
    entries.append((key, value))


def iterate(container: Value, *, is_pairwise: bool) -> Iterable[tuple[Value, Value]]:
    """Return what a comprehension visits: pairs of which the second part counts only with two variables."""
    if isinstance(container, dict):
        return container.items()
    if isinstance(container, list):
        return enumerate(container) if is_pairwise else zip(container, container, strict=True)
    text = "unsupported comprehension range type" if is_pairwise else "expected iterable type"
    name = f"types.{type(container).__name__.capitalize()}"
    name = {"types.Str": "types.String", "types.Float": "types.Double"}.get(name, name)
    raise EvaluationFailed(f"{text}: {name}" if is_pairwise else f"got '{name}', {text}")
