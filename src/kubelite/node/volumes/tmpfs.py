"""Mounts and unmounts by system call. Blocking: call it in a thread."""

import ctypes
import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kubelite.node.untrusted_files import opened_folder, opened_place

_UNMOUNT_DETACH, _UNMOUNT_NOFOLLOW = 2, 8
_BIND, _SLAVE, _SHARED, _REMOUNT = 0x1000, 0x80000, 0x100000, 0x20
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_PROGRAMS = 1, 2, 4, 8
_ESCAPED = re.compile(
    r"\\([0-7]{3})"
)  # octal escape of a space, tab, newline or backslash in /proc/self/mounts
_libc = ctypes.CDLL(None, use_errno=True)


def mount_tmpfs(folder: Path, size_bytes: int = 0, mode: int = 0o777) -> None:
    """Mount a tmpfs on a folder; size 0 means the kernel's default. Raises OSError."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount(b"tmpfs", folder, b"tmpfs", 0, options.encode())


def mount_huge_pages(folder: Path, page_bytes: int) -> None:
    """Mount huge pages of a size on a folder. Raises OSError; EINVAL if the kernel has no pages of that size."""
    _mount(b"hugetlbfs", folder, b"hugetlbfs", _NO_DEVICES, f"pagesize={page_bytes}".encode())


def bind_mount(source: Path, target: Path) -> None:
    """Bind-mount `source` at `target`, replacing an older mount. Raises OSError.

    The mount is a slave, so mounts and unmounts below it never propagate to the host.
    """
    with suppress(OSError):  # usually nothing is mounted there
        unmount(target)
    _mount(os.fsencode(source), target, None, _BIND, None)
    _mount(None, target, None, _SLAVE, None)


def bind_open(source: int, target: int) -> None:
    """Bind-mount the file of a descriptor on the one of another, whatever has their names by now. Raises OSError."""
    _mount(f"/proc/self/fd/{source}".encode(), _by_descriptor(target), None, _BIND, None)


def share(folder: Path) -> None:
    """Make a folder a mount of its own whose mounts propagate to and from other mount namespaces. Raises OSError."""
    _mount(os.fsencode(folder), folder, None, _BIND, None)
    try:
        _mount(None, folder, None, _SHARED, None)
    except OSError:
        unmount(folder)
        raise


def mount_overlay(target: Path, layers: Sequence[str]) -> None:
    """Lay folders over each other at `target`, the first on top, read-only and without programs. Raises OSError."""
    flags = _READ_ONLY | _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS
    options = os.fsencode("lowerdir=" + ":".join(layers))
    if len(options) >= os.sysconf("SC_PAGE_SIZE"):
        raise OSError(errno.E2BIG, "the image has too many layers", str(target))
    _mount(b"overlay", target, b"overlay", flags, options)


def bar_programs(target: Path) -> None:
    """Make what is mounted at `target` read-only, without programs, devices and setuid. Raises OSError."""
    flags = _READ_ONLY | _NO_SETUID | _NO_DEVICES | _NO_PROGRAMS
    _mount(None, target, None, _REMOUNT | _BIND | flags, None)


def _mount(
    source: bytes | None, target: Path, kind: bytes | None, flags: int, options: bytes | None
) -> None:
    if _libc.mount(source, os.fsencode(target), kind, flags, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def unmount(folder: Path) -> None:
    """Unmount lazily, even while it is in use. No container may be able to redirect the path. Raises OSError."""
    _unmount(folder, _UNMOUNT_DETACH | _UNMOUNT_NOFOLLOW)


def unmount_open(place: int) -> None:
    """Unmount lazily what a descriptor shows. Raises OSError."""
    _unmount(_by_descriptor(place), _UNMOUNT_DETACH)


def _by_descriptor(place: int) -> Path:
    return Path(f"/proc/self/fd/{place}")


def _unmount(folder: Path, flags: int) -> None:
    if _libc.umount2(os.fsencode(folder), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))


def unmount_below(folder: Path) -> None:
    """Unmount all mounts below a folder. Raises OSError if one stays.

    A container can replace folders of a volume by symlinks, so the path of a mount may lead to another mount of the
    host. Therefore each is reached by descriptor from `folder`.
    """
    if not folder.is_dir():
        return
    with opened_folder(folder.resolve()) as top:
        while points := mounts_below(folder):
            failures = [f for point in points if (f := _unmount_at(top, folder, point))]
            if len(failures) == len(points):
                raise failures[0]


def _unmount_at(top: int, folder: Path, point: Path) -> OSError | None:
    """Unmount one mount point; return the error, such as when it vanished with an outer mount."""
    try:
        with opened_place(point.relative_to(folder.resolve()).parts, top) as place:
            unmount_open(place)
    except OSError as error:
        return error
    return None


def mounts_below(folder: Path) -> list[Path]:
    """Return the mount points below a folder, deepest first; the paths are resolved, as the kernel lists them."""
    prefix = f"{folder.resolve()}/"
    with Path("/proc/self/mounts").open(encoding="utf-8", errors="surrogateescape") as lines:
        places = [_ESCAPED.sub(_unescaped, line.split(" ")[1]) for line in lines]
    return [Path(p) for p in sorted((p for p in places if p.startswith(prefix)), reverse=True)]


def _unescaped(matched: re.Match[str]) -> str:
    return chr(int(matched.group(1), 8))
