"""Kills a process of a container with all it has started. Blocking: call it in a thread.

Engines can start a process in a running container but not end it, so the process is found by its number on the host. A
number may belong to another process by the time the signal is sent, and the container decides what runs under it, so a
process is held by a descriptor first, then checked to be of that container, and signalled through the descriptor.
"""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from kubelite.limits import EXEC_PROCESSES

PROC = Path("/proc")
CGROUP_BYTES_MAX = 64 * 1024
ROUNDS = (
    50  # a process may fork while its tree is read; its new children are found by the next round
)
DEAD = frozenset("ZX")


class Process(Struct, frozen=True):
    """One process, by the numbers that the host knows."""

    pid: int
    parent: int
    session: int
    state: str = "S"


def kill_session(container_id: str, pid: int, *, is_running: bool) -> int:
    """Kill the processes of the session that `pid` leads, and what descends from them; return how many signals went.

    Engines give each exec a session of its own. Its number stays taken while a process of the session lives, so when
    the leader has ended (`is_running` False) a process under its number is another one, and nothing is left to kill.
    """
    sent = 0
    for _ in range(ROUNDS):
        processes = read_processes()
        if not is_running and any(process.pid == pid for process in processes):
            return sent
        killed = sum(_kill(one, container_id) for one in session_of(processes, pid))
        sent += killed
        if not killed:
            break
        if sent >= EXEC_PROCESSES.value:
            EXEC_PROCESSES.reached()
            break
    return sent


def session_of(processes: Iterable[Process], leader: int) -> list[Process]:
    """Return the living processes of a session and their descendants; those that a killed parent left are orphans."""
    children: dict[int, list[Process]] = {}
    members: dict[int, Process] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
        if process.session == leader or process.pid == leader:
            members[process.pid] = process
    left = list(members)
    while left:
        for child in children.get(left.pop(), ()):
            if child.pid not in members:
                members[child.pid] = child
                left.append(child.pid)
    return [member for member in members.values() if member.state not in DEAD]


def read_processes(proc: Path = PROC) -> list[Process]:
    """Return all processes of the host."""
    found = []
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                found.append(parse_stat((folder / "stat").read_bytes()))
    return found


def parse_stat(text: bytes) -> Process:
    """Read /proc/PID/stat; the name in it may hold anything, also brackets. Raises ValueError, IndexError."""
    number, _, rest = text.partition(b" ")
    state, parent, _, session = rest[rest.rindex(b")") + 2 :].split(b" ")[:4]
    return Process(int(number), int(parent), int(session), state.decode("ascii", "replace"))


def is_in_container(folder: int, container_id: str) -> bool:
    """Whether a process is in a container's control group, which has the id in its name.

    `folder` is the process's folder below /proc, opened: it stays that of this process when its number is used again.
    """
    assert len(container_id) >= 12, "a short text could be part of any group's name"
    try:
        descriptor = os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return False
    try:
        groups = os.read(descriptor, CGROUP_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return any(container_id in line.rpartition(":")[2] for line in groups.splitlines())


def open_process(pid: int) -> int:
    """Open the folder of a process below /proc; raises OSError when there is none."""
    return os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _kill(process: Process, container_id: str) -> bool:
    """Kill one process if it is of the container; whether a signal was sent."""
    # The folder of a process serves as its descriptor for signals too.
    try:
        folder = open_process(process.pid)
    except OSError:
        return False
    try:
        if not is_in_container(folder, container_id):
            return False
        signal.pidfd_send_signal(folder, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(folder)
    return True
