"""Functions on texts."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.cel.frame import CostExceeded
from kubelite.cel.libraries import strings
from kubelite.cel.values import EvaluationFailed
from kubelite.limits import CEL_TEXT

TEXTS = st.text("ab\u20ac\U0001f600", max_size=12)


@pytest.mark.parametrize(
    ("call", "arguments", "result"),
    [
        (strings.char_at, ("ta©o", 2), "©"),
        (strings.char_at, ("abc", 3), ""),
        (strings.index_of, ("hello mellow", ""), 0),
        (strings.index_of, ("hello mellow", "", 2), 2),
        (strings.index_of, ("hello mellow", "", -3), -3),
        (strings.index_of, ("hello mellow", "ello", 2), 7),
        (strings.index_of, ("hello mellow", "ello", 20), -1),
        (strings.last_index_of, ("hello mellow", ""), 12),
        (strings.last_index_of, ("hello mellow", "ello"), 7),
        (strings.last_index_of, ("", "x"), -1),
        (strings.last_index_of_before, ("hello mellow", "ello", 6), 1),
        (strings.last_index_of_before, ("hello mellow", "ello", 20), -1),
        (strings.last_index_of_before, ("ab", "abc", 1), -1),
        (strings.lower_ascii, ("TacoCÆt Xii",), "tacocÆt xii"),
        (strings.upper_ascii, ("ßa",), "ßA"),
        (strings.replace, ("hello hello", "he", "we", 1), "wello hello"),
        (strings.replace, ("hello", "", "_"), "_h_e_l_l_o_"),
        (strings.replace, ("abc", "", "_", 2), "_a_bc"),
        (strings.replace, ("banana", "ana", "x"), "bxna"),
        (strings.replace, ("a", "a", "b", 0), "a"),
        (strings.split, ("a,b,,c", ","), ["a", "b", "", "c"]),
        (strings.split, ("a b c", " ", 2), ["a", "b c"]),
        (strings.split, ("a b c", " ", 1), ["a b c"]),
        (strings.split, ("a b c", " ", 0), []),
        (strings.split, ("a b", " ", -1), ["a", "b"]),
        (strings.split, ("😀😁", ""), ["😀", "😁"]),
        (strings.split, ("abc", "", 2), ["a", "bc"]),
        (strings.split, ("", ""), []),
        (strings.split, ("", ","), [""]),
        (strings.substring, ("tacocat", 4), "cat"),
        (strings.substring, ("", 0), ""),
        (strings.substring_range, ("ta©o©ψT", 2, 6), "©o©ψ"),
        (strings.trim, (" \t\n a \u00a0\u3000",), "a"),
        (strings.trim, ("\u200ba\x1f",), "\u200ba\x1f"),
        (strings.quote, ('\a"é😀\\',), '"\\a\\"é😀\\\\"'),
        (strings.join, ([],), ""),
        (strings.join, (["a", "b"], ", "), "a, b"),
    ],
)
def test_results(call: Callable[..., Any], arguments: tuple[Any, ...], result: object) -> None:
    assert call(*arguments) == result


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        (strings.char_at, ("abc", 4), "index out of range: 4"),
        (strings.char_at, ("abc", -1), "index out of range: -1"),
        (strings.index_of, ("abc", "a", -1), "index out of range: -1"),
        (strings.last_index_of_before, ("abc", "a", -1), "index out of range: -1"),
        (strings.substring, ("abc", 4), "index out of range: 4"),
        (strings.substring_range, ("abc", 2, 1), "invalid substring range. start: 2, end: 1"),
        (strings.substring_range, ("abc", -1, 1), "index out of range: -1"),
        (strings.substring_range, ("abc", 1, 9), "index out of range: 9"),
        (strings.join, (["a", 1],), "join: invalid input: 1"),
        (strings.join, ([True],), "join: invalid input: true"),
    ],
)
def test_failures(call: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(EvaluationFailed) as failure:
        call(*arguments)
    assert failure.value.text == message


@given(TEXTS, TEXTS, st.integers(0, 14))
def test_the_last_index_is_that_of_a_simple_search(text: str, part: str, offset: int) -> None:
    found = [at for at in range(len(text)) if text.startswith(part, at) and at <= offset]
    if part and offset < len(text):
        assert strings.last_index_of_before(text, part, offset) == (found[-1] if found else -1)


def test_a_long_search_from_the_end_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strings, "_SHORT_SEARCH", 0)
    assert strings.last_index_of("xabab", "ab") == 3
    assert strings.last_index_of_before("xabab", "ab", 2) == 1
    assert strings.last_index_of("xabab", "ac") == -1


@given(TEXTS, TEXTS, TEXTS, st.integers(-1, 5))
def test_the_length_of_what_replacing_makes_is_known_before(
    text: str, old: str, new: str, count: int
) -> None:
    lengths: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strings, "check_text", lengths.append)
        result = strings.replace(text, old, new, count)
    assert lengths == ([len(result)] if len(new) > len(old) else [])


@pytest.mark.parametrize(
    "make",
    [
        lambda: strings.replace("a" * 10_000, "", "b" * 10_000),
        lambda: strings.replace("a" * 10_000, "a", "b" * 10_000),
        lambda: strings.join(["a" * 10_000] * 10_000),
        lambda: strings.join([""] * 10_000, "a" * 10_000),
    ],
)
def test_texts_that_would_be_too_long_are_not_made(make: Callable[[], str]) -> None:
    before = CEL_TEXT.times_reached
    with pytest.raises(CostExceeded):
        make()
    assert CEL_TEXT.times_reached == before + 1
