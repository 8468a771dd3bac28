"""Files and folders that a container can write to, reached by descriptor. Blocking: call it in a thread.

A path below such a folder proves nothing: between two calls a container can put a link in place of any part of it, and
the node would read, write or remove as root whatever the link leads to (CVE-2017-1002101, CVE-2017-1002102,
CVE-2021-25741). So a folder is opened once, each step below it is one name relative to an open descriptor, and no link
is followed. Only regular files are read or written, since a FIFO blocks and a device acts. What is read is bounded.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePosixPath

from kubelite.limits import PATH_STEPS

NAMES_AT_ONCE = 1000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafePath(ValueError):
    """A relative path that may lead out of its folder; `str()` says which."""


def is_name(text: str) -> bool:
    """Return whether a text is one step of a path, and neither the folder itself nor its parent."""
    return text not in {"", ".", ".."} and "/" not in text and "\0" not in text


def names_of(relative: str) -> tuple[str, ...]:
    """Split a relative path into the names of its steps; raises UnsafePath."""
    names = PurePosixPath(relative).parts
    if not names or not all(is_name(name) for name in names):
        raise UnsafePath(f"path {relative!r} leaves the volume")
    if len(names) > PATH_STEPS.value:
        PATH_STEPS.reached()
        raise UnsafePath(f"path {relative!r} has more than {PATH_STEPS.value} steps")
    return names


# Folders


def open_folder(path: Path | str, at: int | None = None) -> int:
    """Return a descriptor of a folder that is no link; `at` is the folder a name belongs to. Raises OSError."""
    return os.open(path, _FOLDER, dir_fd=at)


@contextmanager
def opened_folder(path: Path | str, at: int | None = None) -> Iterator[int]:
    """Open a folder that is no link for as long as the context lasts; raises OSError."""
    folder = open_folder(path, at)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def opened_below(names: Sequence[str], at: int, make_mode: int | None = None) -> Iterator[int]:
    """Open the folder that is `names` below another one; with `make_mode` those that are missing are made."""
    folder = os.dup(at)
    try:
        for name in names:
            if make_mode is not None:
                with suppress(FileExistsError):
                    os.mkdir(name, make_mode, dir_fd=folder)
            following = open_folder(name, folder)
            os.close(folder)
            folder = following
        yield folder
    finally:
        os.close(folder)


def open_place(name: str, at: int) -> int:
    """Return a descriptor (O_PATH) of whatever has a name: a link itself, not its target. Raises OSError."""
    return os.open(name, _PLACE, dir_fd=at)


@contextmanager
def opened_place(names: Sequence[str], at: int) -> Iterator[int]:
    """Open the place at `names` below a folder as O_PATH, whatever its type. Raises OSError."""
    with opened_below(names[:-1], at) as folder:
        place = open_place(names[-1], folder)
    try:
        yield place
    finally:
        os.close(place)


def names_in(folder: int) -> Iterator[str]:
    """Yield the names in a folder, as many as there are: stop when there are too many."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


# Files


def open_file(name: str, at: int, flags: int) -> int:
    """Return a descriptor of a regular file that exists. Raises OSError.

    A FIFO or device is refused before it is opened, which could block or act.
    """
    with opened_place((name,), at) as place:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        # The link in /proc stands for the file that was checked, whatever has its name by now.
        return os.open(f"/proc/self/fd/{place}", flags | os.O_CLOEXEC | os.O_NONBLOCK)


@contextmanager
def _opened_file(name: str, at: int, flags: int) -> Iterator[int]:
    """Open a regular file that exists for as long as the context lasts."""
    file = open_file(name, at, flags)
    try:
        yield file
    finally:
        os.close(file)


def read_file(name: str, at: int, limit_bytes: int) -> bytes:
    """Return the first bytes of a regular file, `limit_bytes` at most; raises OSError."""
    with _opened_file(name, at, os.O_RDONLY) as file:
        return read_up_to(file, limit_bytes)


def read_up_to(file: int, limit_bytes: int) -> bytes:
    """Return the first bytes of an open file, `limit_bytes` at most. Raises OSError."""
    data = b""
    while len(data) < limit_bytes and (piece := os.read(file, limit_bytes - len(data))):
        data += piece
    return data


