"""Reads what pods and the machine use from files of control groups (version 1 and 2) and of procfs.

Blocking: call it in a thread. The files lie outside of every container, so they need no descriptors. But a container
names the groups and interfaces that it makes, and its process may have ended and its number be another's: a group
counts only if it is named after the container, and all below that belongs to it.
"""

import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path, PurePosixPath

from msgspec import Struct

from kubelite.limits import POD_INTERFACES
from kubelite.node.cgroups import POD_GROUPS, ROOT, groups_of, is_pod_group, read_bounded
from kubelite.node.runtime import Usage

PROC = Path("/proc")
ENDLESS_BYTES = 1 << 60  # what version 1 says of a group without a limit is near 2^63
_RECEIVED, _RECEIVE_ERRORS, _SENT, _SEND_ERRORS = 0, 2, 8, 10  # columns of /proc/net/dev
_COLUMNS = 16


class Interface(Struct, frozen=True):
    """The traffic of a network interface since it was made."""

    name: str
    received_bytes: int
    receive_errors: int
    sent_bytes: int
    send_errors: int


class Filesystem(Struct, frozen=True):
    """The room on a filesystem."""

    capacity_bytes: int
    available_bytes: int
    used_bytes: int
    inodes: int
    inodes_free: int


class GroupFiles:
    """The control groups of this machine; `root` and `proc` are where they and procfs are mounted."""

    def __init__(self, root: Path = ROOT, proc: Path = PROC) -> None:
        self._root = root
        self._proc = proc
        self._is_unified = (root / "cgroup.controllers").exists()

    def groups(self, pid: int) -> Mapping[str, str]:
        """Return the groups of a process by controller; none once it has ended."""
        try:
            return groups_of(self._proc / str(pid) / "cgroup")
        except OSError:
            return {}

    def container(self, groups: Mapping[str, str], container_id: str, at: datetime) -> Usage | None:
        """Return the usage of a container, given the groups of one of its processes; None if they are another's."""
        own = {name: found for name in groups if (found := _named(groups[name], container_id))}
        return self._read(own, at) if own else None

    def pod(
        self, groups: Mapping[str, str], container_id: str, pod_uid: str, at: datetime
    ) -> Usage | None:
        """Return the usage of a pod, given the groups of its sandbox; None if it has no group of its own."""
        above = {}
        for name, group in groups.items():
            parent = PurePosixPath(_named(group, container_id)).parent
            if is_pod_group(parent.name, pod_uid):
                above[name] = str(parent)
        return self._read(above, at) if above else None

    def pods(self, at: datetime) -> Usage | None:
        """Return the usage of all pods of the machine together; None if they have no group yet."""
        names = ("",) if self._is_unified else ("cpuacct", "memory", "pids")
        for group in POD_GROUPS:
            usage = self._read(dict.fromkeys(names, group), at)
            if usage is not None:
                return usage
        return None

    def machine(self, at: datetime) -> Usage | None:
        """Return the usage of the whole machine."""
        names = ("",) if self._is_unified else ("cpuacct", "memory", "pids")
        usage = self._read(dict.fromkeys(names, "/"), at)
        meminfo = {key: value * 1024 for key, value in _table(self._proc / "meminfo").items()}
        if usage is None or usage.memory_usage_bytes or not meminfo:
            return usage
        # The root of version 2 does not say what it uses.
        used = meminfo.get("MemTotal", 0) - meminfo.get("MemFree", 0)
        return Usage(
            at=at,
            cpu_core_nanoseconds=usage.cpu_core_nanoseconds,
            memory_usage_bytes=used,
            memory_working_set_bytes=max(used - meminfo.get("Inactive(file)", 0), 0),
            memory_rss_bytes=usage.memory_rss_bytes,
            memory_page_faults=usage.memory_page_faults,
            memory_major_page_faults=usage.memory_major_page_faults,
            swap_bytes=meminfo.get("SwapTotal", 0) - meminfo.get("SwapFree", 0),
            moment_seconds=usage.moment_seconds,
        )

    def interfaces(self, pid: int) -> tuple[Interface, ...]:
        """Return the interfaces in the network namespace of a process, without the loopback; none once it has ended."""
        try:
            text = read_bounded(self._proc / str(pid) / "net" / "dev")
        except OSError:
            return ()
        found = tuple(islice(_interfaces(text), POD_INTERFACES.value + 1))
        if len(found) > POD_INTERFACES.value:
            POD_INTERFACES.reached()
        return found[: POD_INTERFACES.value]

    def processes(self) -> tuple[int, int]:
        """Return how many processes and threads the machine may have, and how many it has."""
        try:
            kernel = self._proc / "sys" / "kernel"
            limit = int(read_bounded(kernel / "pid_max"))
            # Each is a bound of the whole machine, so the lower one counts.
            limit = min(limit, _number(kernel / "threads-max") or limit)
            running = read_bounded(self._proc / "loadavg").split()[3].partition("/")[2]
            return limit, int(running)
        except (OSError, ValueError, IndexError):
            return 0, 0

    def _read(self, groups: Mapping[str, str], at: datetime) -> Usage | None:
        if self._is_unified:
            return _unified(_below(self._root, groups[""]), at) if "" in groups else None
        return _legacy(
            {name: _below(self._root / name, group) for name, group in groups.items()}, at
        )


