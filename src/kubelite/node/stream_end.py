"""Ends a stream with the container it comes from, whatever the engine does.

An engine closes the streams of a container that ends. One that misses the end, or that joined a stream after it, would
keep the client for ever; so once the node knows that the container has ended, each read has a deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from kubelite.limits import STREAM_ENDING_SECONDS
from kubelite.tasks import TaskSet

T = TypeVar("T")


class StreamEnd:
    """Bounds the reads of one stream, one at a time, from the end of its container on.

    Only waiting for the engine counts: a client may read its output as slowly as it likes.
    """

    def __init__(self) -> None:
        self._has_ended = False
        self._limit: asyncio.Timeout | None = None

    def container_ended(self) -> None:
        """Give the read under way, and each later one, `STREAM_ENDING_SECONDS`."""
        self._has_ended = True
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(_deadline())

    async def read(self, reading: Awaitable[T]) -> T | None:
        """Return the result of `reading`; None if it takes too long after the end of the container."""
        limit = self._limit = asyncio.timeout_at(_deadline() if self._has_ended else None)
        try:
            async with limit:
                return await reading
        except TimeoutError:
            if not limit.expired():
                raise
            STREAM_ENDING_SECONDS.reached()
            return None
        finally:
            self._limit = None


def _deadline() -> float:
    return asyncio.get_running_loop().time() + STREAM_ENDING_SECONDS.value


@asynccontextmanager
async def stream_end(ended: Coroutine[Any, Any, None]) -> AsyncIterator[StreamEnd]:
    """Give the bound of a stream's reads; `ended` returns once the container has ended."""
    end = StreamEnd()
    tasks = TaskSet()
    waiting = tasks.start(ended, name="end of a streamed container")

    def over(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:
            end.container_ended()

    waiting.add_done_callback(over)
    try:
        yield end
    finally:
        await tasks.stop()
