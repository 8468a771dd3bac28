"""Caches of answers about short texts: what others send must not decide how much a cache holds.

`lru_cache` counts entries, not bytes. 4096 answers about texts of any length are 12 GB where each text is as long as a
body may be. So texts past a length are answered anew each time.
"""

from collections.abc import Callable, Hashable, Sized
from functools import lru_cache, wraps
from typing import Protocol, TypeVar

LENGTH_MAX = 320  # the longest names and addresses there are, with some room


class Text(Sized, Hashable, Protocol):
    """A text or bytes."""


T = TypeVar("T", bound=Text)
R = TypeVar("R")


def remembered(
    entries: int, *, length_max: int = LENGTH_MAX
) -> Callable[[Callable[[T], R]], Callable[[T], R]]:
    """Return a decorator that keeps the answers about the `entries` texts asked about last.

    A text of more than `length_max` characters is never kept; errors are not either.
    """

    def decorate(answer: Callable[[T], R]) -> Callable[[T], R]:
        known = lru_cache(maxsize=entries)(answer)

        @wraps(answer)
        def recall(text: T) -> R:
            return known(text) if len(text) <= length_max else answer(text)

        return recall

    return decorate