def holds(name: str, at: int, data: bytes, mode: int) -> bool:
    """Return whether a name is a regular file with just this content and mode."""
    try:
        with _opened_file(name, at, os.O_RDONLY) as file:
            state = os.fstat(file)
            is_alike = state.st_size == len(data) and stat.S_IMODE(state.st_mode) == mode
            return is_alike and read_up_to(file, len(data) + 1) == data
    except OSError:
        return False


def create_file(name: str, at: int, data: bytes, mode: int, group: int | None = None) -> None:
    """Make a file that does not exist yet; raises OSError."""
    # A Secret must not be readable by others even for the moment before it has its mode.
    file = os.open(name, _CREATE, 0o600, dir_fd=at)
    try:
        _write(file, data)
        if group is not None:
            os.fchown(file, -1, group)
        os.fchmod(file, mode)
    finally:
        os.close(file)


def overwrite_file(name: str, at: int, data: bytes, mode: int) -> None:
    """Make a file hold `data`, in place since containers have the file itself mounted; raises OSError."""
    try:
        create_file(name, at, data, mode)
    except FileExistsError:
        if holds(name, at, data, mode):
            return
        with _opened_file(name, at, os.O_WRONLY | os.O_TRUNC) as file:
            _write(file, data)
            os.fchmod(file, mode)


def _write(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


# Removal


def remove(name: str, at: int) -> None:
    """Remove a file, a link or a folder with its content; harmless if there is none. Raises OSError.

    The content of a mount is never removed: the mount is an error (EBUSY). Trees of any depth and width need one open
    folder and no recursion, since a container chooses both.
    """
    try:
        state = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(state.st_mode):
        os.unlink(name, dir_fd=at)
        return
    with opened_folder(name, at) as folder:
        if mount_of(folder) != mount_of(at):
            raise _busy(name)
        empty(folder)
    os.rmdir(name, dir_fd=at)


def remove_path(path: Path) -> None:
    """Remove a path as `remove` does; no container may be able to write to its parent folder. Raises OSError."""
    with opened_folder(path.parent.resolve()) as parent:
        remove(path.name, parent)


class _Level:
    """A folder on the way down: its name in its parent, its identity, and the names in it still to visit."""

    __slots__ = ("identity", "name", "names")

    def __init__(self, name: str, folder: int) -> None:
        self.name = name
        self.identity = _identity(folder)
        self.names: list[str] = []


def empty(top: int) -> None:
    """Remove the content of a folder; a mount below is an error (EBUSY). Raises OSError.

    Depth first, with one folder open at a time: the way up is `..`, proved by its inode number.
    """
    mount = mount_of(top)
    folder = os.dup(top)
    levels = [_Level("", folder)]
    try:
        while True:
            name = _next_full_folder(folder, levels[-1])
            if name is None:
                done = levels.pop()
                if not levels:
                    return
                folder = _step(folder, "..")
                if _identity(folder) != levels[-1].identity:
                    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), done.name)
                os.rmdir(done.name, dir_fd=folder)
            else:
                folder = _step(folder, name)
                if mount_of(folder) != mount:
                    raise _busy(name)
                levels.append(_Level(name, folder))
    finally:
        os.close(folder)


def _next_full_folder(folder: int, level: _Level) -> str | None:
    """Remove files and empty folders until one is met that is not empty; None when nothing is left."""
    while True:
        if not level.names:
            level.names = list(islice(names_in(folder), NAMES_AT_ONCE))
        if not level.names:
            return None
        name = level.names.pop()
        if not _removed(folder, name):
            return name


def _removed(folder: int, name: str) -> bool:
    """Remove a file or an empty folder; False for a folder that is not empty."""
    try:
        os.unlink(name, dir_fd=folder)
    except IsADirectoryError:
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                return False
            raise
    return True


def _step(folder: int, name: str) -> int:
    """Open a folder in place of the one it belongs to."""
    following = open_folder(name, folder)
    os.close(folder)
    return following


def _identity(folder: int) -> tuple[int, int]:
    state = os.fstat(folder)
    return state.st_dev, state.st_ino


def mount_of(folder: int) -> str:
    """Return the id of the mount a descriptor belongs to; two mounts of one file system have the same device."""
    lines = Path(f"/proc/self/fdinfo/{folder}").read_text().splitlines()
    return next(line for line in lines if line.startswith("mnt_id:"))


def _busy(name: str) -> OSError:
    return OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
