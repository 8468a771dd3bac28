"""An event loop whose time jumps instead of passing, and whose ready work runs in an order that a seed decides."""

import asyncio
import functools
import random
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

START = datetime(2026, 1, 1, tzinfo=UTC)


class Deadlock(Exception):
    """Nothing can ever run again, and what was asked for is not done."""


class _JumpingSelector(selectors.SelectSelector):
    """Never blocks: when the loop would wait for a timer, time jumps there."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock("no work is ready and no timer is set")
        self.now += timeout
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Deterministic for a seed: the same program runs in the same order at the same virtual times."""

    def __init__(self, seed: int) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self.random = random.Random(seed)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the virtual time in seconds, from 0."""
        return self._jumping.now

    def _run_once(self) -> None:
        ready = list(self._ready)  # type: ignore[attr-defined]  # asyncio's own queue is what is to be shuffled
        if len(ready) > 1:
            self.random.shuffle(ready)
            self._ready.clear()  # type: ignore[attr-defined]  # as above
            self._ready.extend(ready)  # type: ignore[attr-defined]  # as above
        super()._run_once()  # type: ignore[misc]  # the one place where asyncio takes work


class SimulatedClock:
    """Tells the date of the virtual time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime = START) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, as time synchronization does; timers do not notice."""
        self._start += timedelta(seconds=seconds)


def run_simulated(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end on a loop of its own; raises Deadlock when it never ends."""
    loop = SimulatedLoop(seed)
    try:
        return loop.run_until_complete(main())
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        pending = asyncio.all_tasks(loop)
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.close()


def simulated(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Turn a test that waits into one that runs in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_simulated(0, lambda: test(*args, **kwargs))

    return run
