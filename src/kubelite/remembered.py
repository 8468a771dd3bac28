"""LRU caches keyed by short texts, so that clients cannot decide how much memory a cache holds.

`lru_cache` bounds entries, not bytes: 4096 keys, each as long as a request body may be, are 12 GB. So a text past a
maximum length is not cached; its result is computed each time.
"""

from collections.abc import Callable, Hashable, Sized
from functools import lru_cache, wraps
from typing import Protocol, TypeVar

LENGTH_MAX = 320  # characters: the longest names and addresses, with some room


class Text(Sized, Hashable, Protocol):
    """A text or bytes."""


T = TypeVar("T", bound=Text)
R = TypeVar("R")


def remembered(
    entries: int, *, length_max: int = LENGTH_MAX
) -> Callable[[Callable[[T], R]], Callable[[T], R]]:
    """Return a decorator that caches the results for the `entries` most recently used texts.

    A text of more than `length_max` characters is never cached, nor is an exception.
    """

    def decorate(answer: Callable[[T], R]) -> Callable[[T], R]:
        known = lru_cache(maxsize=entries)(answer)

        @wraps(answer)
        def recall(text: T) -> R:
            return known(text) if len(text) <= length_max else answer(text)

        return recall

    return decorate
