"""Changes of folders, told by the kernel's inotify, so that nothing polls them. Source: inotify(7).

`Inotify` waits for one change of a folder, with one descriptor for all who wait in this process. Each wait is armed for
one event, so a folder that changes all the time costs nothing while nobody waits for it; after a wait was armed the
folder must be looked at once more, as what changed before is not told. `folder_watch` follows a folder all the time.
"""

import asyncio
import ctypes
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# Of <sys/inotify.h>.
MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
OVERFLOW, IGNORED, ONLY_FOLDERS = 0x4000, 0x8000, 0x01000000
_ONE_SHOT = 0x80000000
ANY_CHANGE = MODIFY | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_READ_BYTES = 64 * 1024

Wait = asyncio.Future[None]


class InotifyReader(ABC):
    """A descriptor of the kernel, opened with the first watch and read on the event loop."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._library = ctypes.CDLL(None, use_errno=True)

    @property
    def is_open(self) -> bool:
        """Whether anything may be told."""
        return self._descriptor >= 0

    def close(self) -> None:
        """Close the descriptor; nothing is told any more."""
        if self._descriptor >= 0:
            with suppress(RuntimeError):  # the loop is closed already
                asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _watch(self, path: bytes, mask: int) -> int:
        """Watch a path; return the kernel's number of the watch. Raises OSError, as when it watches too many."""
        if self._descriptor < 0:
            flags = os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = self._checked(self._library.inotify_init1(flags), b"inotify")
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)
        number = self._library.inotify_add_watch(self._descriptor, path, ctypes.c_uint32(mask))
        return self._checked(number, path)

    def _unwatch(self, number: int) -> None:
        if self._descriptor >= 0:
            self._library.inotify_rm_watch(self._descriptor, number)

    @staticmethod
    def _checked(answer: int, what: bytes) -> int:
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fsdecode(what))
        return answer

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        self._take(list(events_in(data)))

    @abstractmethod
    def _take(self, events: list[tuple[int, int, str]]) -> None:
        """Take events: the number of the watch, the mask, and the name in the folder."""


class Inotify(InotifyReader):
    """The waits of one event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._waits: dict[int, set[Wait]] = {}  # by the kernel's number of the watch

    @contextmanager
    def armed(self, folder: int) -> Iterator[Wait]:
        """Give a future that is done at the next change of an open folder or of a file in it.

        Raises OSError, as when the host lets nobody watch more (ENOSPC, EMFILE).
        """
        # Through the descriptor, since the path may lead elsewhere by now.
        path = f"/proc/self/fd/{folder}".encode()
        number = self._watch(path, ANY_CHANGE | _ONE_SHOT | ONLY_FOLDERS)
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
                self._unwatch(number)

    def _take(self, events: list[tuple[int, int, str]]) -> None:
        for number, mask, _ in events:
            if mask & OVERFLOW:
                for waits in list(self._waits.values()):
                    _finish(waits)
                self._waits.clear()
            else:
                _finish(self._waits.pop(number, set()))


def _finish(waits: set[Wait]) -> None:
    for wait in waits:
        if not wait.done():
            wait.set_result(None)


def events_in(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Yield the watch's number, the mask and the name of each event that the kernel wrote."""
    place = 0
    while place + _HEAD.size <= len(data):
        number, mask, _, length = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        name = os.fsdecode(data[place : place + length].rstrip(b"\0"))
        place += length
        yield number, mask, name
