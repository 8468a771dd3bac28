"""Serializes the retries of writers to one object, so that they do not make each other fail again and again."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """A fair lock per key; a key is present only while a writer holds or awaits its lock."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._queues

    @asynccontextmanager
    async def take(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of `key`, in the order of the calls; cancelling a waiter removes it from the queue."""
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = deque()
        else:
            turn = asyncio.get_running_loop().create_future()
            queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if (
                    not turn.cancelled()
                ):  # the lock was granted before the cancellation, so pass it on
                    self._pass_on(key)
                elif turn in queue:
                    queue.remove(turn)
                raise
        try:
            yield
        finally:
            self._pass_on(key)

    def _pass_on(self, key: str) -> None:
        queue = self._queues[key]
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._queues[key]
