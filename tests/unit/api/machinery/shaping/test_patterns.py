"""Patterns, with the library and without."""

import sys

import pytest

from kubelite.api.machinery.shaping import patterns
from kubelite.api.machinery.shaping.patterns import Matcher, Pattern, find_problem
from unit.api.machinery.shaping.test_go_regexp import MATCHES


@pytest.fixture(params=["library", "automaton"])
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_compiled", patterns._compiled.__wrapped__)  # type: ignore[attr-defined] # nothing is remembered between engines
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
    monkeypatch.setattr(patterns, "_compiled", patterns._compiled.__wrapped__)  # type: ignore[attr-defined] # nothing is remembered
    monkeypatch.setitem(sys.modules, "re2", None)
    assert "without google-re2: no table of Greek" in find_problem(r"^\p{Greek}+$")


@pytest.mark.usefixtures("_engine")
def test_a_pattern_that_takes_others_forever_is_matched() -> None:
    assert not Pattern("^(a+)+$").matches("a" * 20_000 + "!")


@pytest.mark.usefixtures("_engine")
def test_a_lone_surrogate_is_a_letter_that_no_class_of_letters_has() -> None:
    assert not Pattern("^[a-z]+$").matches("a\ud800")


def test_a_long_pattern_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compile_(text: str) -> Matcher:
        compiled.append(text)
        return lambda _text: True

    monkeypatch.setattr(patterns, "_compiled", compile_)
    pattern = Pattern("a" * 5000)
    pattern.matches("x")
    pattern.matches("y")
    assert len(compiled) == 1
