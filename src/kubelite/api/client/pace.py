"""Spreads the writes of the process's own parts over turns of the loop.

A change can make a hundred parts ready to write in the same turn: kubelets, controllers, the recorders of events. Each
write takes a fraction of a millisecond to prepare, and clients from outside would wait for all of them.
"""

import asyncio
from collections import deque

WRITES_A_TURN = 48


class Pace:
    """Lets so many writes begin in a turn of the loop, in the order in which they came."""

    def __init__(self) -> None:
        self._begun = 0  # in this turn
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Return at once, or in a later turn if there have been enough in this one."""
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
            if not waiting.done():  # who gave up does not count
                waiting.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)
