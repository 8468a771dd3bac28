"""The disk of the data folder: its file system, what is free on it, and how long it takes to be sure of a write."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from kubelite.doctor.findings import AS_ROOT, Finding, error, note, ok, unseen, warning
from kubelite.doctor.reading import existing, mount_of, mounts
from kubelite.doctor.wanted import Wanted

WRITES_MAX, WRITE_SECONDS = 200, 1.5
PIECE = b"\0" * 4096
SLOW_MS, TOO_SLOW_MS = 10.0, 100.0  # 10 ms is what etcd asks for
FREE_BYTES_MIN, FREE_SHARE_MIN = 1 << 30, 0.10
INODES_SHARE_MIN = 0.05
OVER_A_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "fuse.sshfs", "fuse.glusterfs"}
)
IN_MEMORY = frozenset({"tmpfs", "ramfs"})


class Disk(Struct, frozen=True):
    """What is known of the disk that a data folder is, or would be, on."""

    folder: str  # the data folder, or its nearest parent that exists
    kind: str = "ext4"
    is_read_only: bool = False
    has_programs: bool = True  # not mounted with noexec
    free_bytes: int = 0
    total_bytes: int = 0
    free_inodes: int = 0
    total_inodes: int = 0  # 0: the file system does not count them
    write_ms: tuple[float, ...] | None = (
        None  # how long each durable write took, sorted; None: not tried
    )
    untried: str = ""  # why


def judge(disk: Disk, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about the disk."""
    where = f"the disk of {disk.folder} ({disk.kind})"
    if disk.is_read_only:
        yield error(
            f"{where} is read-only",
            "state is kept there",
            "mount it for writing, or choose another --data-dir",
        )
    yield from _judge_kind(disk, where, wanted)
    yield from _judge_room(disk, where)
    yield from _judge_speed(disk, where, wanted)


def _judge_kind(disk: Disk, where: str, wanted: Wanted) -> Iterator[Finding]:
    if disk.kind in OVER_A_NETWORK and wanted.is_server:
        yield warning(
            f"{where} is over a network",
            "the store maps its file into memory and locks it, which is safe on local disks only",
            "choose a --data-dir on a local disk",
        )
    if disk.kind in IN_MEMORY:
        yield warning(
            f"{where} is memory",
            "a boot loses the cluster",
            "choose a --data-dir on a disk, but for tests",
        )
    if not disk.has_programs and wanted.has_node:
        yield warning(
            f"{where} is mounted with noexec",
            "an engine of kubelite's own keeps its containers there, and they could not run their programs",
            "mount it without noexec, or choose another --data-dir",
        )


def _judge_room(disk: Disk, where: str) -> Iterator[Finding]:
    share = disk.free_bytes / disk.total_bytes if disk.total_bytes else 1.0
    free = f"{disk.free_bytes / 1e9:.1f} GB ({share:.0%})"
    if share < FREE_SHARE_MIN or disk.free_bytes < FREE_BYTES_MIN:
        yield warning(
            f"{where} has {free} free",
            "below 5 % a node evicts pods and removes images; a full disk stops the store",
            "make room, or choose a --data-dir on a larger disk",
        )
    else:
        yield ok(f"{where} has {free} free")
    if disk.total_inodes and disk.free_inodes / disk.total_inodes < INODES_SHARE_MIN:
        yield warning(
            f"{where} has {disk.free_inodes} inodes free",
            "no file can be made without one, whatever room there is",
            "remove small files, or make the file system anew with more inodes",
        )


def _judge_speed(disk: Disk, where: str, wanted: Wanted) -> Iterator[Finding]:
    if not disk.write_ms:
        if disk.untried:
            yield unseen(f"how fast {where} is", disk.untried, AS_ROOT)
        return
    slowest = percentile(disk.write_ms, 0.99)
    what = f"{where} takes {slowest:.1f} ms for a durable write (p99 of {len(disk.write_ms)})"
    if slowest < SLOW_MS:
        yield ok(what)
    elif not wanted.is_server:
        yield note(what, "images unpack slowly")
    elif slowest < TOO_SLOW_MS:
        yield note(
            what, f"each change of the cluster waits for one; below {SLOW_MS:g} ms nobody notices"
        )
    else:
        yield warning(
            what,
            "each change of the cluster waits for one",
            "choose a --data-dir on a faster disk, such as an SSD",
        )


def percentile(numbers: Sequence[float], share: float) -> float:
    """Return the number that `share` of sorted numbers do not exceed."""
    return numbers[min(int(len(numbers) * share), len(numbers) - 1)]


def gather_quickly(wanted: Wanted) -> Disk:
    """Read what the file system tells; nothing is written."""
    folder = existing(wanted.data)
    status = os.statvfs(folder)
    mount = mount_of(folder, mounts())
    options = mount.options if mount is not None else frozenset()
    return Disk(
        folder=str(folder),
        kind=mount.kind if mount is not None else "unknown",
        is_read_only=bool(status.f_flag & os.ST_RDONLY),
        has_programs="noexec" not in options,
        free_bytes=status.f_bavail * status.f_frsize,
        total_bytes=status.f_blocks * status.f_frsize,
        free_inodes=status.f_favail,
        total_inodes=status.f_files,
    )


def gather(wanted: Wanted) -> Disk:
    """Read what the file system tells, and write to a file without a name, which ends with its descriptor."""
    found = gather_quickly(wanted)
    try:
        write_ms, untried = _measured(Path(found.folder)), ""
    except OSError as failure:
        write_ms, untried = None, (failure.strerror or "it cannot be written to").lower()
    return Disk(
        **{
            **{name: getattr(found, name) for name in Disk.__struct_fields__},
            "write_ms": write_ms,
            "untried": untried,
        }
    )


def _measured(folder: Path) -> tuple[float, ...]:
    descriptor = _unnamed(folder)
    took: list[float] = []
    end = time.monotonic() + WRITE_SECONDS
    try:
        while len(took) < WRITES_MAX and (began := time.monotonic()) < end:
            os.write(descriptor, PIECE)
            os.fdatasync(descriptor)
            took.append((time.monotonic() - began) * 1000)
    finally:
        os.close(descriptor)
    return tuple(sorted(took))


def _unnamed(folder: Path) -> int:
    """Open a new file without a name. Raises OSError."""
    with contextlib.suppress(OSError):
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    # Some file systems have none without a name, so it has one for an instant.
    descriptor, name = tempfile.mkstemp(prefix=".kubelite-doctor-", dir=folder)
    Path(name).unlink()
    return descriptor
