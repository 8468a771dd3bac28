"""The patterns of custom resource definitions."""

import pytest

from kubelite.api.machinery.schema_patterns import CHARACTER_COST, TOO_MANY, SchemaPatterns, size
from kubelite.limits import DEFINITION_PATTERNS, SHOWN_VALUE
from kubelite.regexp.syntax import parse


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("^a+$", ""),
        ("[", "error parsing regexp: missing closing ]: `[`"),
        ("^(?!x)", "error parsing regexp: invalid or unsupported Perl syntax: `(?!`"),
        (r"(a)\1", r"error parsing regexp: invalid escape sequence: `\1`"),
    ],
)
def test_problems_are_told_in_gos_words(pattern: str, problem: str) -> None:
    assert SchemaPatterns().find_problem(pattern) == problem


@pytest.mark.parametrize(
    ("pattern", "instructions"),
    [
        ("", 0),
        ("abc", 3),
        ("a|b", 4),
        ("(ab){3}", 7),
        ("(a{10}){20}", 221),
        ("a*", 2),
        ("a{2,}", 4),
        ("^[a-z]$", 3),
    ],
)
def test_repeated_parts_are_counted_as_often(pattern: str, instructions: int) -> None:
    assert size(parse(pattern)) == instructions


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFINITION_PATTERNS, "value", 5000)


@pytest.mark.usefixtures("few")
def test_the_patterns_of_a_definition_are_bounded_together() -> None:
    patterns, before = SchemaPatterns(), DEFINITION_PATTERNS.times_reached
    problems = [patterns.find_problem(f"[ab]{{1000}}{index}") for index in range(10)]
    assert problems == [""] * 4 + [TOO_MANY] * 6
    assert DEFINITION_PATTERNS.times_reached == before + 6


@pytest.mark.usefixtures("few")
def test_equal_patterns_count_once() -> None:
    patterns = SchemaPatterns()
    assert {patterns.find_problem("a{1000}") for _ in range(5000)} == {""}
    assert patterns.find_problem("b{1000}") == ""


def test_a_long_pattern_is_not_read() -> None:
    pattern = "[" * (DEFINITION_PATTERNS.value // CHARACTER_COST + 1)
    assert SchemaPatterns().find_problem(pattern) == TOO_MANY


def test_a_deep_pattern_is_a_problem_and_no_failure() -> None:
    patterns = SchemaPatterns()
    for depth in (300, 999, 2000):
        problem = patterns.find_problem("(" * depth + "a" + ")" * depth)
        assert not problem or problem.startswith(
            "error parsing regexp: expression nests too deeply"
        )


def test_the_text_is_bounded() -> None:
    problem = SchemaPatterns().find_problem("(" + "a" * 40_000)
    assert len(problem) == SHOWN_VALUE.value + len("...")
