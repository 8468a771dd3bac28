"""Where a regular expression matches, found without a library: as Python's own, where both have the same syntax."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.regexp.finder import Finder
from kubelite.regexp.syntax import parse

SIZE_MAX = 10_000


def spans(pattern: str, text: str) -> tuple[int, int] | None:
    return Finder(parse(pattern), size_max=SIZE_MAX).find(text, 0)


@pytest.mark.parametrize(
    ("pattern", "text", "span"),
    [
        ("[0-9]+", "abc 123 456", (4, 7)),
        ("a|ab", "xab", (1, 2)),
        ("ab|a", "xab", (1, 3)),
        ("a+?", "aaa", (0, 1)),
        ("(?U)a+", "aaa", (0, 1)),
        ("(?U)a+?", "aaa", (0, 3)),
        ("a{1,2}?", "aaa", (0, 1)),
        ("a{2,}", "aaaa", (0, 4)),
        ("b*", "aab", (0, 0)),
        ("^b", "ab", None),
        ("(?m)^b$", "a\nb\nc", (2, 3)),
        (r"\bb\b", "ab b", (3, 4)),
        (r"\Bb", "b ab", (3, 4)),
        ("(|a)*", "aa", (0, 0)),
        ("(|a)+", "aa", (0, 0)),
        ("(a|b)*?c", "abac", (0, 4)),
        ("a.*b|a", "a1b2", (0, 3)),
        ("x", "abc", None),
    ],
)
def test_the_leftmost_preferred_match_is_found(
    pattern: str, text: str, span: tuple[int, int] | None
) -> None:
    assert spans(pattern, text) == span


_PIECES = st.recursive(
    st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "^", "$", r"\b"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}"])).map(
            lambda pair: f"(?:{pair[0]}x){pair[1]}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(_PIECES, st.text("abcx", max_size=12))
def test_it_finds_what_a_backtracking_engine_finds(pattern: str, text: str) -> None:
    # Python's $ also matches before a last line feed, but the texts have none.
    match = re.search(pattern, text)
    assert spans(pattern, text) == (match.span() if match else None)


def test_a_long_text_is_walked_over_twice_at_most() -> None:
    finder = Finder(parse("(a|aa)*b?"), size_max=SIZE_MAX)
    text = "a" * 5000
    assert finder.find(text, 0) == (0, 5000)
    assert finder.work <= 2 * len(text) + 2
