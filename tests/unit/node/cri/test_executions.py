"""Which process of a container an exec has started."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubelite.node import process_tree
from kubelite.node.cri import executions
from kubelite.node.cri.executions import (
    ContainerProcess,
    Execution,
    Executions,
    boot_ticks,
    depth_of,
    is_later,
    leader_of,
    leaders_in,
)
from kubelite.tasks import TaskSet

COMMAND = ("sleep", "99")


def process(
    pid: int,
    started: int = 100,
    command: tuple[str, ...] = COMMAND,
    depth: int = 2,
    parent: int = 1,
) -> ContainerProcess:
    return ContainerProcess(pid, started, command, depth, parent)


@pytest.mark.parametrize(
    ("processes", "leader"),
    [
        ([], 0),
        ([process(7)], 7),
        ([process(7, started=99)], 0),  # from before
        ([process(7, parent=2)], 0),  # a daemon, whose parent is the first process of the pod
        ([process(7, command=("sh",))], 7),  # it has replaced its program
        ([process(7, command=("sh",)), process(9, started=105)], 9),
        ([process(9, started=105), process(7, started=101)], 7),
        ([process(7, depth=1)], 7),
        ([process(7, depth=1, command=("sh",))], 0),  # maybe an orphan of the container
    ],
)
def test_the_leader_is_found(processes: list[ContainerProcess], leader: int) -> None:
    assert leader_of(processes, Execution("c", 1, COMMAND, 100)) == leader


@pytest.mark.parametrize(
    ("processes", "later", "leader"),
    [
        ([process(7, started=150)], [("x",)], 7),
        ([process(7, started=150, command=("sh",))], [("x",)], 7),
        ([process(7, started=260, command=("sh",))], [("x",)], 0),  # of the later exec
        ([process(7, started=260)], [("x",)], 7),  # started late, by its command
        ([process(7, started=260)], [COMMAND], 0),
        ([process(7, started=101), process(9, started=260)], [COMMAND], 7),
    ],
)
def test_the_process_of_a_later_exec_is_not_taken(
    processes: list[ContainerProcess], later: list[tuple[str, ...]], leader: int
) -> None:
    execution = Execution("c", 1, COMMAND, 100)
    others = [Execution("c", 1, command, 200) for command in later]
    assert leader_of(processes, execution, others) == leader


def test_execs_of_other_containers_and_of_the_same_moment_are_not_later() -> None:
    execution = Execution("c", 1, COMMAND, 100)
    assert is_later(Execution("c", 1, ("x",), 200), execution)
    assert not is_later(Execution("d", 1, ("x",), 200), execution)
    assert not is_later(Execution("c", 1, ("x",), 101), execution)
    assert not is_later(execution, execution)


async def test_only_the_process_of_the_exec_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []

    def kill(container_id: str, pid: int, *, is_running: bool) -> int:
        assert container_id == "c" * 64
        assert is_running
        killed.append(pid)
        return 1

    found = iter([[], [process(7, started=1 << 60)], [process(9, started=1 << 60)]])
    monkeypatch.setattr(executions, "leaders_in", lambda *_: next(found))
    monkeypatch.setattr(executions, "kill_session", kill)
    monkeypatch.setattr(executions, "KILL_FIRST_SECONDS", 0.0)
    tasks = TaskSet()
    known = Executions(tasks)
    known.kill(known.begin("c" * 64, 1, COMMAND))
    (killing,) = tasks._tasks
    await killing
    assert killed == [7]


@pytest.mark.parametrize(
    ("status", "depth"),
    [
        (b"Name:\tx\nNSpid:\t12\t1\nx", 2),
        (b"NSpid:\t12\n", 1),
        (b"Name:\tNSpid: 1 2 3\n", 1),
        (b"", 1),
    ],
)
def test_the_namespaces_of_a_process_are_counted(status: bytes, depth: int) -> None:
    assert depth_of(status) == depth


@contextmanager
def session(*command: str) -> Iterator[int]:
    child = subprocess.Popen(command, start_new_session=True)
    try:
        yield child.pid
    finally:
        child.kill()
        child.wait()


def test_processes_are_read_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = boot_ticks()
    with session("sleep", "99") as main, session("sleep", "98") as other:
        members = {main, other}
        real = process_tree.open_process
        opened: dict[int, int] = {}

        def open_process(pid: int) -> int:
            folder = real(pid)
            opened[folder] = pid
            return folder

        monkeypatch.setattr(executions, "open_process", open_process)
        monkeypatch.setattr(
            executions, "is_in_container", lambda folder, _: opened[folder] in members
        )
        (found,) = leaders_in("c" * 64, main)
        assert found.pid == other
        assert found.command == ("sleep", "98")
        assert begun <= found.started_ticks <= boot_ticks()
        assert (
            found.depth
            == found.parent_depth
            == depth_of(Path(f"/proc/{os.getpid()}/status").read_bytes())
        )
