"""The time of a cluster."""

import asyncio
from datetime import datetime, timedelta

from kubelite.clock import SystemClock
from kubelite.testing.loop import Door


class ClusterClock:
    """Tells the date in the cluster, which runs with the machine's unless it is advanced or held."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._start = SystemClock().now()
        self._started = door.loop.time()

    def now(self) -> datetime:
        """Return the date, aware, in UTC."""
        return self._start + timedelta(seconds=self._door.loop.time() - self._started)

    async def advance(
        self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> None:
        """Let time pass for all that waits in the cluster, each timer at its own time; return when it is quiet.

        Raises ValueError for a time that is negative.
        """
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
        if span < 0:
            raise ValueError("time does not go back")
        await self._door.run(self._door.loop.advance(span))

    async def sleep(self, seconds: float) -> None:
        """Wait for a time of the cluster."""
        await self._door.run(asyncio.sleep(seconds))

    def hold(self) -> None:
        """Let time stand still from now on; `advance` still moves it."""
        self._door.call(self._door.loop.hold)

    def go_on(self) -> None:
        """Let time run again."""
        self._door.call(self._door.loop.go_on)
