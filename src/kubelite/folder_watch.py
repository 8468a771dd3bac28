"""Follows the names in a folder of the host.

A file that is being written is unsettled until its writer closes it: its content is not to be read before. The watch
tells of writes that it has seen, `is_being_written` of those that began before it.
"""

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kubelite.inotify import (
    ANY_CHANGE,
    ATTRIB,
    CLOSE_WRITE,
    CREATE,
    DELETE,
    DELETE_SELF,
    IGNORED,
    MODIFY,
    MOVE_SELF,
    MOVED_FROM,
    MOVED_TO,
    ONLY_FOLDERS,
    OVERFLOW,
    InotifyReader,
)
from kubelite.limits import UNSETTLED_FILES


class FolderWatch(InotifyReader):
    """Calls `changed` when what a folder holds may have changed; the caller reads the folder itself.

    It closes itself when the folder is removed or renamed.
    """

    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        super().__init__()
        self._folder = folder
        self._changed = changed
        self.unsettled: set[str] = set()  # names of files that are being written

    def open(self) -> None:
        """Begin to follow the folder; raises OSError if it is none. Call it on the loop."""
        try:
            self._watch(os.fsencode(self._folder), ANY_CHANGE | ATTRIB | CLOSE_WRITE | ONLY_FOLDERS)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Stop following the folder."""
        super().close()
        self.unsettled.clear()

    def _take(self, events: list[tuple[int, int, str]]) -> None:
        # Each of them counts: a later event may settle a file that an earlier one has not.
        news = [self._happened(mask, name) for _, mask, name in events]
        if any(news):
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


def is_being_written(file: int) -> bool:
    """Return whether a file is open for writing: then the kernel gives nobody a lease to read it. Source: fcntl(2)."""
    try:
        # Who opens the file for writing at this moment sends a signal; this one does nothing by default.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN  # else: of another user, or a file system without leases
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
