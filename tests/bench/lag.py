"""How long ready work waits for the loop this process runs."""

import asyncio
from types import TracebackType

PERIOD_SECONDS = 0.005


class LagMeter:
    """Measures while it is entered: a timer that comes late tells how long the loop was held."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def p99_ms(self) -> float:
        """99 of 100 timers came at most so late."""
        return sorted(self._late)[int(len(self._late) * 0.99)] * 1e3

    @property
    def longest_ms(self) -> float:
        """The latest timer of all."""
        return max(self._late) * 1e3

    def __enter__(self) -> "LagMeter":
        self._next()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._timer is not None
        self._timer.cancel()

    def _next(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + PERIOD_SECONDS
        self._timer = loop.call_at(due, self._came, due)

    def _came(self, due: float) -> None:
        self._late.append(max(0.0, asyncio.get_running_loop().time() - due))
        self._next()
