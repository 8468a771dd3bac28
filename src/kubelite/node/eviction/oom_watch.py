"""Reports the kills of the kernel when the whole machine is out of memory, as read from its log.

Kills within a control group are the container's own and are reported by the engine.
"""

import asyncio
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

log = logging.getLogger(__name__)

KERNEL_LOG = Path("/dev/kmsg")
RECORD_BYTES = 8192  # a read must have room for a whole record
RECORDS_AT_ONCE = 200  # then the loop goes on with other things
SYSTEM_OOM = "SystemOOM"
_KILLED = re.compile(r"Out of memory[^:]*: Killed process ([0-9]+) \((.+?)\)")
_FACILITY_SHIFT = 3


class Victim(Struct, frozen=True):
    """A process that the kernel killed."""

    pid: int
    name: str

    def message(self) -> str:
        """Return the message of the event."""
        return f"System OOM encountered, victim process: {self.name}, pid: {self.pid}"


def victim_of(record: bytes) -> Victim | None:
    """Return whom a record of the kernel's log says it killed for lack of memory on the machine, or None.

    Programs can write to the log too; the kernel never gives those records its own facility, 0.
    """
    head, _, text = record.decode("utf-8", "replace").partition(";")
    priority = head.split(",", 1)[0]
    if not priority.isdecimal() or int(priority) >> _FACILITY_SHIFT != 0:
        return None
    matching = _KILLED.match(text)
    return Victim(int(matching[1]), matching[2]) if matching is not None else None


class OOMWatch:
    """Reads the log of the kernel."""

    def __init__(
        self, told: Callable[[Victim], None], path: Path = KERNEL_LOG, *, skip: bool = True
    ) -> None:
        """With `skip` what the log has from before is left out; not every file can be positioned."""
        self._told = told
        self._path = path
        self._skip = skip

    async def run(self) -> None:
        """Report kills until cancelled; ends at once where the log cannot be read."""
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            log.info("the kernel's log cannot be read, so kills are not reported: %s", error)
            return
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        try:
            if self._skip:
                os.lseek(file, 0, os.SEEK_END)
            loop.add_reader(file, readable.set)
            try:
                while True:
                    await readable.wait()
                    readable.clear()
                    self._read(file)
            finally:
                loop.remove_reader(file)
        finally:
            os.close(file)

    def _read(self, file: int) -> None:
        for _ in range(RECORDS_AT_ONCE):
            try:
                record = os.read(file, RECORD_BYTES)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # records were overwritten before they were read; the next read is at the oldest one
            if not record:
                return
            if (victim := victim_of(record)) is not None:
                self._told(victim)
