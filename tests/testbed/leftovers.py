"""Folders of beds, and the removal of what dead runs have left.

A bed holds a lock on a file in its folder for as long as its process lives, so a folder whose lock is free is a dead
run's. Its processes, mounts and links have ended with it; folders and control groups are what can be left.
"""

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from testbed import control_groups
from testbed.control_groups import PREFIX

LOCK = "lock"


@contextlib.contextmanager
def bed_folder() -> Iterator[Path]:
    """Give a folder for a bed, locked, and remove it at the end with the bed's control groups."""
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            _remove(folder)


def remove_leftovers(place: Path | None = None) -> list[str]:
    """Remove what dead runs have left; return the names of their beds."""
    place = place or Path(tempfile.gettempdir())
    removed = []
    for folder in place.glob(f"{PREFIX}*"):
        with _opened(folder) as lock:
            if lock is not None and _is_free(lock):
                _remove(folder)
                removed.append(folder.name)
    return removed


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[IO[str] | None]:
    """Open a bed's lock; None for a folder that is being made or removed now."""
    try:
        lock = (folder / LOCK).open("r+")
    except FileNotFoundError:
        yield None
        return
    with lock:
        yield lock


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(folder: Path) -> None:
    # Groups before the folder: a folder is what tells the next run of the groups, if this one is interrupted.
    control_groups.remove(folder.name)
    for each in folder.iterdir():
        if (
            each.name != LOCK
        ):  # the last to go, or the rest would be nobody's if this were interrupted
            shutil.rmtree(each, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
