"""Waits for a change in a folder by the kernel's inotify: one descriptor for all who wait in this process.

Each wait is armed for one event, so a folder that changes all the time costs nothing while nobody waits for it. After
a wait was armed the folder must be looked at once more: what changed before is not told.
Source: inotify(7).
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE, DELETE_SELF, MOVE_SELF = (
    0x2,
    0x8,
    0x40,
    0x80,
    0x100,
    0x200,
    0x400,
    0x800,
)
ANY_CHANGE = MODIFY | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
_ONE_SHOT, _ONLY_FOLDERS, _OVERFLOW = 0x80000000, 0x01000000, 0x4000
_HEAD = struct.Struct("iIII")
_READ_BYTES = 64 * 1024

Wait = asyncio.Future[None]


class Inotify:
    """The waits of one event loop; the descriptor is opened with the first of them."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._waits: dict[int, set[Wait]] = {}  # by the kernel's number of the watch
        self._library = ctypes.CDLL(None, use_errno=True)

    @contextmanager
    def armed(self, folder: int) -> Iterator[Wait]:
        """Give a future that is done at the next change of an open folder or of a file in it.

        Raises OSError, as when the host lets nobody watch more (ENOSPC, EMFILE).
        """
        self._open()
        # Through the descriptor, since the path may lead elsewhere by now.
        path = f"/proc/self/fd/{folder}".encode()
        mask = ANY_CHANGE | _ONE_SHOT | _ONLY_FOLDERS
        number = self._checked(
            self._library.inotify_add_watch(self._descriptor, path, ctypes.c_uint32(mask))
        )
        wait: Wait = asyncio.get_running_loop().create_future()
        waits = self._waits.setdefault(number, set())
        waits.add(wait)
        try:
            yield wait
        finally:
            wait.cancel()
            waits.discard(wait)
            if not waits and self._waits.get(number) is waits:
                del self._waits[number]
                if self._descriptor >= 0:
                    self._library.inotify_rm_watch(self._descriptor, number)

    def close(self) -> None:
        """Close the descriptor; waits are never done any more."""
        if self._descriptor >= 0:
            with suppress(RuntimeError):  # the loop is closed already
                asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        if self._descriptor < 0:
            flags = os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = self._checked(self._library.inotify_init1(flags))
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    @staticmethod
    def _checked(answer: int) -> int:
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return answer

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        for number, mask in events_in(data):
            if mask & _OVERFLOW:
                for waits in list(self._waits.values()):
                    _finish(waits)
                self._waits.clear()
            else:
                _finish(self._waits.pop(number, set()))


def _finish(waits: set[Wait]) -> None:
    for wait in waits:
        if not wait.done():
            wait.set_result(None)


def events_in(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the watch's number and the mask of each event that the kernel wrote."""
    place = 0
    while place + _HEAD.size <= len(data):
        number, mask, _, length = _HEAD.unpack_from(data, place)
        place += _HEAD.size + length
        yield number, mask
