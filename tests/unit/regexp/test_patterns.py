"""All matches of a pattern, by the library and by the automaton alike."""

import pytest

from kubelite.limits import PATTERN_SEARCH
from kubelite.regexp.patterns import Matcher, OwnMatcher, SearchTooLong, compiled
from kubelite.regexp.syntax import parse


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
