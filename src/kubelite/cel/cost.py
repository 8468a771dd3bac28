"""Estimates what an expression costs at least and at most, from what is known of sizes before it runs.

Whether a rule may be written is decided by these numbers, so they are those of Kubernetes: cel-go's estimate, with the
functions of the libraries estimated as they declare.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from msgspec import Struct

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
from kubelite.cel.declarations import (
    COST_MAX,
    LIST_CREATION,
    MAP_CREATION,
    ONE,
    STRING_TRAVERSAL,
    STRUCT_CREATION,
    UNKNOWN,
    Argument,
    CallEstimate,
    Estimate,
    Overload,
    Range,
)
from kubelite.cel.macros import OLD_ACCUMULATOR
from kubelite.cel.types import Kind, Type
from kubelite.cel.values import Value

Path = tuple[str, ...]
SizeEstimator = Callable[[Path, Type], Range | None]  # of what a path from a variable leads to
EqualityEstimates = dict[str, Estimate]

ZERO: Final = Range(0, 0)
_SCALARS: Final = frozenset(
    {Kind.BOOL, Kind.DOUBLE, Kind.DURATION, Kind.INT, Kind.TIMESTAMP, Kind.UINT}
)
_SELECTABLE: Final = frozenset({Kind.MAP, Kind.STRUCT, Kind.PARAMETER})
_COMPARISONS: Final = frozenset(
    {
        *("less_string", "less_equals_string", "greater_string", "greater_equals_string"),
        *("less_bytes", "less_equals_bytes", "greater_bytes", "greater_equals_bytes"),
        *("equals", "not_equals"),
    }
)


class _Entry(Struct, frozen=True):
    """The sizes of the keys and values that a list or map holds; the keys of a list are its indices."""

    kind: Kind
    key: Range
    value: Range


class _Local(Struct, frozen=True):
    """What is known of a variable of a comprehension."""

    path: Path
    size: Range | None
    entry: _Entry | None


def is_bind(node: Comprehension) -> bool:
    """Return whether a comprehension loops over nothing and only gives its initial value a name."""
    return (
        isinstance(node.range, CreateList)
        and not node.range.elements
        and isinstance(node.condition, Literal)
        and node.condition.value is False
        and node.accumulator != OLD_ACCUMULATOR
    )


def _literal_size(value: Value) -> Range:
    size = len(value) if isinstance(value, str | bytes) else 1
    return Range(size, size)


def _is_scalar(type_: Type) -> bool:
    if type_.kind is Kind.OPAQUE and type_.name == "optional_type":
        return _is_scalar(type_.parameters[0])
    return type_.kind in _SCALARS


class _Argument:
    """An argument of a call as estimates see it."""

    __slots__ = ("_node", "_sizes", "known_size", "path", "type")

    def __init__(
        self,
        node: Node | None,
        type_: Type,
        path: Path,
        known_size: Range | None,
        sizes: SizeEstimator,
    ) -> None:
        self._node = node
        self._sizes = sizes
        self.type = type_
        self.path = path
        self.known_size = known_size

    @property
    def literal(self) -> Value | None:
        return self._node.value if isinstance(self._node, Literal) else None

    @property
    def size(self) -> Range:
        return self.known_size or self._sizes(self.path, self.type) or UNKNOWN

    @property
    def element(self) -> "Argument | None":
        if not self.type.parameters:
            return None
        path = (*self.path, "@items") if self.path else ()
        return _Argument(None, self.type.parameters[0], path, None, self._sizes)


class CostEstimator:
    """A pass over one checked tree."""

    def __init__(self, sizes: SizeEstimator | None, equality: EqualityEstimates) -> None:
        self._sizes: SizeEstimator = sizes or (lambda path, type_: None)  # noqa: ARG005 - the signature is given
        self._equality = equality
        self._paths: dict[Node, Path] = {}
        self._computed: dict[Node, Range] = {}
        self._entries: dict[Node, _Entry] = {}
        self._locals: dict[str, list[_Local]] = {}

    def cost(self, node: Node) -> Range:
        """Return the cost of a node with all in it."""
        if isinstance(node, Select) and node.identifier is not None:
            self._paths[node] = (node.identifier.name,)
            return ONE
        return self._COSTS[type(node)](self, node)

    # sizes

    def _local(self, node: Node) -> _Local | None:
        if isinstance(node, Identifier):
            stack = self._locals.get(node.name)
            return stack[-1] if stack else None
        return None

    def _path(self, node: Node) -> Path:
        local = self._local(node)
        return local.path if local is not None else self._paths.get(node, ())

    def _size(self, node: Node) -> Range | None:
        size = self._computed.get(node) or _written_size(node)
        if size is not None:
            return size
        type_ = node.type
        assert type_ is not None
        size = self._sizes(self._path(node), type_)
        if size is not None:
            self._computed[node] = size
            return size
        if _is_scalar(type_):
            return ONE
        local = self._local(node)
        return None if local is None else local.size

    def _size_or_unknown(self, node: Node) -> Range:
        return self._size(node) or UNKNOWN

    def _set_size(self, node: Node, size: Range | None) -> None:
        if size is not None:
            self._computed[node] = size

    def _entry(self, node: Node) -> _Entry | None:
        entry = self._entries.get(node)
        if entry is not None:
            return entry
        local = self._local(node)
        return None if local is None else local.entry

    def _set_entry(self, node: Node, entry: _Entry | None) -> None:
        if entry is not None:
            self._entries[node] = entry

    def _argument(self, node: Node) -> _Argument:
        path = self._path(node)
        if path and path[0] in (operators.ACCUMULATOR, OLD_ACCUMULATOR):
            path = ()
        assert node.type is not None
        return _Argument(node, node.type, path, self._size(node), self._sizes)

    # nodes

    def _literal(self, node: Literal) -> Range:  # noqa: ARG002 - one of a table
        return ZERO

    def _identifier(self, node: Identifier) -> Range:
        local = self._local(node)
        self._paths[node] = (node.name,) if local is None else local.path
        return ONE

    def _select(self, node: Select) -> Range:
        total = self.cost(node.operand)
        if node.is_test:
            return total
        operand = node.operand.type
        assert operand is not None
        if operand.kind in _SELECTABLE:
            total += ONE
        self._paths[node] = (*self._path(node.operand), node.field)
        return total

    def _list(self, node: CreateList) -> Range:
        total = Range(LIST_CREATION, LIST_CREATION)
        sizes = []
        for element in node.elements:
            total += self.cost(element)
            sizes.append(self._size_or_unknown(element))
        self._entries[node] = _Entry(Kind.LIST, ONE, _union(sizes))
        return total

    def _map(self, node: CreateMap) -> Range:
        total = Range(MAP_CREATION, MAP_CREATION)
        keys, values = [], []
        for entry in node.entries:
            total = total + self.cost(entry.key) + self.cost(entry.value)
            keys.append(self._size_or_unknown(entry.key))
            values.append(self._size_or_unknown(entry.value))
        self._entries[node] = _Entry(Kind.MAP, _union(keys), _union(values))
        return total

    def _struct(self, node: CreateStruct) -> Range:
        total = Range(STRUCT_CREATION, STRUCT_CREATION)
        for entry in node.entries:
            total += self.cost(entry.value)
        return total

    # comprehensions

    def _push(self, name: str, local: _Local) -> None:
        self._locals.setdefault(name, []).append(local)

    def _push_loop_variables(self, node: Comprehension) -> None:
        entry = self._entry(node.range)
        path = self._path(node.range)
        assert node.range.type is not None
        is_list = (node.range.type.kind if entry is None else entry.kind) is Kind.LIST
        key = _Local(
            (*path, "@indices" if is_list else "@keys"), None if entry is None else entry.key, None
        )
        value = _Local(
            (*path, "@items" if is_list else "@values"),
            None if entry is None else entry.value,
            None,
        )
        if node.second:
            self._push(node.first, key)
            self._push(node.second, value)
        else:
            self._push(node.first, value if is_list else key)

    def _comprehension(self, node: Comprehension) -> Range:
        total = self.cost(node.range) + self.cost(node.initial)
        local = _Local(
            self._path(node.initial), self._size(node.initial), self._entry(node.initial)
        )
        self._push(node.accumulator, local)
        if is_bind(node):
            total += self.cost(node.result)
            self._locals[node.accumulator].pop()
            self._set_size(node, self._size(node.result))
            self._set_entry(node, self._entry(node.result))
            return total
        self._push_loop_variables(node)
        body = self.cost(node.condition) + self.cost(node.step)
        for name in filter(None, (node.first, node.second)):
            self._locals[name].pop()
        total += self.cost(node.result)
        self._locals[node.accumulator].pop()
        count = self._size_or_unknown(node.range)
        if isinstance(node.initial, Literal):
            self._set_size(node, self._size(node.initial))
        elif isinstance(node.initial, CreateList | CreateMap):
            self._set_size(node, count)
            self._set_entry(node, self._entry(node.step))
        return total + count * body

    # calls

    def _call(self, node: Call) -> Range:
        if node.function == "dyn" and node.target is None:
            total = ONE + self.cost(node.arguments[0])
            self._set_size(node, self._size(node.arguments[0]))
            self._set_entry(node, self._entry(node.arguments[0]))
            return total
        costs = [self.cost(argument) for argument in node.arguments]
        arguments = [self._argument(argument) for argument in node.arguments]
        total = ZERO
        if node.target is not None:
            total = self.cost(node.target)
            arguments.insert(0, self._argument(node.target))
        if node.function == operators.OPTIONAL_SELECT:
            return total + ONE + _sum(costs)
        if not node.overloads:
            return ZERO
        least, most = COST_MAX, 0
        size: Range | None = None
        for overload in node.overloads:
            estimate = self._estimate(node, overload, arguments, costs)
            least, most = min(least, estimate.cost.min), max(most, estimate.cost.max)
            if estimate.size is not None:
                size = estimate.size if size is None else size.union(estimate.size)
            size = self._indexed(node, overload, size)
            if size is None:
                size = self._size(node)
        self._set_size(node, size)
        return total + Range(least, most)

    def _indexed(self, node: Call, overload: Overload, size: Range | None) -> Range | None:
        """Note the path to an element; return its size, or the size known so far of what is no element."""
        if overload.id not in ("index_list", "index_map"):
            return size
        entry = self._entry(node.arguments[0])
        part = "@items" if overload.id == "index_list" else "@values"
        self._paths[node] = (*self._path(node.arguments[0]), part)
        return None if entry is None else entry.value

    def _estimate(
        self, node: Call, overload: Overload, arguments: list[_Argument], costs: list[Range]
    ) -> CallEstimate:
        """Return what a call of an overload costs with its arguments."""
        if node.function in (operators.AND, operators.OR):
            return CallEstimate(Range(costs[0].min, (costs[0] + costs[1]).max))
        if node.function == operators.CONDITIONAL:
            return self._conditional(node, arguments, costs)
        if overload.id in ("add_string", "add_bytes", "add_list"):
            self._set_entry(node, _union_entries(*map(self._entry, node.arguments)))
        estimate = self._declared(node, overload, arguments)
        return CallEstimate(estimate.cost + _sum(costs), estimate.size)

    def _declared(self, node: Call, overload: Overload, arguments: list[_Argument]) -> CallEstimate:
        estimate = overload.estimate
        if node.function == operators.EQUALS and arguments[0].type.name == arguments[1].type.name:
            estimate = self._equality.get(arguments[0].type.name)
        found = None if estimate is None else estimate(arguments)
        if found is not None:
            return found
        if overload.id in _COMPARISONS:
            return _comparison(arguments)
        return CallEstimate(ONE)

    def _conditional(
        self, node: Call, arguments: Sequence[_Argument], costs: list[Range]
    ) -> CallEstimate:
        sizes = [argument.known_size or UNKNOWN for argument in arguments[1:]]
        entries = map(self._entry, node.arguments[1:])
        self._set_entry(node, _union_entries(*entries))
        return CallEstimate(costs[0] + costs[1].union(costs[2]), sizes[0].union(sizes[1]))

    _COSTS: ClassVar[dict[type[Node], Callable[[Any, Any], Range]]] = {
        Literal: _literal,
        Identifier: _identifier,
        Select: _select,
        Call: _call,
        CreateList: _list,
        CreateMap: _map,
        CreateStruct: _struct,
        Comprehension: _comprehension,
    }


def _comparison(arguments: Sequence[_Argument]) -> CallEstimate:
    left, right = (argument.known_size or UNKNOWN for argument in arguments)
    smallest = min(left.max, right.max)
    return CallEstimate(Range(1 if smallest > 0 else 0, smallest).scaled(STRING_TRAVERSAL))


def _written_size(node: Node) -> Range | None:
    """Return the size of what is written out."""
    if isinstance(node, Literal):
        return _literal_size(node.value)
    if isinstance(node, CreateList):
        return Range(len(node.elements), len(node.elements))
    if isinstance(node, CreateMap):
        return Range(len(node.entries), len(node.entries))
    return None


def _union(sizes: list[Range]) -> Range:
    if not sizes:
        return ZERO
    total = sizes[0]
    for size in sizes[1:]:
        total = total.union(size)
    return total


def _union_entries(first: _Entry | None, second: _Entry | None) -> _Entry | None:
    if first is None or second is None:
        return None
    return _Entry(first.kind, first.key.union(second.key), first.value.union(second.value))


def _sum(costs: list[Range]) -> Range:
    total = ZERO
    for cost in costs:
        total += cost
    return total
