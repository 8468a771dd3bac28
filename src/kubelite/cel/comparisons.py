"""Tells which expressions compare or join lists, for whoever has lists with an equality of their own."""

from typing import Final

from kubelite.cel import operators
from kubelite.cel.ast import Call, Identifier, Node
from kubelite.cel.types import DYN, Kind, Type
from kubelite.cel.validation import children

_SCALARS: Final = frozenset(
    {
        *(Kind.BOOL, Kind.BYTES, Kind.DOUBLE, Kind.DURATION, Kind.INT, Kind.NULL, Kind.STRING),
        *(Kind.TIMESTAMP, Kind.TYPE, Kind.UINT),
    }
)
_OF_BOTH: Final = frozenset({operators.EQUALS, operators.NOT_EQUALS, operators.ADD})
_OF_NONE: Final = frozenset(
    {
        *(operators.AND, operators.OR, operators.NOT, operators.CONDITIONAL, operators.INDEX),
        *(operators.OPTIONAL_INDEX, operators.OPTIONAL_SELECT, operators.NOT_STRICTLY_FALSE),
        *(operators.MAP_INSERT, "size", "type", "dyn"),
    }
)


def compares_lists(tree: Node) -> bool:
    """Return whether a checked expression may compare or join lists, or what may hold lists."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, Call) and _compares(node):
            return True
        pending.extend(children(node))
    return False


def _compares(node: Call) -> bool:
    if node.function in _OF_NONE:
        return False
    given = list(children(node))
    if node.function in _OF_BOTH:
        return not (_is_accumulator(given[0]) or any(map(_is_scalar, given)))
    if node.function == operators.IN:
        return not _is_scalar(given[0])
    return not all(_is_scalar(each) or _holds_scalars(_type(each)) for each in given)


def _type(node: Node) -> Type:
    return node.type or DYN


def _is_scalar(node: Node) -> bool:
    return _type(node).kind in _SCALARS


def _holds_scalars(type_: Type) -> bool:
    """Return whether a value holds scalars at most: no function on those compares the whole."""
    return type_.kind not in (Kind.DYN, Kind.ANY, Kind.PARAMETER) and all(
        each.kind in _SCALARS for each in type_.parameters
    )


def _is_accumulator(node: Node) -> bool:
    """Return whether this is the list that a macro makes."""
    return isinstance(node, Identifier) and node.name == operators.ACCUMULATOR
