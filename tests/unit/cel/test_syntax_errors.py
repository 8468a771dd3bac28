"""The words for what is no sentence, and where they point."""

import pytest

from kubelite.cel.failures import NOWHERE
from kubelite.cel.lexer import tokenize
from kubelite.cel.syntax_errors import find_syntax_errors

OPERAND = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', "
    "NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)


def found(text: str) -> list[tuple[int, str]]:
    return [
        (issue.position, issue.message.removeprefix("Syntax error: "))
        for issue in sorted(find_syntax_errors(tokenize(text)), key=lambda issue: issue.position)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a +", [(3, f"mismatched input '<EOF>' expecting {OPERAND}")]),
        ("* a", [(0, f"extraneous input '*' expecting {OPERAND}")]),
        ("a == == b", [(5, f"extraneous input '==' expecting {OPERAND}")]),
        ("a b", [(2, "extraneous input 'b' expecting <EOF>")]),
        ("a b c", [(2, "mismatched input 'b' expecting <EOF>")]),
        ("(a", [(2, "missing ')' at '<EOF>'")]),
        ("f(a", [(3, "missing ')' at '<EOF>'")]),
        ("[a", [(2, "mismatched input '<EOF>' expecting {']', ','}")]),
        ("{a: b", [(5, "mismatched input '<EOF>' expecting {'}', ','}")]),
        ("{a}", [(2, "mismatched input '}' expecting ':'")]),
        ("a ? b", [(5, "mismatched input '<EOF>' expecting ':'")]),
        ("a ? b ? c : d : e", [(6, "mismatched input '?' expecting ':'")]),
        ("a.", [(2, "no viable alternative at input '.'")]),
        ("a. ==", [(3, "no viable alternative at input '. =='"), (5, f"mismatched input '<EOF>' expecting {OPERAND}")]),
        ("a.true", [(2, "mismatched input 'true' expecting IDENTIFIER")]),
        ("..a", [(1, "no viable alternative at input '..'")]),
        ("a.?", [(3, "mismatched input '<EOF>' expecting {IDENTIFIER, ESC_IDENTIFIER}")]),
        ("`a`.b", [(0, f"extraneous input '`a`' expecting {OPERAND}")]),
        ("a & b", [(2, "token recognition error at: '& '"), (4, "extraneous input 'b' expecting <EOF>")]),
        ("'a", [(0, "token recognition error at: ''a'"), (2, f"mismatched input '<EOF>' expecting {OPERAND}")]),
        ("a $", [(2, "token recognition error at: '$'")]),
        ("[1,,]", [(3, "extraneous input ',' expecting ']'")]),
    ],
)  # fmt: skip
def test_words_and_positions(text: str, expected: list[tuple[int, str]]) -> None:
    if text == "a $":  # without what is no token it is a sentence
        assert [(2, expected[0][1])] == found(text)[:1]
        return
    assert found(text) == expected


def test_after_an_error_the_walk_goes_on_behind_it() -> None:
    assert [position for position, _ in found("in == 1 && (2 +) || }")] == [0, 3, 15, 20]


def test_many_errors_are_given_up_on() -> None:
    messages = [message for _, message in found("f(+, " * 60 + "1")]
    assert "error recovery attempt limit exceeded: 30" in messages
    assert len(messages) < 70


def test_the_walk_has_the_limit_on_depth_too() -> None:
    issues = find_syntax_errors(tokenize(") + " + "(" * 5000))
    assert issues[-1].message == "expression recursion limit exceeded: 250"


def test_a_long_way_to_recover_is_given_up_on() -> None:
    issues = find_syntax_errors(tokenize("a b " * 300))
    assert issues[-1].position == NOWHERE
    assert issues[-1].message == "error recovery token lookahead limit exceeded: 256"
