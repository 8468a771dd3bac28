"""Random patterns: the automaton, google-re2 and Python's own engine agree on what they all understand."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.regexp import patterns
from kubelite.regexp.automaton import Automaton
from kubelite.regexp.syntax import Invalid, parse

LETTERS = "abAZ09_ -.\n\u00e9\u00c9"
ATOMS = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "[a-c]",
        "[^a]",
        r"\d",
        r"\W",
        r"\.",
        "(^)",
        "($)",
        r"(\b)",
        "(?:ab|)",
        "\u00e9",
        "-",
        " ",
    ]
)
QUANTIFIERS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "*?"])
PARTS = st.recursive(
    ATOMS,
    lambda inner: st.builds(
        lambda parts: f"({'|'.join(parts)})", st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=4,
)
PATTERNS = st.lists(
    st.builds(lambda part, count: part + count, PARTS, QUANTIFIERS), max_size=5
).map("".join)
TEXTS = st.text(LETTERS, max_size=8)
ANYTHING = st.text("ab\\()[]{}?*+|^$.:-,<>P=!ipLxzQEdw019", max_size=12)


def python(pattern: str) -> re.Pattern[str]:
    """Compile a pattern for Python's engine, whose $ also matches before a last line break."""
    return re.compile(pattern.replace("$", r"\Z"), re.ASCII)


@settings(max_examples=150, deadline=None)
@given(PATTERNS, st.lists(TEXTS, max_size=4))
def test_the_automaton_matches_what_python_matches(pattern: str, texts: list[str]) -> None:
    machine = Automaton(parse(pattern), size_max=20_000)
    for text in texts:
        assert machine.matches(text) == (python(pattern).search(text) is not None), (pattern, text)


@settings(max_examples=150, deadline=None)
@given(PATTERNS, st.lists(TEXTS, max_size=4))
def test_the_library_matches_what_the_automaton_matches(pattern: str, texts: list[str]) -> None:
    pytest.importorskip("re2")
    machine = Automaton(parse(pattern), size_max=20_000)
    matches = patterns._by_library(pattern, parse(pattern)).matches
    for text in texts:
        assert matches(text) == machine.matches(text), (pattern, text)


@settings(max_examples=150, deadline=None)
@given(PATTERNS, TEXTS)
def test_the_library_finds_what_the_automaton_finds(pattern: str, text: str) -> None:
    pytest.importorskip("re2")
    own = patterns.OwnMatcher(parse(pattern))
    library = patterns._by_library(pattern, parse(pattern))
    assert library.find(text) == own.find(text)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_any_text_is_read_or_refused(text: str) -> None:
    problem = ""
    try:
        parse(text)
    except Invalid as error:
        problem = str(error)
    assert not problem or problem.startswith("error parsing regexp: ")
