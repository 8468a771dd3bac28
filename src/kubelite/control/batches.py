"""Many writes of one kind, carefully: in growing batches that stop at the first that fails."""

from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

from kubelite.api.errors import APIError
from kubelite.tasks import together

T = TypeVar("T")
R = TypeVar("R")

# What the API answers to creations in a namespace that goes away; trying again is of no use.
NAMESPACE_TERMINATING = "because it is being terminated"

# All writes of a batch are prepared in one turn of the loop; more at once would be no faster.
AT_ONCE_MAX = 16
EACH_AT_ONCE = 100  # of writes that need not stop at the first failure


async def slow_start(
    count: int, write: Callable[[int], Awaitable[APIError | None]]
) -> APIError | None:
    """Call `write(0)` to `write(count - 1)` in batches of 1, 2, 4, … 16; return the first failure.

    A quota that refuses all of a thousand pods is so asked once and not a thousand times.
    """
    done, size = 0, 1
    while done < count:
        size = min(size, count - done)
        failures: list[APIError | None] = await together(
            *(write(number) for number in range(done, done + size))
        )
        failure = next((one for one in failures if one is not None), None)
        if failure is not None:
            return failure
        done += size
        size = min(2 * size, AT_ONCE_MAX)
    return None


async def for_each(items: Iterable[T], write: Callable[[T], Awaitable[R]]) -> list[R]:
    """Call `write` for each item, a hundred at a time; return what all returned."""
    answers: list[R] = []
    left = iter(items)
    while some := tuple(islice(left, EACH_AT_ONCE)):
        answers += await together(*map(write, some))
    return answers
