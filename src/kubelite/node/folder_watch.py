"""Follows the names in a folder of the host by inotify, so that nothing polls it.

A file that is being written is unsettled until its writer closes it: its content is not to be read before.
"""

import asyncio
import ctypes
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kubelite.limits import UNSETTLED_FILES

# Of <sys/inotify.h>.
MODIFY, ATTRIB, CLOSE_WRITE, MOVED_FROM, MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
OVERFLOW, IGNORED, ONLY_DIR = 0x4000, 0x8000, 0x1000000
_MASK = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
_MASK |= DELETE_SELF | MOVE_SELF | ONLY_DIR
_HEAD = struct.Struct("iIII")  # watch, mask, cookie, length of the name
_READ_BYTES = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class FolderWatch:
    """Calls `changed` when what a folder holds may have changed; the caller reads the folder itself."""

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._fd = -1
        self.unsettled: set[str] = set()  # names of files that are being written

    @property
    def is_open(self) -> bool:
        """Whether changes are followed; not after the folder itself was removed or renamed."""
        return self._fd >= 0

    def open(self) -> None:
        """Begin to follow the folder; raises OSError if it is none. Call it on the loop."""
        fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise _last_error("inotify")
        if _libc.inotify_add_watch(fd, os.fsencode(self._folder), _MASK) < 0:
            error = _last_error(str(self._folder))
            os.close(fd)
            raise error
        self._fd = fd
        asyncio.get_running_loop().add_reader(fd, self._read)

    def close(self) -> None:
        """Stop following the folder."""
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        self.unsettled.clear()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        has_news = False
        at = 0
        while at + _HEAD.size <= len(data):
            _, mask, _, length = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            name = os.fsdecode(data[at : at + length].rstrip(b"\0"))
            at += length
            has_news |= self._happened(mask, name)
        if has_news:
            self._changed()

    def _happened(self, mask: int, name: str) -> bool:
        """Keep account of an event; return whether the folder is to be read."""
        if mask & (IGNORED | DELETE_SELF | MOVE_SELF):
            self.close()
            return True
        if mask & OVERFLOW:
            self.unsettled.clear()  # the ends of writes may be among the lost events
            return True
        if mask & MODIFY or (mask & CREATE and self._may_be_written(name)):
            if len(self.unsettled) >= UNSETTLED_FILES.value:
                UNSETTLED_FILES.reached()
                return False
            self.unsettled.add(name)
            return False
        if mask & (CLOSE_WRITE | MOVED_FROM | MOVED_TO | DELETE):
            self.unsettled.discard(name)
        return True

    def _may_be_written(self, name: str) -> bool:
        """Return whether a new name is a file of its own; a link to one is never closed by a writer."""
        with suppress(OSError):
            state = (self._folder / name).lstat()
            return stat.S_ISREG(state.st_mode) and state.st_nlink == 1
        return False


def _last_error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), what)
