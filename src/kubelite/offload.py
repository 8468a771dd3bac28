"""Keeps long pure work off the event loop.

The caller states what a piece of work will touch, before it is done: bytes of input times passes over them. Work within
`limits.INLINE_WORK` runs at once, since a hop to a thread costs more than it does. The rest runs in one worker thread:
Python gives the loop a turn every few milliseconds meanwhile, and a second thread would only take turns from the loop.
The work must be pure, or own all that it changes: it runs beside everything else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from kubelite.limits import INLINE_WORK

T = TypeVar("T")


class Offload(Protocol):
    """Runs pure work at once or elsewhere."""

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        """Return what `work` returns; it raises what `work` raises."""
        ...


class AtOnce:
    """Runs all work where it is asked for: simulations have no threads."""

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:  # noqa: ARG002 - the protocol's
        """Return what `work` returns."""
        return work()


class WorkerThread:
    """Runs work past the budget in a thread, which is made when it is first needed."""

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
        """Let the thread end; work that waits for it is cancelled."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
