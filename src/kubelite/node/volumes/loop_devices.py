"""Loop devices: files as block devices. Blocking: call it in a thread.

A device that was attached here carries a mark in the kernel, so that it is found again after a restart and no device of
somebody else is ever detached. Numbers and layouts: linux/loop.h.
"""

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

CONTROL, DEVICES, SYSTEM = Path("/dev/loop-control"), Path("/dev"), Path("/sys/block")
_GET_FREE, _CONFIGURE, _CLEAR, _STATUS = 0x4C82, 0x4C0A, 0x4C01, 0x4C05
# Device, inode, real device, offset, size limit; number, cipher, length of its key, flags; names; key; two words.
_INFO = struct.Struct("=5Q4I64s64s32s2Q")
_CONFIGURATION = struct.Struct(f"=2I{_INFO.size}s64s")  # file, size of blocks, info, reserved
_READ_ONLY = 1
ATTEMPTS = 8  # others attach devices too, so the one that was free may be taken
MARK_BYTES = 63


class LoopDevice(NamedTuple):
    """A loop device that is attached."""

    path: Path
    file: tuple[int, int]  # device and inode number
    is_whole: bool  # whether it shows the whole file
    mark: str


def attach(file: Path, mark: str) -> Path:
    """Return the loop device of a file, attached now unless there is one: two would destroy what they hold.

    Raises OSError.
    """
    assert 0 < len(mark) <= MARK_BYTES
    opened, flags = _opened(file)
    try:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(file))
        identity = (state.st_dev, state.st_ino)
        for known in attached():
            if known.file == identity and known.is_whole:
                return known.path
        info = _INFO.pack(*(0,) * 8, flags, mark.encode(), b"", b"", 0, 0)
        return _configured(_CONFIGURATION.pack(opened, 0, info, b""), flags)
    finally:
        os.close(opened)


def _opened(file: Path) -> tuple[int, int]:
    """Return a descriptor of a file, and the flags of a device on it."""
    try:
        return os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK), 0
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    return os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), _READ_ONLY


def _configured(configuration: bytes, flags: int) -> Path:
    for attempt in range(ATTEMPTS):
        control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
        try:
            number = fcntl.ioctl(control, _GET_FREE)
        finally:
            os.close(control)
        path = DEVICES / f"loop{number}"
        device = os.open(path, (os.O_RDONLY if flags else os.O_RDWR) | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, _CONFIGURE, configuration)
        except OSError as error:
            if error.errno != errno.EBUSY or attempt + 1 == ATTEMPTS:
                raise
        else:
            return path
        finally:
            os.close(device)
    raise AssertionError("unreachable")


def detach(mark: str) -> None:
    """Detach the devices whose marks start so; one that is still open is detached when it is closed. Raises OSError."""
    assert mark
    for known in attached():
        if not known.mark.startswith(mark):
            continue
        device = os.open(known.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, _CLEAR)
        except OSError as error:
            if error.errno != errno.ENXIO:  # detached meanwhile
                raise
        finally:
            os.close(device)


def attached() -> Iterator[LoopDevice]:
    """Yield all loop devices of this host that are attached."""
    for place in sorted(SYSTEM.glob("loop*/loop")):
        path = DEVICES / place.parent.name
        with suppress(OSError):  # detached meanwhile, or not to be seen here
            device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                status = fcntl.ioctl(device, _STATUS, bytes(_INFO.size))
            finally:
                os.close(device)
            number, inode, _, offset, limit, *_, name, _, _, _, _ = _INFO.unpack(status)
            mark = name.rstrip(b"\0").decode("utf-8", "replace")
            yield LoopDevice(path, (number, inode), not offset and not limit, mark)
