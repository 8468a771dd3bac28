"""Parts of texts that match regular expressions: find, findAll. The syntax is Go's, and so are the matches."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kubelite.cel.declarations import (
    ONE,
    REGEX_LENGTH,
    STRING_TRAVERSAL,
    Argument,
    CallEstimate,
    Library,
    Range,
)
from kubelite.cel.frame import CostExceeded
from kubelite.cel.libraries.declaring import Costing, function, member
from kubelite.cel.standard import work_of_pattern
from kubelite.cel.types import INT, STRING, list_of
from kubelite.cel.values import EvaluationFailed, Value, size_of
from kubelite.limits import CEL_PATTERN
from kubelite.regexp.patterns import Matcher, SearchTooLong, compiled

_FREE_MATCHES: Final = 100
_FREE_SEARCH: Final = (
    1 << 18
)  # characters walked over, at most, for which findAll costs what it does there
_SEARCH_PER_COST: Final = 1_000


def compile_pattern(pattern: str) -> Matcher:
    """Return the matcher of a regular expression; raises ValueError in Go's words."""
    if len(pattern) > CEL_PATTERN.value:
        CEL_PATTERN.reached()
        raise ValueError(f"error parsing regexp: expression too large: `{pattern[:64]}...`")
    try:
        return compiled(pattern)
    except RecursionError as error:
        raise ValueError("error parsing regexp: expression nests too deeply") from error


def find(text: str, pattern: str) -> str:
    """Return the first match, "" if there is none."""
    return _find(_at_run_time(pattern), text)


def find_all(text: str, pattern: str, count: int = -1) -> list[str]:
    """Return the first `count` matches, all if it is negative."""
    return _find_all(_at_run_time(pattern), text, count)


def _at_run_time(pattern: str) -> Matcher:
    try:
        return compile_pattern(pattern)
    except ValueError as error:
        raise EvaluationFailed(f"Illegal regex: {error}") from error


def _find(matcher: Matcher, text: str) -> str:
    return next(iter(matcher.find(text, 1)), "")


def _find_all(matcher: Matcher, text: str, count: int) -> list[str]:
    try:
        return matcher.find(text, count)
    except SearchTooLong as error:
        raise CostExceeded from error


def _literal_pattern(literals: Mapping[int, Value]) -> Matcher | None:
    if 1 not in literals:
        return None
    try:
        return compile_pattern(literals[1])
    except ValueError as error:
        raise EvaluationFailed(str(error)) from error


def _specialise_find(literals: Mapping[int, Value]) -> Callable[..., Value] | None:
    matcher = _literal_pattern(literals)
    return None if matcher is None else lambda text, _pattern: _find(matcher, text)


def _specialise_find_all(literals: Mapping[int, Value]) -> Callable[..., Value] | None:
    matcher = _literal_pattern(literals)
    if matcher is None:
        return None
    return lambda text, _pattern, count=-1: _find_all(matcher, text, count)


def _estimate(arguments: Sequence[Argument]) -> CallEstimate:
    text, pattern = arguments[0].size, arguments[1].size
    cost = (text + ONE).scaled(STRING_TRAVERSAL) * pattern.scaled(REGEX_LENGTH)
    return CallEstimate(cost, Range(0, text.max))


def _cost(arguments: Sequence[Value], result: Value) -> int:
    length = size_of(arguments[0])
    text = math.ceil((1.0 + length) * STRING_TRAVERSAL)
    cost = text * math.ceil(size_of(arguments[1]) * REGEX_LENGTH)
    if not isinstance(result, list) or len(result) <= _FREE_MATCHES:
        return cost
    # Matches that are many and short, and walks over the whole text for each, are not charged for in Kubernetes.
    rescans = len(result) * length
    return max(cost, len(result)) + (rescans // _SEARCH_PER_COST if rescans > _FREE_SEARCH else 0)


_COSTING = Costing(_estimate, _cost, work=work_of_pattern)
_TEXTS = list_of(STRING)

LIBRARY: Final = Library(
    "kubernetes.regex",
    functions=(
        function(
            "find",
            member(
                "string_find_string", (STRING, STRING), STRING, find, _COSTING, _specialise_find
            ),
        ),
        function(
            "findAll",
            member(
                "string_find_all_string",
                (STRING, STRING),
                _TEXTS,
                find_all,
                _COSTING,
                _specialise_find_all,
            ),
            member(
                "string_find_all_string_int",
                (STRING, STRING, INT),
                _TEXTS,
                find_all,
                _COSTING,
                _specialise_find_all,
            ),
        ),
    ),
)
