"""When Python's garbage collector runs, and when freed memory is returned to the operating system.

Reference counting frees almost everything, so the collector finds little. But a full collection visits every live
object and blocks the loop meanwhile: with Python's default thresholds it takes a third of all CPU, in pauses of a
quarter of a second, while a thousand pods start.

Memory that a burst of large responses used is free afterwards but fragmented, so the C library keeps it. It is trimmed
once the burst is over, and once after the start, which is a burst too.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable

YOUNG = 1_000  # allocations before a collection of generation 0: about 0.3 ms
YOUNG_PASSES = 5  # collections of generation 0 before one of generation 1: about 3 ms
MIDDLE_PASSES = 200  # collections of generation 1 before a full one


M_ARENA_MAX = -8  # malloc.h
STARTED_SECONDS = (
    5.0  # after the start: by then the first lists are read, and rules and links are made
)


def pause() -> None:
    """Disable the collector: objects created during the start live until the end."""
    gc.disable()


def resume() -> None:
    """Enable the collector; objects that are alive now are never visited again."""
    gc.freeze()
    gc.set_threshold(YOUNG, YOUNG_PASSES, MIDDLE_PASSES)
    gc.enable()


def share_one_heap() -> None:
    """Have all threads allocate from one heap of the C library, where it can be told so (glibc). Call it first.

    By default each thread gets a heap of its own, and keeps what it has freed. Python's lock makes threads wait for
    each other anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def give_back_soon(give_back: Callable[[], None] | None = None) -> None:
    """Return what the start has freed to the operating system, once, some seconds from now, in a thread."""
    loop = asyncio.get_running_loop()
    loop.call_later(STARTED_SECONDS, loop.run_in_executor, None, give_back or trim)


GIVEN_BACK_BYTES_MIN = 16 * 1024 * 1024  # freed since the last trim; less is not worth one
QUIET_SECONDS = 1.0  # a burst ends when nothing large is freed for so long
BURST_SECONDS_MAX = 30.0  # a longer burst is trimmed while it lasts


class FreedMemory:
    """Returns freed memory to the operating system at the end of a burst."""

    def __init__(self, give_back: Callable[[], None] | None = None) -> None:
        """`give_back` may take some milliseconds and is called in a thread; the default is `trim`."""
        self._give_back = give_back or trim
        self._bytes = 0
        self._began = 0.0
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def freed(self, size_bytes: int) -> None:
        """Note that something large was freed; from GIVEN_BACK_BYTES_MIN on, schedule a trim."""
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
    """Return free memory of the C library to the operating system; does nothing without `malloc_trim` (glibc)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
