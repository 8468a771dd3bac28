"""Copies a tree of mounts so that all of it is read-only: recursive read-only mounts, whatever the engine can.

An engine's read-only flag covers the outermost mount only, and older engines know nothing else. The copy has the flag
on each mount of the tree before it gets a path, so nobody ever reaches a writable one, and an engine that binds it
recursively keeps the flags. Needs Linux 5.12. Blocking: call it in a thread.
"""

import ctypes
import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from kubelite.node.volumes.tmpfs import unmount

FOLDER_MODE = 0o750
# Numbers of system calls since Linux 5.1 are the same on all architectures.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_CLONE, _CLOSE_ON_EXEC, _EMPTY_PATH, _RECURSIVE = 1, os.O_CLOEXEC, 0x1000, 0x8000
_MOVE_FROM_EMPTY_PATH = 4
_READ_ONLY, _PRIVATE = 1, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """`struct mount_attr` of linux/mount.h."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def is_supported() -> bool:
    """Return whether the kernel sets attributes of whole trees, and lets this process do so."""
    # No attributes at all are an invalid argument where the call exists (EINVAL); else ENOSYS, or EPERM of a filter.
    _libc.syscall(_MOUNT_SETATTR, -1, b"", _EMPTY_PATH, None, 0)
    return ctypes.get_errno() == errno.EINVAL


def pin_read_only(source: Path, target: Path) -> None:
    """Mount a read-only copy of `source`, with all mounts below it, at `target`, replacing an older one.

    The copy is private: mounts made below `source` later do not appear in it. Raises OSError.
    """
    with suppress(OSError):  # usually nothing is mounted there
        unmount(target)
    if stat.S_ISDIR(source.stat().st_mode):
        target.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    else:
        target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        target.touch()
    flags = _CLONE | _CLOSE_ON_EXEC | _RECURSIVE
    tree = _call(_OPEN_TREE, -100, os.fsencode(source), flags)
    try:
        wanted = _Attributes(set=_READ_ONLY, propagation=_PRIVATE)
        flags, size = _EMPTY_PATH | _RECURSIVE, ctypes.sizeof(wanted)
        _call(_MOUNT_SETATTR, tree, b"", flags, ctypes.byref(wanted), size)
        _call(_MOVE_MOUNT, tree, b"", -100, os.fsencode(target), _MOVE_FROM_EMPTY_PATH)
    finally:
        os.close(tree)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
