"""Go's syntax of regular expressions, and its words for what is none."""

import pytest

from kubelite.regexp.automaton import Automaton
from kubelite.regexp.syntax import Invalid, is_costly_in_bytes, parse


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("[a", "missing closing ]: `[a`"),
        ("a(b", "missing closing ): `a(b`"),
        ("a)b", "unexpected ): `a)b`"),
        ("^(?!x)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?=x)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?i-)x", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a|+", "missing argument to repetition operator: `+`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("((a{100}){100}){100}", "invalid repeat count: `{100}`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\q", r"invalid escape sequence: `\q`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\xZ1", r"invalid escape sequence: `\xZ1`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:word]", None),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{", r"invalid character class range: `\p{`"),
        ("(?P<1!>a)", "invalid named capture: `(?P<1!>`"),
        ("(?P<a", "invalid named capture: `(?P<a`"),
        ("(" * 1001 + ")" * 1001, "expression nests too deeply"),
        # A brace that counts nothing is a letter.
        ("a{,2}b{x}c{", None),
    ],
)
def test_what_is_said_of_a_malformed_expression(pattern: str, problem: str | None) -> None:
    if problem is None:
        parse(pattern)
        return
    with pytest.raises(Invalid) as refusal:
        parse(pattern)
    assert str(refusal.value).startswith(f"error parsing regexp: {problem}")


MATCHES = [
    ("abc", ["abc", "xabcx"], ["ab", ""]),
    ("^a$", ["a"], ["a\n", "ba"]),
    ("(?m)^a$", ["b\na\nc"], ["ba"]),
    (r"\Aa\z", ["a"], ["a\n"]),
    ("a.c", ["abc", "aéc", "a😀c"], ["a\nc", "ac"]),
    ("(?s)a.c", ["a\nc"], ["ac"]),
    ("(?i)straße", ["STRAßE", "strasse"[:4] + "ße"], ["strasse"]),
    ("(?i:a)b", ["Ab", "ab"], ["aB"]),
    ("(?i)k", ["K", "\u212a"], ["x"]),
    ("a{2,3}$", ["aa", "xaaa"], ["a"]),
    ("^a{2}$", ["aa"], ["aaa"]),
    ("^a{0}b$", ["b"], ["ab"]),
    ("^(ab|cd)*?$", ["", "abcd"], ["abc"]),
    ("^[^a-c]$", ["d", "\n"], ["b"]),
    ("^[]a]$", ["]", "a"], ["b"]),
    ("^[a-]$", ["-"], ["b"]),
    (r"^[\d-z]$", ["5", "-", "z"], ["y"]),
    (r"^[[:alpha:]_]+$", ["aZ_"], ["é", "1"]),
    (r"^[[:^digit:]]$", ["a"], ["1"]),
    (r"^\w\W\s\S\d\D$", ["a- b1x"], ["aa b1x"]),
    (r"^\pL\PL$", ["é1"], ["1é"]),
    (r"^\p{Lu}\p{^Lu}$", ["Éé"], ["éÉ"]),
    (r"^\Qa.b*\E+$", ["a.b*", "a.b**"], ["axb"]),
    (r"^\x41\x{1F600}\101\n$", ["A😀A\n"], ["A"]),
    (r"\bfoo\b", ["a foo b"], ["afoo"]),
    (r"a\Bb", ["ab"], ["a b"]),
    ("(?P<n>a)(?<m>b)(?:c)", ["abc"], ["ab"]),
    ("", ["", "x"], []),
    ("a||b", ["x"], []),
    ("^a{,2}$", ["a{,2}"], ["aa"]),
]


@pytest.mark.parametrize(("pattern", "good", "bad"), MATCHES)
def test_what_an_expression_matches(pattern: str, good: list[str], bad: list[str]) -> None:
    automaton = Automaton(parse(pattern), size_max=1000)
    assert [text for text in good if not automaton.matches(text)] == []
    assert [text for text in bad if automaton.matches(text)] == []


@pytest.mark.parametrize(
    ("pattern", "answer"),
    [
        (r"a\b", False),
        (r"(x|\By)*", True),
        ("(" * 900 + ")" * 900, False),
        (r"^\pL[\pN_]*$", False),
        (r"^[\pL_]{1,64}$", True),
        (r"(\pL{3}-){6}", True),
        ("a{1000}", False),
    ],
)
def test_which_expressions_are_costly_in_bytes(pattern: str, answer: bool) -> None:
    assert is_costly_in_bytes(parse(pattern)) is answer
