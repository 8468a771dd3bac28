"""Counts the work that code does, so that tests can tell linear from quadratic without a clock."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

RATIO_MAX = 2.5  # of the work for twice the input; n log n stays below, n * n is 4


class Word(str):
    """A text that counts how often it is compared, which a search through a list does for each of its items."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Word.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def steps(work: Callable[[], Any]) -> int:
    """Return how many lines of Python `work` executes, and how many `Word` it compares."""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    Word.comparisons = 0
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines + Word.comparisons


def growth(make: Callable[[int], Callable[[], Any]], size: int = 200) -> float:
    """Return how much more work there is for twice the size; `make` prepares the work of a size."""
    for count in (size, 2 * size):
        make(count)()  # compile schemas and fill caches
    return steps(make(2 * size)) / steps(make(size))
