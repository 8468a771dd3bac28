"""Gives the files of a volume to a pod's fsGroup. Blocking, and as long as the volume has files: call it in a thread.

Modes and order are upstream's (pkg/volume/volume_linux.go).
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from kubelite.node.untrusted_files import open_folder
from kubelite.node.volumes.walk import at, walk

READ_WRITE, SEARCH = 0o660, 0o110
ROOT_MISMATCH = "OnRootMismatch"


def is_needed(root: os.stat_result, group: int, policy: str) -> bool:
    """Return whether the files change owner: always, or with OnRootMismatch if the root is not the group's already."""
    if policy != ROOT_MISMATCH or root.st_gid != group or not stat.S_ISDIR(root.st_mode):
        return True
    wanted = READ_WRITE | SEARCH | stat.S_ISGID
    return root.st_mode & wanted != wanted


def give(path: Path, group: int, policy: str, changed: Callable[[], None] = lambda: None) -> None:
    """Give a volume's files to a group, the root last; `changed` is called for each. Raises OSError.

    The root is last, so that after an interruption OnRootMismatch does not take the volume for done. A volume that is
    no folder is left alone.
    """
    if not path.is_dir():
        return

    def visit(place: int, state: os.stat_result) -> None:
        _give(place, state, group)
        changed()

    top = open_folder(path.resolve())
    try:
        root = os.fstat(top)
        if is_needed(root, group, policy):
            walk(top, visit)
            visit(top, root)
    finally:
        os.close(top)


def _give(place: int, state: os.stat_result, group: int) -> None:
    os.chown(at(place), -1, group)  # a symlink itself, not its target
    if not stat.S_ISLNK(state.st_mode):
        more = READ_WRITE | (SEARCH | stat.S_ISGID if stat.S_ISDIR(state.st_mode) else 0)
        at(place).chmod(stat.S_IMODE(state.st_mode) | more)
