"""The folder of a container's log files, opened safely. Blocking: call it in a thread.

``ATTEMPT.log`` is written by the engine; ``ATTEMPT.log.DATE`` was rotated away, ``ATTEMPT.log.DATE.gz`` compressed
since. A pod that has the host's logs mounted can put anything in their place, so no link is followed on the way down
from the host's log folder, and only regular files are opened.
"""

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from msgspec import Struct

from kubelite.limits import LOG_FILES
from kubelite.node.untrusted_files import is_name, names_in, open_file, open_folder, opened_below

LEVELS = 3  # folders below the host's log folder: pods, the pod's, the container's
COMPRESSED = ".gz"
TEMPORARY = ".tmp"
READ_BYTES = 256 * 1024
_DATE = re.compile(r"\.(\d{8}-\d{6})(\.gz)?")


class LogPath(Struct, frozen=True):
    """Where a container's log is: the host's folder for logs, the folders below it, and the file's name."""

    root: Path
    folders: tuple[str, ...]
    name: str


def log_path(path: str | Path) -> LogPath:
    """Split the path ``ROOT/pods/POD/CONTAINER/ATTEMPT.log``. Raises ValueError."""
    parts = Path(path).parts
    names = parts[-LEVELS - 1 :]
    if len(parts) <= LEVELS + 1 or not all(is_name(name) for name in names):
        raise ValueError(f"{str(path)!r} is no path of a container's log")
    return LogPath(Path(*parts[: -LEVELS - 1]), tuple(names[:-1]), names[-1])


@contextmanager
def opened_log_folder(path: LogPath) -> Iterator[int]:
    """Open a container's log folder for as long as the context lasts. Raises OSError."""
    root = open_folder(path.root.resolve())
    try:
        with opened_below(path.folders, root) as folder:
            yield folder
    finally:
        os.close(root)


class LogFile:
    """One file of a log, read from its begin; `close` it."""

    def __init__(self, name: str, at: int) -> None:
        """Open the file; raises OSError."""
        self.name = name
        self.descriptor = open_file(name, at, os.O_RDONLY)
        state = os.fstat(self.descriptor)
        self.identity = (state.st_dev, state.st_ino)
        self.modified_at = state.st_mtime
        self.size = state.st_size
        self.is_compressed = name.endswith(COMPRESSED)
        self.offset = 0  # of the next byte, on disk
        self._unpacking = zlib.decompressobj(wbits=31)

    def read(self, limit_bytes: int = READ_BYTES) -> bytes:
        """Return the next bytes, decompressed; empty at the end. Raises OSError."""
        if not self.is_compressed:
            data = os.pread(self.descriptor, limit_bytes, self.offset)
            self.offset += len(data)
            return data
        while True:
            packed = self._unpacking.unconsumed_tail
            if not packed:
                packed = os.pread(self.descriptor, limit_bytes, self.offset)
                self.offset += len(packed)
            if not packed:
                return b""
            try:
                data = self._unpacking.decompress(packed, limit_bytes)
            except zlib.error as error:
                raise OSError(0, f"not compressed as it should be: {error}", self.name) from error
            if data or self._unpacking.eof:
                return data

    def restart(self) -> None:
        """Read from the begin again."""
        self.offset = 0
        self._unpacking = zlib.decompressobj(wbits=31)

    def is_truncated(self) -> bool:
        """Whether the file has become shorter than what was read of it."""
        return not self.is_compressed and os.fstat(self.descriptor).st_size < self.offset

    def close(self) -> None:
        """Close the file; again is harmless."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def rotated(name: str, names: Sequence[str]) -> list[str]:
    """Return the files that were rotated away from `name`, the oldest first; of one in two forms the compressed."""
    dated: dict[str, str] = {}
    for other in sorted(names):
        found = _DATE.fullmatch(other[len(name) :]) if other.startswith(name) else None
        if found is not None:
            dated[found[1]] = other  # sorted, so the compressed one comes last
    return [dated[date] for date in sorted(dated)]


def rotated_in(name: str, folder: int) -> list[str]:
    """Return the rotated files of a log in its open folder, the oldest first. Raises OSError."""
    names = list(islice(names_in(folder), LOG_FILES.value))
    if len(names) == LOG_FILES.value:
        LOG_FILES.reached()
    return rotated(name, names)


def plain_name(name: str) -> str:
    """Return the name that a rotated file has or had before it was compressed; these sort by age."""
    return name.removesuffix(COMPRESSED)


def following(path: LogPath, folder: int, after: str) -> LogFile | None:
    """Open the oldest file that is younger than `after` ("": the oldest of all), else the one that is written.

    None if there is none. Raises OSError.
    """
    oldest = _oldest_rotated(path, folder, after)
    if oldest is not None:
        return oldest
    newest: LogFile | None = None
    with suppress(FileNotFoundError):
        newest = LogFile(path.name, folder)
    # A rotation between the look at the folder and the open would hide the file that it renamed.
    oldest = _oldest_rotated(path, folder, after)
    if oldest is None:
        return newest
    if newest is not None:
        newest.close()
    return oldest


def _oldest_rotated(path: LogPath, folder: int, after: str) -> LogFile | None:
    for name in rotated_in(path.name, folder):
        if plain_name(name) > after:
            with suppress(FileNotFoundError):  # compressed or removed since
                return LogFile(name, folder)
            with suppress(FileNotFoundError):
                return LogFile(plain_name(name) + COMPRESSED, folder)
    return None


def current_identity(path: LogPath, folder: int) -> tuple[int, int] | None:
    """Return the identity of the file that the engine writes; None while there is none. Raises OSError."""
    try:
        state = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino


def rotated_name(file: LogFile, path: LogPath, folder: int) -> str:
    """Return the name to which a file was rotated away; "" if it has none any more. Raises OSError."""
    for name in reversed(rotated_in(path.name, folder)):
        with suppress(FileNotFoundError):
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if (state.st_dev, state.st_ino) == file.identity:
                return name
    return ""
