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
    boot_ticks,
    depth_of,
    leader_of,
    leaders_in,
)

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
    assert leader_of(processes, COMMAND, 100) == leader


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
