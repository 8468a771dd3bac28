"""Spreads the writes of the process's own components over iterations of the loop.

A change can cause a hundred components (kubelets, controllers, event recorders) to write in the same iteration. Each
write takes a fraction of a millisecond to prepare, and requests of external clients would wait for all of them.
"""

import asyncio
from collections import deque

WRITES_A_TURN = 48


class Pace:
    """Lets at most `WRITES_A_TURN` writes begin in an iteration of the loop, first in, first out."""

    def __init__(self) -> None:
        self._begun = 0  # in this turn
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Return at once, or in a later iteration if this one has reached its limit."""
        loop = asyncio.get_running_loop()
        if not self._begun:
            loop.call_soon(self._next_turn)
        if self._begun < WRITES_A_TURN:
            self._begun += 1
            return
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < WRITES_A_TURN:
            waiting = self._waiting.popleft()
            if not waiting.done():  # a cancelled caller does not count
                waiting.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)
