"""Files of what was handed out, which must outlive the process: each change is on disk before it is acted on."""

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from kubelite.grpc.protobuf import Malformed
from kubelite.limits import Limit
from kubelite.tasks import TaskSet

T = TypeVar("T")

log = logging.getLogger(__name__)


class DurableFile:
    """A file with one writer. `tasks` hold a write whose caller was cancelled."""

    def __init__(self, path: Path, tasks: TaskSet) -> None:
        self._path = path
        self._tasks = tasks
        self._lock = asyncio.Lock()
        self._write: asyncio.Task[None] | None = None  # the last, which may go on
        self._written: bytes | None = None

    async def save(self, encode: Callable[[], bytes]) -> None:
        """Write what `encode` returns if it changed; nothing removes the file. Raises OSError."""
        async with self._lock:
            data = encode()
            if data == self._written:
                return
            # A thread outlives the caller that was cancelled, and two would write the same draft.
            if self._write is not None:
                await asyncio.wait([self._write])
            self._written = None  # unknown until the write has ended
            work = asyncio.to_thread(write_durable, self._path, data)
            self._write = self._tasks.start(work, name=f"write {self._path.name}")
            await asyncio.shield(self._write)
            self._written = data


def write_durable(path: Path, data: bytes) -> None:
    """Write a file durably, or remove it for no data. Raises OSError. Blocking: call it in a thread."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    draft = path.parent / f".{path.name}"
    if data:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    else:
        path.unlink(missing_ok=True)
    opened = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read_durable(path: Path, limit: Limit, decode: Callable[[bytes], T]) -> T | None:
    """Return what a file holds; None, with a log line, if it cannot be read or used. Blocking: call it in a thread."""
    try:
        with path.open("rb") as file:
            data = file.read(limit.value + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("allocations of devices cannot be read: %s", error)
        return None
    if len(data) > limit.value:
        limit.reached()
        data = b""
    try:
        return decode(data)
    except (ValueError, msgspec.MsgspecError, Malformed) as error:
        log.warning("allocations of devices are not known, their file is unusable: %s", error)
        with suppress(OSError):  # kept for a person to look at
            path.replace(path.with_name(f"{path.name}.unusable"))
        return None
