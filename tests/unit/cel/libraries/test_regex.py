"""Parts of texts that match."""

import pytest

from kubelite.cel.frame import CostExceeded
from kubelite.cel.libraries import regex
from kubelite.cel.values import EvaluationFailed
from kubelite.limits import CEL_PATTERN, PATTERN_SEARCH


def test_find_and_find_all() -> None:
    assert regex.find("abc 123 def 456", "[0-9]+") == "123"
    assert regex.find("abc", "x") == ""
    assert regex.find_all("abc 123 def 456", "[0-9]+") == ["123", "456"]
    assert regex.find_all("abc 123 def 456", "[0-9]+", 1) == ["123"]
    assert regex.find_all("abc 123 def 456", "[0-9]+", 0) == []


def test_a_pattern_that_is_wrong_fails_when_it_is_used() -> None:
    with pytest.raises(
        EvaluationFailed, match=r"^Illegal regex: error parsing regexp: missing clos"
    ):
        regex.find("abc", "[")


def test_a_literal_pattern_is_compiled_once_and_refused_early() -> None:
    (find,) = (each.overloads[0] for each in regex.LIBRARY.functions if each.name == "find")
    assert find.specialise is not None
    assert find.specialise({0: "abc"}) is None
    call = find.specialise({1: "b."})
    assert call is not None
    assert call("abcd", "b.") == "bc"
    with pytest.raises(EvaluationFailed, match=r"^error parsing regexp: missing closing \]"):
        find.specialise({1: "["})


def test_a_literal_pattern_finds_all_with_and_without_a_limit() -> None:
    (find_all,) = (each for each in regex.LIBRARY.functions if each.name == "findAll")
    assert find_all.overloads[0].specialise is not None
    call = find_all.overloads[0].specialise({1: "[a-z]"})
    assert call is not None
    assert call("a1b", "[a-z]") == ["a", "b"]
    assert call("a1b", "[a-z]", 1) == ["a"]


def test_long_patterns_and_long_searches_end(monkeypatch: pytest.MonkeyPatch) -> None:
    before = CEL_PATTERN.times_reached
    with pytest.raises(EvaluationFailed, match="expression too large"):
        regex.find("a", "a" * (CEL_PATTERN.value + 1))
    assert CEL_PATTERN.times_reached == before + 1
    monkeypatch.setattr(PATTERN_SEARCH, "value", 1000)
    with pytest.raises(CostExceeded):
        regex.find_all("a" * 1000, "a")


def test_deeply_nested_patterns_are_refused() -> None:
    with pytest.raises(EvaluationFailed, match=r"^Illegal regex: error parsing regexp"):
        regex.find("a", "(" * 900 + ")" * 900 + "[")
    with pytest.raises(EvaluationFailed, match=r"^Illegal regex: error parsing regexp"):
        regex.find("a", "(" * 5000)
