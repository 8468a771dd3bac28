"""Runs long pure work off the event loop.

The caller estimates the cost of the work in advance: bytes of input times passes over them. Work within
`limits.INLINE_WORK` runs at once, since a hop to a thread would cost more. The rest runs in one worker thread: the GIL
goes back to the loop every few milliseconds, and a second thread would only take more of it. The work must be pure, or
own all that it changes, since it runs concurrently with the loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from kubelite.limits import INLINE_WORK

T = TypeVar("T")
FAR_FROM_INLINE = 1 << 40  # the cost of work that has shown to be too long for the loop


class Offload(Protocol):
    """Runs pure work, inline or off the loop."""

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        """Return what `work` returns; raises what `work` raises."""
        ...


class AtOnce:
    """Runs all work inline; for simulations and unit tests, which have no threads."""

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:  # noqa: ARG002 - the protocol's
        """Return what `work` returns."""
        return work()


class WorkerThread:
    """Runs work past `limits.INLINE_WORK` in one thread, which starts when it is first needed."""

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        """Return what `work` returns."""
        if cost_bytes <= INLINE_WORK.value:
            return work()
        INLINE_WORK.reached()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="pure-work")
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """Let the thread end without waiting for it; work that it has not begun is cancelled."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
