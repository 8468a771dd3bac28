"""Many writes of one kind: in growing batches up to the first failure, or all in batches of a hundred."""

from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

from kubelite.api.errors import APIError
from kubelite.tasks import together

T = TypeVar("T")
R = TypeVar("R")

# Part of the API's message for a creation in a terminating namespace; a retry cannot succeed.
NAMESPACE_TERMINATING = "because it is being terminated"

# All writes of a batch are prepared in one turn of the loop, so a larger batch blocks it longer and is no faster.
AT_ONCE_MAX = 16
EACH_AT_ONCE = 100  # writes in flight in `for_each`


async def slow_start(
    count: int, write: Callable[[int], Awaitable[APIError | None]]
) -> APIError | None:
    """Call `write(0)` to `write(count - 1)` in batches of 1, 2, 4, … 16; return the first failure, or None.

    The batch after a failure is not started. A quota that rejects all of a thousand pods is asked once, not a thousand
    times. An exception cancels the rest of its batch and is raised.
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
    """Call `write` for each item, a hundred concurrently; return the results in order."""
    answers: list[R] = []
    left = iter(items)
    while some := tuple(islice(left, EACH_AT_ONCE)):
        answers += await together(*map(write, some))
    return answers
