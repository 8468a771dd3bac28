"""Checks calls of ``format`` when an expression is written: the format string and the types of literal arguments."""

from collections.abc import Iterator, Sequence
from typing import Final

from kubelite.cel.ast import Call, CreateList, CreateMap, Literal, Node
from kubelite.cel.libraries.format_clauses import FormatFailed, read_clause, wrong_type
from kubelite.cel.types import Kind

_NUMBERS: Final = frozenset({Kind.INT, Kind.UINT})
_SHOWN: Final = _NUMBERS | {
    Kind.LIST,
    Kind.MAP,
    Kind.DOUBLE,
    Kind.BOOL,
    Kind.STRING,
    Kind.TIMESTAMP,
    Kind.BYTES,
    Kind.DURATION,
    Kind.TYPE,
    Kind.NULL,
}
_KINDS: Final = {
    "s": _SHOWN,
    "d": _NUMBERS,
    "f": frozenset({Kind.DOUBLE, Kind.STRING}),
    "e": frozenset({Kind.DOUBLE, Kind.STRING}),
    "b": _NUMBERS | {Kind.BOOL},
    "x": _NUMBERS | {Kind.STRING, Kind.BYTES},
    "X": _NUMBERS | {Kind.STRING, Kind.BYTES},
    "o": _NUMBERS,
}


class _WrongArgument(FormatFailed):
    """An argument has a type that its clause does not take."""

    def __init__(self, node: Node, verb: str, type_name: str) -> None:
        super().__init__(str(wrong_type(verb, type_name)))
        self.node = node


def validate_format(call: Call) -> Iterator[tuple[Node, str]]:
    """Yield what is wrong with a call of ``format`` on a literal with a list written out, and where."""
    text, arguments = call.target, call.arguments
    if not isinstance(text, Literal) or type(text.value) is not str:
        return
    if len(arguments) != 1 or not isinstance(arguments[0], CreateList):
        return
    elements = arguments[0].elements
    try:
        count = _check_clauses(text.value, elements)
    except _WrongArgument as failure:
        yield failure.node, str(failure)
        return
    except FormatFailed as failure:
        yield call, str(failure)
        return
    if len(elements) > count:
        problem = "too many arguments supplied to string.format"
        yield call, f"{problem} (expected {count}, got {len(elements)})"


def _check_clauses(text: str, elements: Sequence[Node]) -> int:
    """Return how many arguments a format string takes; raises FormatFailed."""
    at = index = 0
    while (percent := text.find("%", at)) >= 0:
        if text.startswith("%%", percent):
            at = percent + 2
            continue
        if percent + 1 == len(text):
            raise FormatFailed("unexpected end of string")
        if index >= len(elements):
            raise FormatFailed(f"index {index} out of range")
        clause = read_clause(text, percent)
        _check(clause.verb, elements[index])
        index += 1
        at = clause.end
    return index


def _check(verb: str, node: Node) -> None:
    kind = Kind.DYN if node.type is None else node.type.kind
    if kind is not Kind.DYN and kind not in _KINDS[verb]:
        raise _WrongArgument(node, verb, "" if node.type is None else node.type.name)
    if verb != "s":
        return
    if isinstance(node, CreateList):
        for element in node.elements:
            _check(verb, element)
    elif isinstance(node, CreateMap):
        for entry in node.entries:
            _check(verb, entry.key)
            _check(verb, entry.value)
