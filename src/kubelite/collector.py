"""Memory: when Python's garbage collector runs, and when what was freed goes back to the system.

Almost everything here is freed by counting references. What the collector is left with is rare, but a full pass of it
looks at everything that lives, and holds the loop for as long: with Python's own settings a third of all CPU, and a
quarter of a second at a time, while a thousand pods start.

What a burst of large answers took is free afterwards, but scattered: the C library keeps it for the next burst. It is
given back once the burst is over.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable

YOUNG = 1_000  # objects made before the youngest are looked at: about 0.3 ms
YOUNG_PASSES = 5  # ... before those that survived are: about 3 ms
MIDDLE_PASSES = 200  # ... before everything is


def pause() -> None:
    """Collect nothing from now on: what is made at the start stays."""
    gc.disable()


def resume() -> None:
    """Collect from now on, but never look again at what lives now."""
    gc.freeze()
    gc.set_threshold(YOUNG, YOUNG_PASSES, MIDDLE_PASSES)
    gc.enable()


GIVEN_BACK_BYTES_MIN = 16 * 1024 * 1024  # freed since the last time; less is not worth the look
QUIET_SECONDS = 1.0  # without anything large freed: the burst is over
BURST_SECONDS_MAX = 30.0  # one that does not end


class FreedMemory:
    """Gives freed memory back to the system at the end of a burst; nothing happens without one."""

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        """`give_back` may take some ms and is called in a thread; by default it is the C library's trim."""
        self._give_back = give_back or trim
        self._bytes = 0
        self._began = 0.0
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def freed(self, size_bytes: int) -> None:
        """Note that something large was freed."""
        loop = asyncio.get_running_loop()
        self._bytes += size_bytes
        self._last = loop.time()
        if self._timer is None and self._bytes >= GIVEN_BACK_BYTES_MIN:
            self._began = self._last
            self._timer = loop.call_later(QUIET_SECONDS, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._last < QUIET_SECONDS and now - self._began < BURST_SECONDS_MAX:
            self._timer = loop.call_later(self._last + QUIET_SECONDS - now, self._look)
            return
        self._timer = None
        self._bytes = 0
        loop.run_in_executor(None, self._give_back)


def trim() -> None:
    """Give free memory of the C library back to the system, where the library can (glibc)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
