"""Mounts and unmounts by system call. Blocking: call it in a thread."""

import ctypes
import os
import re
from contextlib import suppress
from pathlib import Path

from kubelite.node.untrusted_files import opened_folder, opened_place

_UNMOUNT_DETACH, _UNMOUNT_NOFOLLOW = 2, 8
_BIND, _SLAVE = 0x1000, 0x80000
_ESCAPED = re.compile(r"\\([0-7]{3})")  # how the kernel writes a space, tab, newline or backslash
_libc = ctypes.CDLL(None, use_errno=True)


def mount_tmpfs(folder: Path, size_bytes: int = 0, mode: int = 0o777) -> None:
    """Put a memory file system on a folder; raises OSError."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount(b"tmpfs", folder, b"tmpfs", 0, options.encode())


def bind_mount(source: Path, target: Path) -> None:
    """Show `source` at `target` instead of what is mounted there; raises OSError.

    The mount is a slave: what is mounted or unmounted below it never reaches the host's own mounts.
    """
    with suppress(OSError):  # usually nothing is
        unmount(target)
    _mount(os.fsencode(source), target, None, _BIND, None)
    _mount(None, target, None, _SLAVE, None)


def _mount(
    source: bytes | None, target: Path, kind: bytes | None, flags: int, options: bytes | None
) -> None:
    if _libc.mount(source, os.fsencode(target), kind, flags, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def unmount(folder: Path) -> None:
    """Take a mount away even while it is used; the folder's path must be one no container can turn. Raises OSError."""
    _unmount(folder, _UNMOUNT_DETACH | _UNMOUNT_NOFOLLOW)


def _unmount(folder: Path, flags: int) -> None:
    if _libc.umount2(os.fsencode(folder), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))


def unmount_below(folder: Path) -> None:
    """Take all mounts in a folder away; raises OSError when one stays.

    A mount may lie in a volume whose folders a container can turn into links, and then its path would name another
    mount of the host: so each is reached by descriptor from `folder`.
    """
    if not folder.is_dir():
        return
    with opened_folder(folder.resolve()) as top:
        while points := mounts_below(folder):
            failures = [f for point in points if (f := _unmount_at(top, folder, point))]
            if len(failures) == len(points):
                raise failures[0]


def _unmount_at(top: int, folder: Path, point: Path) -> OSError | None:
    """Take one mount away; return why that failed, as when it went with the one it is in."""
    try:
        with opened_place(point.relative_to(folder.resolve()).parts, top) as place:
            _unmount(Path(f"/proc/self/fd/{place}"), _UNMOUNT_DETACH)
    except OSError as error:
        return error
    return None


def mounts_below(folder: Path) -> list[Path]:
    """Return the mount points in a folder, the deepest first; the kernel knows the folder without links in its path."""
    prefix = f"{folder.resolve()}/"
    with Path("/proc/self/mounts").open(encoding="utf-8", errors="surrogateescape") as lines:
        places = [_ESCAPED.sub(_unescaped, line.split(" ")[1]) for line in lines]
    return [Path(p) for p in sorted((p for p in places if p.startswith(prefix)), reverse=True)]


def _unescaped(matched: re.Match[str]) -> str:
    return chr(int(matched.group(1), 8))
