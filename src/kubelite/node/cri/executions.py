"""Ends the process of an exec in a container of a CRI engine, which has no call for that and names no process.

The process is found by what sets it apart: it leads a session of its own, was started after the exec was asked for, and
its parent is of the engine and not of any container. Two execs of one command in one container at the same moment may
be taken for one another.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from msgspec import Struct

from kubelite.backoff import backoff_seconds
from kubelite.node.process_tree import (
    DEAD,
    is_in_container,
    kill_session,
    open_process,
    parse_stat,
    read_processes,
)
from kubelite.tasks import TaskSet

KILL_TRIES = 8  # some seconds: the engine may start the process after it was given up
KILL_FIRST_SECONDS, KILL_MAX_SECONDS = 0.05, 2.0
COMMAND_BYTES_MAX = 64 * 1024
STATUS_BYTES_MAX = 64 * 1024
_START_FIELD = 19  # of /proc/PID/stat, counted from the field behind the name


class ContainerProcess(Struct, frozen=True):
    """A process of a container that leads a session."""

    pid: int
    started_ticks: int  # since the boot
    command: tuple[str, ...]
    depth: int  # in how many PID namespaces it has a number: 1 for the host's alone
    parent_depth: int


class Execution:
    """One exec, from when it is asked for."""

    def __init__(
        self, container_id: str, main_pid: int, command: Sequence[str], tasks: TaskSet
    ) -> None:
        """`main_pid` is that of the container's main process."""
        self._container_id = container_id
        self._main_pid = main_pid
        self._command = tuple(command)
        self._tasks = tasks
        self._begun_ticks = boot_ticks()

    def kill(self) -> None:
        """Kill its process with all that it started, in the background."""
        self._tasks.start(self._kill(), name=f"end of an exec in {self._container_id[:12]}")

    async def _kill(self) -> None:
        has_killed = False
        for failures in range(KILL_TRIES):
            if await asyncio.to_thread(self._kill_once):
                has_killed = True
            elif has_killed:
                return
            await asyncio.sleep(backoff_seconds(failures, KILL_FIRST_SECONDS, KILL_MAX_SECONDS))

    def _kill_once(self) -> bool:
        leaders = leaders_in(self._container_id, self._main_pid)
        pid = leader_of(leaders, self._command, self._begun_ticks)
        return pid > 0 and kill_session(self._container_id, pid, is_running=True) > 0


def leader_of(
    processes: Iterable[ContainerProcess], command: Sequence[str], begun_ticks: int
) -> int:
    """Return the process of an exec that began then; 0 if there is none.

    In a pod with the host's PID namespace an orphan of the container may become the engine's child, so there the
    command must be that of the exec; else a process may have replaced its own.
    """
    wanted = tuple(command)
    candidates = [
        (process.command != wanted, process.started_ticks, process.pid)
        for process in processes
        if process.started_ticks >= begun_ticks
        and process.parent_depth == 1
        and (process.depth > 1 or process.command == wanted)
    ]
    return min(candidates)[2] if candidates else 0


def boot_ticks() -> int:
    """Return the time since the boot in the kernel's ticks, as /proc tells the start of a process."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def leaders_in(container_id: str, main_pid: int) -> list[ContainerProcess]:
    """Return the living processes of a container that lead a session, except its main one. Blocking."""
    found = []
    for process in read_processes():
        if process.pid != process.session or process.pid == main_pid or process.state in DEAD:
            continue
        with suppress(OSError, ValueError, IndexError):
            folder = open_process(process.pid)
            try:
                if is_in_container(folder, container_id):
                    found.append(_read(folder))
            finally:
                os.close(folder)
    return found


def _read(folder: int) -> ContainerProcess:
    stat = _text("stat", folder, STATUS_BYTES_MAX)
    process = parse_stat(stat)
    command = _text("cmdline", folder, COMMAND_BYTES_MAX).decode("utf-8", "surrogateescape")
    parent = open_process(process.parent)
    try:
        parent_depth = depth_of(_text("status", parent, STATUS_BYTES_MAX))
    finally:
        os.close(parent)
    return ContainerProcess(
        process.pid,
        int(stat[stat.rindex(b")") + 2 :].split(b" ")[_START_FIELD]),
        tuple(command.removesuffix("\0").split("\0")),
        depth_of(_text("status", folder, STATUS_BYTES_MAX)),
        parent_depth,
    )


def depth_of(status: bytes) -> int:
    """Return in how many PID namespaces a process has a number, by its /proc/PID/status; 1 if that does not say."""
    for line in status.splitlines():
        if line.startswith(b"NSpid:"):
            return len(line.split()) - 1
    return 1


def _text(name: str, folder: int, limit_bytes: int) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(descriptor, limit_bytes)
    finally:
        os.close(descriptor)
