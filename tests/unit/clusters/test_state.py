"""The files of clusters: locks that a killed command lets go, and processes that are not taken for others."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from kubelite.clusters.plan import Plan
from kubelite.clusters.state import (
    Folder,
    Folders,
    Process,
    end,
    is_alive,
    marked,
    process_of,
    wait_for_end,
)


@pytest.fixture(name="folder")
def make_folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "ci")
    (folder.path / "server").mkdir(parents=True)
    return folder


def _sleeper(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *arguments])


def test_a_plan_comes_back(folder: Folder) -> None:
    plan = Plan("ci", "abc", server={"disable": ["ingress"]})
    folder.write(plan)
    assert folder.read() == plan


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": 1}', b"\xff"])
def test_a_plan_that_was_cut_off_is_none(folder: Folder, content: bytes) -> None:
    (folder.path / "cluster.json").write_bytes(content)
    assert folder.read() is None


def test_only_clusters_count(tmp_path: Path) -> None:
    for name in ("b", "a", ".lock", "UPPER"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "file").touch()
    assert [folder.name for folder in Folders(tmp_path).all()] == ["a", "b"]
    assert Folders(tmp_path / "none").all() == []


def test_the_folder_of_all_goes_with_the_last_cluster(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "clusters")
    with folders.locked():
        (folders.top / "ci").mkdir()
    assert folders.top.is_dir()
    with folders.locked():
        (folders.top / "ci").rmdir()
    assert not folders.top.exists()
    with folders.locked():
        assert folders.top.is_dir()


def test_a_cluster_that_is_held_is_told(folder: Folder) -> None:
    with folder.locked(), pytest.raises(BlockingIOError), folder.locked(wait=False):
        pass
    with folder.locked(wait=False):
        pass


def test_a_process_counts_while_it_lives(folder: Folder) -> None:
    child = _sleeper()
    process = process_of(child.pid)
    assert process is not None
    folder.note("server", process)
    assert folder.process() == process
    end(process, 5)
    assert child.wait(5) < 0
    assert folder.process() is None
    assert wait_for_end(process, 0)


def test_an_ended_child_counts_as_ended_before_it_is_reaped() -> None:
    child = subprocess.Popen(["true"])
    process = Process(child.pid, "", "")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_of(child.pid) is None
    assert not is_alive(process)
    child.wait()


@pytest.mark.parametrize("field", ["started", "boot"])
def test_another_process_with_the_number_is_left_alone(folder: Folder, field: str) -> None:
    child = _sleeper()
    try:
        process = process_of(child.pid)
        assert process is not None
        former = msgspec.structs.replace(process, **{field: "0"})
        folder.note("server", former)
        assert folder.process() is None
        end(former, 0)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_marked_processes_are_kubelites(tmp_path: Path) -> None:
    path = str(tmp_path / "config.yaml")
    ours, foreign = _sleeper("kubelite", path), _sleeper("vim", path)
    try:
        assert [process.pid for process in marked({path})] == [ours.pid]
    finally:
        for child in (ours, foreign):
            child.kill()
            child.wait()
