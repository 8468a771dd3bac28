"""Walks the files of a volume. Blocking, and as long as the volume has files: call it in a thread.

A container may turn names meanwhile, so each step is by descriptor, no symlink is followed and no mount is entered, be
it of the same file system.
"""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kubelite.limits import VOLUME_DEPTH
from kubelite.node.untrusted_files import mount_of

Visit = Callable[[int, os.stat_result], None]  # an O_PATH descriptor of a file or folder, its state


def walk(top: int, visit: Visit) -> None:
    """Visit all below an open folder, each folder after its content. Raises OSError.

    Folders are open on the way down only; folders nested deeper than VOLUME_DEPTH are an error (ENAMETOOLONG).
    """
    mount = mount_of(top)
    levels = [_Level(os.dup(top), os.fstat(top))]
    try:
        while levels:
            level = levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop()
                try:
                    if levels:  # the top is the caller's
                        visit(level.folder, level.state)
                finally:
                    level.close()
                continue
            with suppress(FileNotFoundError):  # removed meanwhile
                _enter(entry.name, mount, visit, levels)
    finally:
        for level in levels:
            level.close()


class _Level:
    """A folder on the way down, open, with its entries still to visit."""

    def __init__(self, folder: int, state: os.stat_result) -> None:
        self.folder = folder
        self.state = state
        self.entries = os.scandir(folder)

    def close(self) -> None:
        """Close both descriptors."""
        self.entries.close()
        os.close(self.folder)


def _enter(name: str, mount: str, visit: Visit, levels: list[_Level]) -> None:
    """Visit one entry, or open it if it is a folder."""
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=levels[-1].folder)
    try:
        if mount_of(place) != mount:
            return
        state = os.fstat(place)
        if not stat.S_ISDIR(state.st_mode):
            visit(place, state)
            return
        if len(levels) > VOLUME_DEPTH.value:
            VOLUME_DEPTH.reached()
            raise OSError(errno.ENAMETOOLONG, "the volume's folders are nested too deeply")
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        levels.append(_Level(os.open(at(place), flags), state))
    finally:
        os.close(place)


def at(place: int) -> Path:
    """Return a path to what a descriptor stands for, be it a symlink."""
    return Path(f"/proc/self/fd/{place}")
