"""Supervised background tasks, and ways to await several writes."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

from kubelite.backoff import backoff_seconds

T = TypeVar("T")

log = logging.getLogger(__name__)

RESTART_DELAY_SECONDS = 1.0
RESTART_DELAY_MAX_SECONDS = 60.0
SLICE = 500  # items between two turns of the loop: a few milliseconds of simple steps


class TaskSet:
    """Owns background tasks and ends them all on `stop`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` once in the background; an exception other than cancellation is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def supervise(
        self, run: Callable[[], Coroutine[Any, Any, Any]], *, name: str
    ) -> asyncio.Task[Any]:
        """Run `run()` in the background; after a failure log it and restart `run()` with exponential back-off."""
        return self.start(_supervised(run, name), name=name)

    async def stop(self) -> None:
        """Cancel every task and wait until all have ended; tasks started meanwhile are cancelled as well.

        If a task of the set calls it, that task is not cancelled.
        """
        own = asyncio.current_task()
        while tasks := [task for task in self._tasks if task is not own]:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task failed", exc_info=error, extra={"task": task.get_name()})


async def _supervised(run: Callable[[], Coroutine[Any, Any, Any]], name: str) -> None:
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        try:
            await run()
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            # The task itself was not cancelled, only something it awaited, so restart it.
            log.warning("task was cut off, starting it again", extra={"task": name})
        except Exception:
            if _is_cancelled():  # and its clean-up failed
                raise
            log.exception("task failed, starting it again", extra={"task": name})
        else:
            return
        if loop.time() - started > RESTART_DELAY_MAX_SECONDS:
            failures = 0
        await asyncio.sleep(
            backoff_seconds(failures, RESTART_DELAY_SECONDS, RESTART_DELAY_MAX_SECONDS)
        )
        failures += 1


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def in_slices(items: Iterable[T], size: int = SLICE) -> AsyncIterator[list[T]]:
    """Yield the items in lists of at most `size`, and yield to the event loop between two lists.

    `items` is copied first, so it may change meanwhile.
    """
    left = iter(tuple(items))
    some = list(islice(left, size))
    while some:
        yield some
        if some := list(islice(left, size)):
            await asyncio.sleep(0)


async def all_to_their_end(*works: Awaitable[Any]) -> None:
    """Await all, then raise the first exception in argument order; a failure cancels none of the rest."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def together(*writes: Awaitable[Any]) -> list[Any]:
    """Await all and return their results in order; when one fails, cancel the rest and raise its error."""
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(write) for write in writes]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
