"""Remembers answers about short texts, which come again and again."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")

LENGTH_MAX = 320  # of a text remembered: thousands of texts of a megabyte would be gigabytes


def remembered(count: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Remember the last `count` answers for texts of plausible length; errors are not remembered."""

    def decorated(work: Callable[[str], T]) -> Callable[[str], T]:
        known = lru_cache(maxsize=count)(work)

        @wraps(work)
        def answer(text: str) -> T:
            return known(text) if len(text) <= LENGTH_MAX else work(text)

        return answer

    return decorated
