"""Counts what the files of a folder take on disk. Blocking: call it in a thread.

A container writes what is counted, so folders are reached by descriptor, no link is followed and no mount entered. Only
one folder is open at a time, whatever the depth, and a walk ends at `limits.COUNTED_FILES`.
"""

import os
import stat
from pathlib import Path

from kubelite.limits import COUNTED_FILES
from kubelite.node.eviction.observations import NO_FILES, DiskUse
from kubelite.node.untrusted_files import open_folder, opened_folder

BLOCK_BYTES = 512  # the unit of st_blocks, whatever the filesystem's


class _Count:
    """The sums of one walk."""

    def __init__(self, device: int) -> None:
        self.device = device
        self.bytes = 0
        self.inodes = 0
        self.linked: set[int] = set()  # inodes with several names, each of which counts once
        self.left = COUNTED_FILES.value

    def add(self, state: os.stat_result) -> None:
        self.left -= 1
        if not stat.S_ISDIR(state.st_mode) and state.st_nlink > 1:
            if state.st_ino in self.linked:
                return
            self.linked.add(state.st_ino)
        self.bytes += state.st_blocks * BLOCK_BYTES
        self.inodes += 1


def disk_use(folder: Path) -> DiskUse | None:
    """Return what a folder takes, itself included; None if it is not there.

    Beyond `limits.COUNTED_FILES` what was counted until then is returned: no less than that is used.
    """
    try:
        with opened_folder(folder) as top:
            state = os.fstat(top)
            count = _Count(state.st_dev)
            count.add(state)
            _walk(top, count)
    except OSError:
        return None
    if count.left <= 0:
        COUNTED_FILES.reached()
    return DiskUse(count.bytes, count.inodes)


def file_use(path: Path) -> DiskUse:
    """Return what one file takes; nothing if it is not there."""
    try:
        state = path.lstat()
    except OSError:
        return NO_FILES
    return DiskUse(state.st_blocks * BLOCK_BYTES, 1)


class _Level:
    """A folder on the way down: its identity, and the folders in it still to visit."""

    __slots__ = ("folders", "identity")

    def __init__(self, folder: int, folders: list[str]) -> None:
        state = os.fstat(folder)
        self.identity = (state.st_dev, state.st_ino)
        self.folders = folders


def _walk(top: int, count: _Count) -> None:
    """Count depth first; the way up is `..`, proved by its inode, since a container may move folders meanwhile."""
    folder = os.dup(top)
    try:
        levels = [_Level(folder, _count_names(folder, count))]
        while levels and count.left > 0:
            if levels[-1].folders:
                following = _opened(levels[-1].folders.pop(), folder, count.device)
                if following is not None:
                    os.close(folder)
                    folder = following
                    levels.append(_Level(folder, _count_names(folder, count)))
                continue
            levels.pop()
            if not levels:
                return
            parent = open_folder("..", folder)
            os.close(folder)
            folder = parent
            state = os.fstat(folder)
            if (state.st_dev, state.st_ino) != levels[-1].identity:
                return  # it was moved while it was counted; the next walk finds it in its new place
    finally:
        os.close(folder)


def _opened(name: str, folder: int, device: int) -> int | None:
    """Open a folder on the same filesystem; None if it is gone, or something is mounted there."""
    try:
        following = open_folder(name, folder)
    except OSError:
        return None
    if os.fstat(following).st_dev != device:
        os.close(following)
        return None
    return following


def _count_names(folder: int, count: _Count) -> list[str]:
    """Count what is in a folder, and return the names of the folders in it."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                state = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # removed meanwhile
            if state.st_dev != count.device:
                continue
            count.add(state)
            if stat.S_ISDIR(state.st_mode):
                folders.append(entry.name)
            if count.left <= 0:
                break
    return folders
