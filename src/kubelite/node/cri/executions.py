"""Ends the process of an exec in a container of a CRI engine, which has no call for that and names no process.

The process is found by what sets it apart: it leads a session of its own, its parent is of the engine and not of any
container, and it was started after the exec was asked for and before the next one in that container. Execs of one
container in the same moment may be taken for one another.
"""

import asyncio
import os
import time
from collections import deque
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
EXECUTIONS_MAX = 10_000  # remembered; 110 pods with ten probes each ask for 1,100 in a second
APART_TICKS = 50  # half a second: an engine takes some 30 ms to start a process
NEVER = 1 << 62
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


class Execution(Struct, frozen=True):
    """One exec, from when it is asked for."""

    container_id: str
    main_pid: int  # of the container's main process
    command: tuple[str, ...]
    begun_ticks: int


class Executions:
    """The execs of an engine's containers that were asked for, the newest of them."""

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._begun: deque[Execution] = deque(maxlen=EXECUTIONS_MAX)

    def begin(self, container_id: str, main_pid: int, command: Sequence[str]) -> Execution:
        """Take that an exec is asked for now, in the container whose main process is `main_pid`."""
        execution = Execution(container_id, main_pid, tuple(command), boot_ticks())
        self._begun.append(execution)
        return execution

    def kill(self, execution: Execution) -> None:
        """Kill the process of an exec with all that it started, in the background."""
        name = f"end of an exec in {execution.container_id[:12]}"
        self._tasks.start(self._kill(execution), name=name)

    async def _kill(self, execution: Execution) -> None:
        for failures in range(KILL_TRIES):
            later = [one for one in self._begun if is_later(one, execution)]
            if await asyncio.to_thread(_kill_once, execution, later):
                return
            await asyncio.sleep(backoff_seconds(failures, KILL_FIRST_SECONDS, KILL_MAX_SECONDS))


def is_later(other: Execution, execution: Execution) -> bool:
    """Return whether an exec of the same container was asked for clearly after another one."""
    is_same = other.container_id == execution.container_id
    return is_same and other.begun_ticks >= execution.begun_ticks + APART_TICKS


def _kill_once(execution: Execution, later: Sequence[Execution]) -> bool:
    leaders = leaders_in(execution.container_id, execution.main_pid)
    pid = leader_of(leaders, execution, later)
    return pid > 0 and kill_session(execution.container_id, pid, is_running=True) > 0


def leader_of(
    processes: Iterable[ContainerProcess], execution: Execution, later: Sequence[Execution] = ()
) -> int:
    """Return the process of an exec; 0 if there is none. `later` are those of the container that came after it.

    A process may have replaced its own program, and then it is the exec's if no other exec was asked for before its
    start. In a pod with the host's PID namespace an orphan of the container may become the engine's child, so there the
    command must be that of the exec.
    """
    command = execution.command
    next_any = min((one.begun_ticks for one in later), default=NEVER)
    next_same = min((one.begun_ticks for one in later if one.command == command), default=NEVER)
    candidates = []
    for process in processes:
        is_same = process.command == command
        end = next_same if is_same else next_any
        may_be = is_same or process.depth > 1
        if (
            may_be
            and process.parent_depth == 1
            and execution.begun_ticks <= process.started_ticks < end
        ):
            candidates.append((not is_same, process.started_ticks, process.pid))
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
