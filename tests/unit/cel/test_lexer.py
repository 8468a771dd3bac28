"""Tokens, and what is none."""

import pytest

from kubelite.cel.lexer import END, tokenize


def kinds(text: str) -> list[str]:
    return tokenize(text).kinds[:-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b1", ["IDENTIFIER", ".", "IDENTIFIER"]),
        ("in inner", ["in", "IDENTIFIER"]),
        ("1 1u 0xFu 1.5 .5e3 1e9", ["NUM_INT", "NUM_UINT", "NUM_UINT", "NUM_FLOAT", "NUM_FLOAT", "NUM_FLOAT"]),
        ("a.1", ["IDENTIFIER", "NUM_FLOAT"]),
        ("1.a", ["NUM_INT", ".", "IDENTIFIER"]),
        ("0x", ["NUM_INT", "IDENTIFIER"]),
        ("<= < == != && || ?:", ["<=", "<", "==", "!=", "&&", "||", "?", ":"]),
        ("'a' r'\\' b\"x\" br'y' rb'z'", ["STRING", "STRING", "BYTES", "BYTES", "IDENTIFIER", "STRING"]),
        ("'''a'b\n''' \"\"\"c\"\"\"", ["STRING", "STRING"]),
        ("'''a''''b'", ["STRING", "STRING"]),
        ("`a-b/c.d e`", ["ESC_IDENTIFIER"]),
        ("a // comment\nb", ["IDENTIFIER", "IDENTIFIER"]),
        ("", []),
    ],
)  # fmt: skip
def test_kinds_of_tokens(text: str, expected: list[str]) -> None:
    tokens = tokenize(text)
    assert tokens.kinds == [*expected, END]
    assert not tokens.issues


@pytest.mark.parametrize(
    ("text", "skipped"),
    [
        ("a $ b", [(2, "$")]),
        ("é", [(0, "é")]),
        ("a & b", [(2, "& ")]),
        ("'a\nb'", [(0, "'a\n"), (4, "'")]),
        (r"'\q'", [(0, r"'\q"), (3, "'")]),
        (r"'\u12G'", [(0, r"'\u12G"), (6, "'")]),
        ("``", [(0, "``")]),
    ],
)
def test_what_is_no_token_is_skipped_up_to_the_character_at_fault(
    text: str, skipped: list[tuple[int, str]]
) -> None:
    expected = [(at, f"Syntax error: token recognition error at: '{part}'") for at, part in skipped]
    assert [(issue.position, issue.message) for issue in tokenize(text).issues] == expected


def test_positions_count_characters() -> None:
    tokens = tokenize("'é' + b")
    assert tokens.positions == [0, 4, 6, 7]


def test_the_text_between_tokens_leaves_out_what_is_none() -> None:
    tokens = tokenize("a . $ b")
    assert tokens.text_between(1, 2) == ".  b"
