"""Gives the files of a volume to a pod's fsGroup. Blocking, and as long as the volume has files: call it in a thread.

A container of another pod may share the volume and turn names meanwhile, so the walk goes by descriptors, follows no
symlink and never leaves the volume's file system. Modes are upstream's (pkg/volume/volume_linux.go).
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from kubelite.limits import CSI_GROUP_DEPTH
from kubelite.node.untrusted_files import open_folder

READ_WRITE, SEARCH = 0o660, 0o110
ROOT_MISMATCH = "OnRootMismatch"


def is_needed(root: os.stat_result, group: int, policy: str) -> bool:
    """Return whether the files change owner: always, or with OnRootMismatch if the root is not the group's already."""
    if policy != ROOT_MISMATCH or root.st_gid != group or not stat.S_ISDIR(root.st_mode):
        return True
    wanted = READ_WRITE | SEARCH | stat.S_ISGID
    return root.st_mode & wanted != wanted


def give(path: Path, group: int, policy: str = "Always") -> int:
    """Give a volume's files to a group, the root last; return how many files changed. Raises OSError.

    The root is last, so that after an interruption OnRootMismatch does not take the volume for done.
    """
    top = open_folder(path)
    try:
        root = os.fstat(top)
        if not is_needed(root, group, policy):
            return 0
        count = _give_below(top, root.st_dev, group)
        _give(top, group, root.st_mode)
        return count + 1
    finally:
        os.close(top)


class _Level:
    """A folder on the way down, open, with its entries still to visit."""

    def __init__(self, folder: int) -> None:
        self.folder = folder
        self.entries = os.scandir(folder)
        self.state = os.fstat(folder)

    def close(self) -> None:
        """Close both descriptors."""
        self.entries.close()
        os.close(self.folder)


def _give_below(top: int, device: int, group: int) -> int:
    """Give all below a folder to a group. Folders are open on the way down only, CSI_GROUP_DEPTH at most."""
    count = 0
    levels = [_Level(os.dup(top))]
    try:
        while levels:
            level = levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop()
                if levels:  # the root is the caller's
                    _give(level.folder, group, level.state.st_mode)
                    count += 1
                level.close()
                continue
            with suppress(FileNotFoundError):  # removed meanwhile
                count += _enter(level, entry.name, device, group, levels)
    finally:
        for level in levels:
            level.close()
    return count


def _enter(level: _Level, name: str, device: int, group: int, levels: list[_Level]) -> int:
    """Give one entry to the group, or open it if it is a folder; return how many files changed."""
    place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=level.folder)
    try:
        state = os.fstat(place)
        if state.st_dev != device:
            return 0
        if stat.S_ISDIR(state.st_mode):
            if len(levels) >= CSI_GROUP_DEPTH.value:
                CSI_GROUP_DEPTH.reached()
                raise OSError(errno.ENAMETOOLONG, "the volume's folders are nested too deeply")
            below = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            levels.append(_Level(below))
            return 0
        opened = Path(f"/proc/self/fd/{place}")  # a link itself, not its target
        os.chown(opened, -1, group)
        if not stat.S_ISLNK(state.st_mode):
            opened.chmod(stat.S_IMODE(state.st_mode) | READ_WRITE)
        return 1
    finally:
        os.close(place)


def _give(folder: int, group: int, mode: int) -> None:
    os.fchown(folder, -1, group)
    os.fchmod(folder, stat.S_IMODE(mode) | READ_WRITE | SEARCH | stat.S_ISGID)
