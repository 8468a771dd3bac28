"""Reads the folder of manifests. Blocking.

Links are never followed, and only regular files are read. A file that a program has open for writing is not read: what
it would hold is the half of something, and the objects of the other half would be pruned.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from msgspec import Struct

from kubelite.addons.manifests import SUFFIXES
from kubelite.folder_watch import is_being_written
from kubelite.limits import ADDON_FILE, ADDON_FILES, ADDON_FOLDER_NAMES

SKIP = ".skip"
FOLDER_MODE = 0o700
State = tuple[int, ...]


class Unreadable(Exception):
    """A file cannot be read; `str()` is the reason."""


class BeingWritten(Exception):
    """A program has the file open for writing, or wrote it while it was read."""


class Found(Struct, frozen=True):
    """What the folder holds now."""

    files: dict[str, State | str]  # by name: the state of a file, or why it cannot be used
    skipped: frozenset[str] = frozenset()  # names that have a .skip beside them, files or not
    is_complete: bool = True  # no name was left out


def make(path: Path) -> bool:
    """Make the folder if it is missing; return whether it was. Raises OSError."""
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True)
    except FileExistsError:
        return False
    return True


def scan(path: Path) -> Found:
    """Return what a folder holds; raises OSError, also if every user of the host may write to it."""
    if path.stat().st_mode & stat.S_IWOTH:
        raise PermissionError(errno.EPERM, "every user of the host may write to it", str(path))
    with os.scandir(path) as entries:
        names = [entry.name for entry in islice(entries, ADDON_FOLDER_NAMES.value + 1)]
    is_complete = len(names) <= ADDON_FOLDER_NAMES.value
    if not is_complete:
        ADDON_FOLDER_NAMES.reached()
    skipped = frozenset(name.removesuffix(SKIP) for name in names if name.endswith(SKIP))
    wanted = sorted(name for name in names if name.endswith(SUFFIXES) and name[0] != ".")
    files: dict[str, State | str] = {}
    for place, name in enumerate(wanted):
        with suppress(FileNotFoundError):
            files[name] = _state(path / name) if place < ADDON_FILES.value else _too_many()
    return Found(files, skipped, is_complete)


def _too_many() -> str:
    ADDON_FILES.reached()
    return f"the folder has more than {ADDON_FILES.value} files of manifests"


def _state(path: Path) -> State | str:
    if not path.name.isprintable():  # nor could an object tell of it
        return "its name has characters that cannot be shown"
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return "it is a link, and links are not followed"
    return _complaint(found) or _state_of(found)


def _complaint(found: os.stat_result) -> str:
    """Return why a file is not read; "" if it may be."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file"
    # Who may write it would be an administrator of the cluster.
    return "every user of the host may write it" if found.st_mode & stat.S_IWOTH else ""


def _state_of(found: os.stat_result) -> State:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(path: Path) -> tuple[State, bytes]:
    """Return the state and the content of a file.

    Raises FileNotFoundError, Unreadable and BeingWritten.
    """
    try:
        with _opened(path) as file:
            before = os.fstat(file)
            if reason := _complaint(before):
                raise Unreadable(reason)
            if is_being_written(file):
                raise BeingWritten
            data = _content(file)
            if _state_of(os.fstat(file)) != _state_of(before):
                raise BeingWritten
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "it is a link, and links are not followed" if error.errno == errno.ELOOP else ""
        raise Unreadable(reason or error.strerror or "it cannot be read") from None
    return _state_of(before), data


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _content(file: int) -> bytes:
    parts, left = [], ADDON_FILE.value + 1
    while left and (part := os.read(file, left)):
        parts.append(part)
        left -= len(part)
    if not left:
        ADDON_FILE.reached()
        raise Unreadable(f"it is larger than {ADDON_FILE.value} bytes")
    return b"".join(parts)
