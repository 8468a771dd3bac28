"""Has the kernel tell when memory gets scarce, so that nothing is polled for it.

With control groups of version 1 the kernel signals an eventfd when the use of a group crosses a threshold (kernel
documentation "Memory Resource Controller", section 9). Version 2 has no such thresholds, but pressure stall information
(PSI): a trigger fires when tasks have stalled for memory for long enough (kernel documentation "PSI").
"""

import asyncio
import logging
import os
import select
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from kubelite.node.cgroups import ROOT

log = logging.getLogger(__name__)

PRESSURE = Path("/proc/pressure/memory")
# Microseconds of stall in a window. Without CAP_SYS_RESOURCE the window must be a multiple of two seconds.
STALL_TRIGGER = "some 200000 2000000"


class Crossing(Struct, frozen=True):
    """A use of memory at which to be told."""

    group: str  # relative to the root of control groups; "" is the root
    use_bytes: int  # page cache included


class MemoryNotifier(Protocol):
    """Calls back when the use of memory crosses a threshold in either direction."""

    def watch(self, crossings: Iterable[Crossing], told: Callable[[], None]) -> None:
        """Replace what is watched; `told` is called on the loop, and may be called without need."""
        ...

    def close(self) -> None:
        """Watch nothing any more."""
        ...


class NoNotifier:
    """Never calls back, as on simulated nodes."""

    def watch(self, crossings: Iterable[Crossing], told: Callable[[], None]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class KernelNotifier:
    """Is told by the kernel of this machine; where that cannot be, it watches nothing and says so once."""

    def __init__(self, root: Path = ROOT, pressure: Path = PRESSURE) -> None:
        self._root = root
        self._pressure = pressure
        self._is_unified = (root / "cgroup.controllers").exists()
        self._watched: list[_Watched] = []
        self._crossings: tuple[Crossing, ...] = ()
        self._complained = False

    def watch(self, crossings: Iterable[Crossing], told: Callable[[], None]) -> None:
        """Replace what is watched."""
        wanted = tuple(crossings)
        if wanted == self._crossings:
            return
        if self._is_unified and self._watched and wanted:
            self._crossings = wanted  # the trigger knows no amounts
            return
        self.close()
        self._crossings = wanted
        try:
            if self._is_unified and wanted:
                self._watch_stalls(told)
            elif not self._is_unified:
                for crossing in wanted:
                    self._watch_use(crossing, told)
        except OSError as error:
            if not self._complained:
                log.warning("the kernel does not tell when memory gets scarce: %s", error)
            self._complained = True

    def close(self) -> None:
        """Watch nothing any more."""
        for watched in self._watched:
            watched.close()
        self._watched.clear()
        self._crossings = ()

    def _watch_use(self, crossing: Crossing, told: Callable[[], None]) -> None:
        folder = self._root / "memory" / crossing.group.lstrip("/")
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            usage = os.open(folder / "memory.usage_in_bytes", os.O_RDONLY | os.O_CLOEXEC)
            try:
                line = f"{event} {usage} {max(crossing.use_bytes, 0)}"
                (folder / "cgroup.event_control").write_text(line)
            finally:
                os.close(usage)
        except FileNotFoundError:
            os.close(event)  # no pod has made the group yet
            return
        except BaseException:
            os.close(event)
            raise

        def crossed() -> None:
            with suppress(BlockingIOError):
                os.eventfd_read(event)
            told()

        self._watched.append(_Watched(event, crossed, lambda: os.close(event)))

    def _watch_stalls(self, told: Callable[[], None]) -> None:
        trigger = os.open(self._pressure, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(trigger, STALL_TRIGGER.encode() + b"\0")
            # The trigger fires as priority data, which loops do not wait for; an epoll around it is plainly readable.
            poll = select.epoll()
        except BaseException:
            os.close(trigger)
            raise
        poll.register(trigger, select.EPOLLPRI)

        def stalled() -> None:
            poll.poll(0)
            told()

        def close() -> None:
            poll.close()
            os.close(trigger)

        self._watched.append(_Watched(poll.fileno(), stalled, close))


class _Watched:
    """A descriptor that the loop waits for."""

    def __init__(
        self, descriptor: int, told: Callable[[], None], close: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._close = close
        self._loop.add_reader(descriptor, told)

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
        self._close()