def read_filesystem(folder: Path) -> Filesystem | None:
    """Return the room on the filesystem of a folder; None if it cannot be read."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    size = found.f_frsize
    return Filesystem(
        capacity_bytes=found.f_blocks * size,
        available_bytes=found.f_bavail * size,
        used_bytes=(found.f_blocks - found.f_bfree) * size,
        inodes=found.f_files,
        inodes_free=found.f_ffree,
    )


def _named(group: str, container_id: str) -> str:
    """Return the group of a container that a group is, or is within; "" if it is not of this container."""
    assert container_id, "an empty id would be in every name"
    parts = PurePosixPath(group).parts
    for number, part in enumerate(parts, 1):
        if container_id in part:
            return str(PurePosixPath(*parts[:number]))
    return ""


def _below(folder: Path, group: str) -> Path:
    return folder / group.lstrip("/")


def _unified(folder: Path, at: datetime) -> Usage | None:
    cpu = _table(folder / "cpu.stat")
    if "usage_usec" not in cpu:
        return None
    memory = _table(folder / "memory.stat")
    usage = _number(folder / "memory.current")
    return Usage(
        at=at,
        cpu_core_nanoseconds=cpu["usage_usec"] * 1000,
        memory_usage_bytes=usage,
        memory_working_set_bytes=max(usage - memory.get("inactive_file", 0), 0),
        memory_rss_bytes=memory.get("anon", 0),
        memory_page_faults=memory.get("pgfault", 0),
        memory_major_page_faults=memory.get("pgmajfault", 0),
        processes=_number(folder / "pids.current"),
        memory_limit_bytes=_limit(folder / "memory.max"),
        swap_bytes=_number(folder / "memory.swap.current"),
        moment_seconds=time.monotonic(),
    )


def _legacy(folders: Mapping[str, Path], at: datetime) -> Usage | None:
    nowhere = Path(os.devnull)
    accounting = folders.get("cpuacct", nowhere) / "cpuacct.usage"
    if not accounting.exists():
        return None
    folder = folders.get("memory", nowhere)
    memory = _table(folder / "memory.stat")
    usage = _number(folder / "memory.usage_in_bytes")
    return Usage(
        at=at,
        cpu_core_nanoseconds=_number(accounting),
        memory_usage_bytes=usage,
        memory_working_set_bytes=max(usage - memory.get("total_inactive_file", 0), 0),
        memory_rss_bytes=memory.get("total_rss", 0),
        memory_page_faults=memory.get("total_pgfault", 0),
        memory_major_page_faults=memory.get("total_pgmajfault", 0),
        processes=_number(folders.get("pids", nowhere) / "pids.current"),
        memory_limit_bytes=_limit(folder / "memory.limit_in_bytes"),
        swap_bytes=memory.get("total_swap", 0),
        moment_seconds=time.monotonic(),
    )


def _interfaces(text: str) -> Iterator[Interface]:
    for line in text.splitlines():
        name, separator, rest = line.rpartition(":")
        numbers = rest.split()
        if not separator or len(numbers) != _COLUMNS or not "".join(numbers).isdecimal():
            continue  # a heading, or a line that was cut
        if (shown := name.strip()) != "lo":
            values = [int(number) for number in numbers]
            yield Interface(
                shown,
                values[_RECEIVED],
                values[_RECEIVE_ERRORS],
                values[_SENT],
                values[_SEND_ERRORS],
            )


def _limit(path: Path) -> int:
    """Return a limit in bytes; 0 if there is none."""
    number = _number(path)  # 0 for "max"
    return number if number < ENDLESS_BYTES else 0


def _number(path: Path) -> int:
    try:
        return int(read_bounded(path))
    except (OSError, ValueError):
        return 0


def _table(path: Path) -> dict[str, int]:
    """Return the lines of a name and a number, with or without colon and unit; others are left out."""
    try:
        lines = read_bounded(path).splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {
        pair[0].rstrip(":"): int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdecimal()
    }
