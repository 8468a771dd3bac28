"""Calls of format are checked where the format string and the list are written out."""

import pytest

from kubelite.cel.ast import Call, CreateList, Identifier, Literal, Node
from kubelite.cel.libraries.format_check import validate_format
from kubelite.cel.types import BOOL, DYN, INT, STRING, Type, list_of, optional_of


def argument(type_: Type) -> Node:
    node = Identifier(7, "x")
    node.type = type_
    return node


def findings(text: Node, *arguments: Node) -> list[tuple[int, str]]:
    call = Call(3, "format", [CreateList(5, list(arguments), set())], text)
    return [(node.position, message) for node, message in validate_format(call)]


@pytest.mark.parametrize(
    ("text", "types", "position", "message"),
    [
        ("%d", [STRING], 7, "decimal clause can only be used on integers, was given string"),
        (
            "%s %b",
            [INT, list_of(INT)],
            7,
            "only integers and bools can be formatted as binary, was given list",
        ),
    ],
)
def test_a_wrong_type_is_told_at_the_argument(
    text: str, types: list[Type], position: int, message: str
) -> None:
    found = findings(Literal(1, text), *map(argument, types))
    assert found == [(position, f"error during formatting: {message}")]


@pytest.mark.parametrize(
    ("text", "types", "message"),
    [
        ("%", [], "unexpected end of string"),
        ("%s%s", [INT], "index 1 out of range"),
        ("%%", [INT], "too many arguments supplied to string.format (expected 0, got 1)"),
        ("%q", [INT], 'could not parse formatting clause: unrecognized formatting clause "q"'),
    ],
)
def test_a_wrong_string_is_told_at_the_call(text: str, types: list[Type], message: str) -> None:
    assert findings(Literal(1, text), *map(argument, types)) == [(3, message)]


def test_elements_of_a_list_written_out_are_checked_as_well() -> None:
    inner = CreateList(9, [argument(optional_of(INT))], set())
    inner.type = list_of(DYN)
    ((position, message),) = findings(Literal(1, "%s"), inner)
    assert position == 7
    assert message.endswith("was given optional_type")


def test_what_is_known_only_later_is_not_checked() -> None:
    assert findings(Identifier(1, "text"), argument(BOOL)) == []
    assert findings(Literal(1, "%d"), argument(DYN)) == []
