"""Reads a container's log from its files: across rotation, its last lines only, and on while it is written.

The engine writes the newest file, which is renamed now and then (see `log_folder`). A reader holds one file open at a
time, so that a client that does not read keeps no more than that on the disk. A log that is followed is read again when
the kernel tells a change of its folder.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kubelite.inotify import Inotify, Wait
from kubelite.node.cri.log_cursor import LogCursor
from kubelite.node.cri.log_folder import log_path
from kubelite.node.runtime import LogEntry, LogQuery, RuntimeFailure
from kubelite.tasks import TaskSet

BATCH_SECONDS = 0.02  # what is written within this time is read together
CHECK_SECONDS = 1.0  # between two reads where the host lets nobody watch more files; as the kubelet
ENTRIES_AT_ONCE = 500  # after which the loop gets its turn


async def read_log(
    path: str | Path,
    query: LogQuery,
    ended: Coroutine[Any, Any, None],
    notices: Inotify,
) -> AsyncGenerator[LogEntry, None]:
    """Yield the entries of a container's log in order; at the end stop, or go on while following.

    `path` is ``ROOT/pods/POD/CONTAINER/ATTEMPT.log``. `ended` returns once the container has ended and the engine
    writes no more, which ends a log that is followed; it is not awaited otherwise. A line counts for `tail_lines` as
    the engine has cut it (at 16 KiB), as with the kubelet.
    Raises RuntimeFailure when there is no log or it cannot be read.
    """
    tasks = TaskSet()
    is_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cursor = None
    try:
        cursor = LogCursor(log_path(path), query)
        if query.follow:
            is_over = tasks.start(ended, name="end of a followed log")
        else:
            is_over.set_result(None)
        await asyncio.to_thread(cursor.start)
        async for entry in _entries(cursor, is_over, notices):
            yield entry
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise RuntimeFailure(f'failed to read log file "{path}": {reason}') from error
    finally:
        await tasks.stop()
        ended.close()
        if cursor is not None:
            cursor.close()


async def _entries(
    cursor: LogCursor, is_over: asyncio.Future[None], notices: Inotify
) -> AsyncGenerator[LogEntry, None]:
    loop = asyncio.get_running_loop()
    changes = _Changes(cursor, is_over, notices)
    try:
        while True:
            was_over = is_over.done()
            read_at = loop.time()
            entries = await asyncio.to_thread(cursor.read)
            for count, entry in enumerate(entries or (), 1):
                yield entry
                if count % ENTRIES_AT_ONCE == 0:
                    await asyncio.sleep(0)
            if entries is None:
                if was_over:
                    return
                # What came before the wait was armed is not told, so it is read once more before the wait.
                if await changes.armed():
                    await changes.wait()
                    await asyncio.sleep(read_at + BATCH_SECONDS - loop.time())
            elif cursor.is_leaving:
                await asyncio.sleep(BATCH_SECONDS)
    finally:
        changes.close()


class _Changes:
    """Waits for changes of a log's folder."""

    def __init__(self, cursor: LogCursor, is_over: asyncio.Future[None], notices: Inotify) -> None:
        self._cursor = cursor
        self._is_over = is_over
        self._notices = notices
        self._stack = ExitStack()
        self._wait: Wait | None = None

    async def armed(self) -> bool:
        """Return whether a wait was armed already, else arm one."""
        if self._wait is not None:
            return True
        try:
            folder = await asyncio.to_thread(self._cursor.open_folder)
            try:
                self._wait = self._stack.enter_context(self._notices.armed(folder))
            finally:
                os.close(folder)
        except OSError:
            self._wait = asyncio.get_running_loop().create_future()
            timer = asyncio.get_running_loop().call_later(CHECK_SECONDS, _finish, self._wait)
            self._stack.callback(timer.cancel)
        return False

    async def wait(self) -> None:
        """Wait for a change or the end of the container."""
        assert self._wait is not None, "the wait is armed"
        try:
            await asyncio.wait({self._wait, self._is_over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.close()

    def close(self) -> None:
        """Disarm the wait."""
        self._stack.close()
        self._wait = None


def _finish(wait: Wait) -> None:
    if not wait.done():
        wait.set_result(None)
