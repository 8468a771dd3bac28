"""Patterns, with the library and without."""

import sys

import pytest

from kubelite.limits import PATTERN_SEARCH
from kubelite.regexp import patterns
from kubelite.regexp.patterns import (
    Matcher,
    OwnMatcher,
    Pattern,
    SearchTooLong,
    compiled,
    find_problem,
)
from kubelite.regexp.syntax import parse
from unit.regexp.test_syntax import MATCHES


@pytest.fixture(params=["library", "automaton"])
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "compiled", patterns.compiled.__wrapped__)  # type: ignore[attr-defined] # nothing is remembered between engines
    if request.param == "library":
        pytest.importorskip("re2")
    else:
        monkeypatch.setitem(sys.modules, "re2", None)  # makes the import fail


@pytest.mark.usefixtures("_engine")
@pytest.mark.parametrize(("pattern", "good", "bad"), MATCHES)
def test_engines_agree(pattern: str, good: list[str], bad: list[str]) -> None:
    assert not find_problem(pattern)
    assert all(map(Pattern(pattern).matches, good))
    assert not any(map(Pattern(pattern).matches, bad))


@pytest.mark.usefixtures("_engine")
@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("[", "error parsing regexp: missing closing ]: `[`"),
        ("(?!x)", "error parsing regexp: invalid or unsupported Perl syntax: `(?!`"),
        ("(a{30}b{30}){30}" * 200, "error parsing regexp: expression too large: `(a{30}b"),
        (r"\pL{1000}", ""),  # more than the library takes, so the automaton does it
        (r"^[\p{Letter}\p{nd}]+$", ""),
    ],
)
def test_what_is_wrong_with_a_pattern(pattern: str, problem: str) -> None:
    found = find_problem(pattern)
    assert found.startswith(problem) if problem else not found


def test_a_script_needs_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "compiled", patterns.compiled.__wrapped__)  # type: ignore[attr-defined] # nothing is remembered
    monkeypatch.setitem(sys.modules, "re2", None)
    assert "without google-re2: no table of Greek" in find_problem(r"^\p{Greek}+$")


@pytest.mark.usefixtures("_engine")
def test_a_pattern_that_takes_others_forever_is_matched() -> None:
    assert not Pattern("^(a+)+$").matches("a" * 20_000 + "!")


@pytest.mark.usefixtures("_engine")
def test_a_lone_surrogate_is_a_letter_that_no_class_of_letters_has() -> None:
    assert not Pattern("^[a-z]+$").matches("a\ud800")


def test_a_long_pattern_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []

    def compile_(text: str) -> Matcher:
        texts.append(text)
        return OwnMatcher(parse("x"))

    monkeypatch.setattr(patterns, "compiled", compile_)
    pattern = Pattern("a" * 5000)
    pattern.matches("x")
    pattern.matches("y")
    assert len(texts) == 1


@pytest.fixture(params=["library", "own"])
def make(request: pytest.FixtureRequest) -> object:
    if request.param == "own":
        return lambda pattern: OwnMatcher(parse(pattern))
    pytest.importorskip("re2")
    return compiled


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("[0-9]+", "abc 123 def 456", ["123", "456"]),
        ("", "aaa", ["", "", "", ""]),
        ("a*", "aaa", ["aaa"]),
        ("a*", "baac", ["", "aa", ""]),
        (".", "日本語", ["日", "本", "語"]),
        ("", "日本", ["", "", ""]),
        ("([a-z])([0-9]+)", "a1b22", ["a1", "b22"]),
        ("^a", "aaa", ["a"]),
        (r"\ba", "xa", []),
        ("(?i)ß|s", "Sß", ["S", "ß"]),
        ("xyz", "123 abc 456", []),
    ],
)
def test_all_matches_are_found(make: object, pattern: str, text: str, found: list[str]) -> None:
    assert callable(make)
    matcher: Matcher = make(pattern)
    assert matcher.find(text) == found
    assert matcher.find(text, 1) == found[:1]
    assert matcher.find(text, 0) == []
    assert matcher.matches(text) is bool(found)


def test_a_search_that_walks_over_the_text_again_and_again_ends(
    make: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PATTERN_SEARCH, "value", 100_000)
    before = PATTERN_SEARCH.times_reached
    assert callable(make)
    with pytest.raises(SearchTooLong):
        make("a(.*b)?").find("a" * 2000)
    assert PATTERN_SEARCH.times_reached == before + 1


def test_an_invalid_pattern_is_refused_in_gos_words() -> None:
    with pytest.raises(ValueError, match=r"error parsing regexp: missing closing \]: `\[`"):
        compiled("[")
