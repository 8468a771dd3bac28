"""Limits what a folder may hold by a project quota of its file system: ext4 and xfs mounted with prjquota.

Each folder is a project of its own, whose number its files inherit. The limit keeps a volume from filling the disk of
all others. It does not hold against a container that may change the project of its own files, as root in the host's
user namespace may. Needs Linux 5.14. Blocking: call it in a thread.
"""

import ctypes
import errno
import fcntl
import os
import stat
import zlib
from contextlib import suppress

from kubelite.node.volumes.walk import at, walk

KIB = 1024
PROJECT_FIRST, PROJECTS = 1 << 30, 1 << 30  # numbers that administrators do not use
PROJECT_TRIES = 1000
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820  # FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR
_INHERIT = 0x200  # FS_XFLAG_PROJINHERIT
_QUOTACTL_FD = 443
_PROJECT_QUOTA = 2
_GET, _SET = 0x800007, 0x800008
_BLOCK_LIMITS = 1
# How kernels and file systems say that they have no project quota, or that this process may not set one.
_LACKING = frozenset(
    {
        errno.ENOSYS,
        errno.ESRCH,
        errno.EOPNOTSUPP,
        errno.ENOTTY,
        errno.EINVAL,
        errno.EPERM,
        errno.ENOTBLK,
        errno.ENODEV,
    }
)
_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """`struct fsxattr` of linux/fs.h."""

    _fields_ = (
        ("flags", ctypes.c_uint32),
        ("extent_size", ctypes.c_uint32),
        ("extents", ctypes.c_uint32),
        ("project", ctypes.c_uint32),
        ("shared_extent_size", ctypes.c_uint32),
        ("padding", ctypes.c_char * 8),
    )


class _Quota(ctypes.Structure):
    """`struct if_dqblk` of linux/quota.h; limits are in KiB."""

    _fields_ = (
        ("hard_kib", ctypes.c_uint64),
        ("soft_kib", ctypes.c_uint64),
        ("used_bytes", ctypes.c_uint64),
        ("hard_inodes", ctypes.c_uint64),
        ("soft_inodes", ctypes.c_uint64),
        ("used_inodes", ctypes.c_uint64),
        ("block_time", ctypes.c_uint64),
        ("inode_time", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
    )


def limit(folder: int, name: str, limit_bytes: int) -> bool:
    """Let an open folder hold `limit_bytes` at most; return False if its file system enforces no project quota.

    `name` is the folder's; the search for a free project begins at a number made of it. Content that the folder has
    already is counted too. Raises OSError.
    """
    try:
        project = project_of(folder) or _join(folder, name)
        _set_limit(folder, project, limit_bytes)
    except OSError as error:
        if error.errno in _LACKING:
            return False
        raise
    # A file system that only counts shows all of its size; one that enforces shows the limit as the size.
    shown = os.fstatvfs(folder)
    return shown.f_blocks * shown.f_frsize <= max(limit_bytes, shown.f_frsize)


def release(top: int, project: int) -> None:
    """Remove the limit of a project whose folder is gone; `top` is any open folder of the file system."""
    with suppress(OSError):  # at worst a number is never used again
        _set_limit(top, project, 0)


def project_of(folder: int) -> int:
    """Return the number of a folder's own project; 0 if it has none, or the file system has no projects."""
    try:
        found = _attributes(folder)
    except OSError:
        return 0
    return int(found.project) if found.project >= PROJECT_FIRST else 0


def _join(folder: int, name: str) -> int:
    """Make a folder with all its content a project; return its number. Raises OSError."""
    project = _free_project(folder, name)

    def visit(place: int, state: os.stat_result) -> None:
        if stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode):
            opened = os.open(at(place), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                _set_project(opened, project)
            finally:
                os.close(opened)

    # The folder's own number is set when its content has been walked, since it says that all is done. What a running
    # container made in the folder meanwhile did not inherit the number, so a second walk catches it.
    attributes = _attributes(folder)
    walk(folder, visit)
    _set_project(folder, project, attributes)
    walk(folder, visit)
    return project


def _free_project(folder: int, name: str) -> int:
    start = zlib.crc32(os.fsencode(name))
    for attempt in range(PROJECT_TRIES):
        project = PROJECT_FIRST + (start + attempt) % PROJECTS
        quota = _Quota()
        try:
            _quotactl(folder, _GET, project, quota)
        except OSError as error:
            if error.errno == errno.ENOENT:  # as xfs says of a project without any file
                return project
            raise
        if not quota.used_inodes and not quota.hard_kib:
            return project
    raise OSError(errno.EUSERS, "no project number is free")


def _set_limit(folder: int, project: int, limit_bytes: int) -> None:
    kib = -(-limit_bytes // KIB)
    _quotactl(folder, _SET, project, _Quota(hard_kib=kib, soft_kib=kib, valid=_BLOCK_LIMITS))


def _quotactl(folder: int, command: int, project: int, quota: _Quota) -> None:
    code = (command << 8) | _PROJECT_QUOTA
    if _libc.syscall(_QUOTACTL_FD, folder, code, project, ctypes.byref(quota)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _attributes(opened: int) -> _Attributes:
    found = _Attributes()
    fcntl.ioctl(opened, _GET_ATTRIBUTES, found)
    return found


def _set_project(opened: int, project: int, attributes: _Attributes | None = None) -> None:
    attributes = _attributes(opened) if attributes is None else attributes
    if attributes.project == project:
        return
    attributes.project = project
    if stat.S_ISDIR(os.fstat(opened).st_mode):
        attributes.flags |= _INHERIT
    fcntl.ioctl(opened, _SET_ATTRIBUTES, attributes)
