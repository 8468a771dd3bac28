"""Which processes belong to a command of a container, and that no other is ever signalled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubelite.node import process_tree
from kubelite.node.process_tree import (
    Process,
    is_in_container,
    kill_session,
    open_process,
    parse_stat,
    read_processes,
    session_of,
)

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "process"),
    [
        (b"7 (sh) S 1 7 7 0 -1 4194560", Process(7, 1, 7, "S")),
        (b"8 (a) Z 9 (b)) R 7 8 7 34816 8", Process(8, 7, 7, "R")),
        (b"9 (a\n) S 1 1 1 ) Z 8 9 7 0", Process(9, 8, 7, "Z")),
    ],
)
def test_a_name_may_hold_anything(text: bytes, process: Process) -> None:
    assert parse_stat(text) == process


@pytest.mark.parametrize("text", [b"", b"7", b"7 (sh)", b"7 (sh) S", b"x (sh) S 1 2 3 4"])
def test_what_is_no_stat_is_refused(text: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_stat(text)


def test_a_session_is_its_members_and_all_that_descends_from_them() -> None:
    processes = [
        Process(1, 0, 1),
        Process(10, 1, 10),  # the leader
        Process(11, 10, 10),
        Process(12, 11, 12),  # a session of its own, below a member
        Process(13, 12, 12),
        Process(14, 1, 10),  # an orphan of the session
        Process(15, 10, 10, "Z"),
        Process(20, 1, 20),
        Process(21, 20, 20),
    ]
    assert sorted(one.pid for one in session_of(processes, 10)) == [10, 11, 12, 13, 14]
    # The leader has ended.
    rest = [one for one in processes if one.pid != 10]
    assert sorted(one.pid for one in session_of(rest, 10)) == [11, 12, 13, 14]
    assert session_of(processes, 99) == []


def _with_cgroup(folder: Path, text: str) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup").write_text(text)
    return os.open(folder, os.O_RDONLY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"0::/kubelite/burstable/poduid/{ID}\n", True),
        (f"0::/../../docker-{ID}.scope\n", True),
        (f"0::/kubelite/{ID}/made-by-the-container\n", True),
        (f"12:pids,{ID}:/other\n0::/\n", False),
        ("0::/user.slice\n", False),
        ("", False),
    ],
)
def test_a_process_is_known_by_its_control_group(tmp_path: Path, text: str, expected: bool) -> None:
    descriptor = _with_cgroup(tmp_path / "1", text)
    try:
        assert is_in_container(descriptor, ID) is expected
    finally:
        os.close(descriptor)


SCRIPT = "import os, time; os.fork(); os.fork(); print(flush=True); time.sleep(600)"


@pytest.fixture
def command() -> subprocess.Popen[bytes]:
    made = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, start_new_session=True
    )
    assert made.stdout is not None
    for _ in range(4):
        made.stdout.readline()
    return made


def _alive(session: int) -> list[Process]:
    return session_of(read_processes(), session)


def test_a_session_is_killed_when_it_is_of_the_container(
    command: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        assert len(_alive(command.pid)) == 4
        # These are in no container of that name.
        assert kill_session(ID, command.pid, is_running=True) == 0
        monkeypatch.setattr(process_tree, "is_in_container", lambda *_: True)
        # The exec has ended, so whoever has its number is another one.
        assert kill_session(ID, command.pid, is_running=False) == 0
        assert len(_alive(command.pid)) == 4
        assert kill_session(ID, command.pid, is_running=True) >= 4
        assert command.wait(10) == -9
        assert _alive(command.pid) == []
    finally:
        monkeypatch.setattr(process_tree, "is_in_container", lambda *_: True)
        kill_session(ID, command.pid, is_running=True)
        command.wait(10)
        assert command.stdout is not None
        command.stdout.close()


def test_the_folder_of_a_process_is_no_other_ones_when_its_number_is_used_again() -> None:
    made = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    descriptor = open_process(made.pid)
    try:
        made.communicate(b"\n")
        assert not is_in_container(descriptor, ID)
        with pytest.raises(OSError, match="No such process"):
            os.open("cgroup", os.O_RDONLY, dir_fd=descriptor)
    finally:
        os.close(descriptor)
