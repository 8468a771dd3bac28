"""Names, compresses and removes the files of one container's log. Blocking: call it in a thread.

All names are relative to the open folder and no link is followed, since a pod may have the host's logs mounted.
"""

import os
import stat
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice

from msgspec import Struct

from kubelite.limits import LOG_FILES
from kubelite.node.cri.log_folder import (
    COMPRESSED,
    READ_BYTES,
    TEMPORARY,
    LogPath,
    opened_log_folder,
    plain_name,
    rotated,
)
from kubelite.node.log_policy import LogPolicy
from kubelite.node.untrusted_files import names_in, open_file

DATE_FORMAT = "%Y%m%d-%H%M%S"
FAST = (
    1  # level of compression: logs shrink to a tenth with it, at thrice the speed of the usual one
)


class Cleanup(Struct, frozen=True):
    """The files to remove before a log is renamed."""

    remove: tuple[str, ...]
    kept: tuple[str, ...]  # the oldest first


def plan_cleanup(name: str, sizes: Mapping[str, int], policy: LogPolicy) -> Cleanup:
    """Decide which files go, so that with the one that is renamed and the next there are as many as may be.

    What a rotation that was cut short has left goes too. A file may have grown far beyond its size before it was
    renamed, so all together may not be larger than so many full ones either.
    """
    ours = [one for one in sizes if one.startswith(f"{name}.")]
    dated = rotated(name, ours)
    remove = {one for one in ours if one.endswith(TEMPORARY)}
    remove |= {one for one in ours if f"{one}{COMPRESSED}" in sizes}
    left_bytes = policy.max_bytes * (policy.max_files - 1) - sizes.get(name, 0)
    kept: list[str] = []
    for one in reversed(dated):
        left_bytes -= sizes[one]
        if left_bytes < 0 or len(kept) >= policy.max_files - 2:
            break
        kept.append(one)
    remove |= set(dated) - set(kept)
    return Cleanup(tuple(sorted(remove)), tuple(reversed(kept)))


def next_date(name: str, names: Mapping[str, int], now: datetime) -> str:
    """Return the date for a file that is renamed now; later than those there are, also when the clock went back."""
    date = now.astimezone(UTC).strftime(DATE_FORMAT)
    dated = rotated(name, list(names))
    if not dated:
        return date
    newest = plain_name(dated[-1]).removeprefix(f"{name}.")
    if date > newest:
        return date
    try:
        later = datetime.strptime(newest, DATE_FORMAT).replace(tzinfo=UTC) + timedelta(seconds=1)
    except (ValueError, OverflowError):  # digits that are no date
        return date
    return later.strftime(DATE_FORMAT)


def size_of(path: LogPath) -> int | None:
    """Return the size of the file that the engine writes; None if there is none. Raises OSError."""
    with opened_log_folder(path) as folder, suppress(FileNotFoundError):
        return os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_size
    return None


def rename(path: LogPath, policy: LogPolicy, now: datetime) -> str:
    """Make room and rename the file that the engine writes; return its new name. Raises OSError."""
    with opened_log_folder(path) as folder:
        sizes = _sizes(folder)
        for name in plan_cleanup(path.name, sizes, policy).remove:
            with suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(name, dir_fd=folder)
        renamed = f"{path.name}.{next_date(path.name, sizes, now)}"
        os.rename(path.name, renamed, src_dir_fd=folder, dst_dir_fd=folder)
        return renamed


def restore(path: LogPath, renamed: str) -> None:
    """Give a file its name back, unless there is a new one of that name. Raises OSError."""
    with opened_log_folder(path) as folder, suppress(FileExistsError, FileNotFoundError):
        os.link(renamed, path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        os.unlink(renamed, dir_fd=folder)


def compress(path: LogPath, newest: str) -> None:
    """Compress the rotated files except the newest, which readers may not be done with. Raises OSError."""
    with opened_log_folder(path) as folder:
        for name in rotated(path.name, list(_sizes(folder))):
            if name != newest and not name.endswith(COMPRESSED):
                _compress(name, folder)


def _sizes(folder: int) -> dict[str, int]:
    """Return the sizes of the files in a folder; of other things 0."""
    sizes = {}
    for name in islice(names_in(folder), LOG_FILES.value):
        with suppress(FileNotFoundError):
            state = os.stat(name, dir_fd=folder, follow_symlinks=False)
            sizes[name] = state.st_size if stat.S_ISREG(state.st_mode) else 0
    return sizes


def _compress(name: str, folder: int) -> None:
    temporary = name + TEMPORARY
    source = open_file(name, folder, os.O_RDONLY)
    try:
        state = os.fstat(source)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(temporary, flags, stat.S_IMODE(state.st_mode) & 0o640, dir_fd=folder)
        try:
            _copy(source, target)
            # When it was last written says to readers which lines it cannot have.
            os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
        except BaseException:
            os.unlink(temporary, dir_fd=folder)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)
    os.rename(temporary, name + COMPRESSED, src_dir_fd=folder, dst_dir_fd=folder)
    os.unlink(name, dir_fd=folder)


def _copy(source: int, target: int) -> None:
    packing = zlib.compressobj(FAST, wbits=31)
    while data := os.read(source, READ_BYTES):
        _write(target, packing.compress(data))
    _write(target, packing.flush())


def _write(target: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]
