"""Checks of literals in a checked expression: times and patterns that are none, and lists and maps of mixed types."""

from collections.abc import Iterator, Mapping
from typing import Any

from kubelite.cel.ast import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateStruct,
    Literal,
    Node,
    Select,
)
from kubelite.cel.declarations import Function
from kubelite.cel.failures import Issue
from kubelite.cel.types import DYN, Kind, Type
from kubelite.cel.values import EvaluationFailed, type_of
from kubelite.regexp.patterns import find_problem


def validate_time(call: Call) -> Iterator[tuple[Node, str]]:
    """Yield a literal that its conversion to a timestamp or a duration refuses."""
    argument = call.arguments[0] if call.arguments else None
    if not isinstance(argument, Literal):
        return
    wanted = type_of(argument.value)
    for overload in call.overloads:
        if overload.arguments[0].name != wanted.name:
            continue
        try:
            overload.call(argument.value)
        except EvaluationFailed:
            yield argument, f"invalid {call.function} argument"


def validate_pattern(call: Call) -> Iterator[tuple[Node, str]]:
    """Yield a literal that is no regular expression."""
    argument = call.arguments[0] if call.arguments else None
    if (
        isinstance(argument, Literal)
        and isinstance(argument.value, str)
        and find_problem(argument.value)
    ):
        yield argument, f"invalid {call.function} argument"


def children(node: Node) -> Iterator[Node]:
    """Yield the nodes directly below a node."""
    match node:
        case Select():
            if node.identifier is None:
                yield node.operand
        case Call():
            if node.target is not None:
                yield node.target
            yield from node.arguments
        case CreateList():
            yield from node.elements
        case CreateMap():
            for entry in node.entries:
                yield entry.key
                yield entry.value
        case CreateStruct():
            for entry in node.entries:
                yield entry.value
        case Comprehension():
            yield from (node.range, node.initial, node.condition, node.step, node.result)
        case _:
            return


def find_literal_issues(tree: Node, functions: Mapping[str, Function]) -> list[Issue]:
    """Return what is wrong with the literals of a checked tree."""
    issues: list[Issue] = []
    pending = [(tree, False)]
    while pending:
        node, may_mix = pending.pop()
        if isinstance(node, Call):
            function = functions.get(node.function)
            if function is not None:
                may_mix = may_mix or function.allows_mixed_literals
                if function.validate is not None:
                    found = function.validate(node)
                    issues.extend(Issue(at.position, message) for at, message in found)
        elif not may_mix and isinstance(node, CreateList):
            issues.extend(_mixed_list(node))
        elif not may_mix and isinstance(node, CreateMap):
            issues.extend(_mixed_map(node))
        pending.extend((child, may_mix) for child in children(node))
    return issues


def _mixed_list(node: CreateList) -> Iterator[Issue]:
    first: Type | None = None
    for index, element in enumerate(node.elements):
        type_ = _element_type(element, is_optional=index in node.optional)
        if first is None:
            first = type_
        elif not _is_equivalent(first, type_):
            yield Issue(element.position, f"expected type '{first}' but found '{type_}'")
            return


def _mixed_map(node: CreateMap) -> Iterator[Issue]:
    first: tuple[Type, Type] | None = None
    for entry in node.entries:
        key = _element_type(entry.key, is_optional=False)
        value = _element_type(entry.value, is_optional=entry.is_optional)
        if first is None:
            first = key, value
            continue
        for node_, wanted, found in ((entry.key, first[0], key), (entry.value, first[1], value)):
            if not _is_equivalent(wanted, found):
                yield Issue(node_.position, f"expected type '{wanted}' but found '{found}'")


def _element_type(node: Any, *, is_optional: bool) -> Type:
    type_: Type = node.type or DYN
    return type_.parameters[0] if is_optional and type_.parameters else type_


def _is_equivalent(first: Type, second: Type) -> bool:
    """Return whether two types are the same, whatever their type parameters are called."""
    return (
        first.kind is second.kind
        and len(first.parameters) == len(second.parameters)
        and (first.kind is Kind.PARAMETER or first.name == second.name)
        and all(map(_is_equivalent, first.parameters, second.parameters))
    )
