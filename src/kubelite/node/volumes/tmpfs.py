"""Mounts and unmounts by system call. Blocking: call it in a thread."""

import ctypes
import os
import re
from contextlib import suppress
from pathlib import Path

_UNMOUNT_DETACH = 2
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
    """Take a mount away even while it is used; raises OSError."""
    if _libc.umount2(os.fsencode(folder), _UNMOUNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))


def mounts_below(folder: Path) -> list[Path]:
    """Return the mount points in a folder, the deepest first; the kernel knows the folder without links in its path."""
    prefix = f"{folder.resolve()}/"
    with Path("/proc/self/mounts").open(encoding="utf-8", errors="surrogateescape") as lines:
        places = [_ESCAPED.sub(_unescaped, line.split(" ")[1]) for line in lines]
    return [Path(p) for p in sorted((p for p in places if p.startswith(prefix)), reverse=True)]


def _unescaped(matched: re.Match[str]) -> str:
    return chr(int(matched.group(1), 8))
