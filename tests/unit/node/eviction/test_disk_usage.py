"""Counting files that a container may have made as it likes."""

import os
from pathlib import Path

import pytest

from kubelite.limits import COUNTED_FILES
from kubelite.node.eviction import disk_usage
from kubelite.node.eviction.disk_usage import disk_use, file_use
from kubelite.node.eviction.observations import DiskUse


def written(path: Path, kib: int) -> int:
    path.write_bytes(b"x" * kib * 1024)
    return path.stat().st_blocks * 512


def own(path: Path) -> int:
    return path.lstat().st_blocks * 512


def test_files_and_folders_are_counted_by_what_they_take(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    total = written(tmp_path / "one", 100) + written(tmp_path / "a" / "b" / "two", 5)
    total += sum(own(each) for each in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"))
    assert disk_use(tmp_path) == DiskUse(total, 5)


def test_a_file_with_holes_takes_what_is_written(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    use = disk_use(tmp_path)
    assert use is not None
    assert use.bytes < 1 << 20


def test_a_file_with_several_names_counts_once(tmp_path: Path) -> None:
    written(tmp_path / "one", 100)
    before = disk_use(tmp_path)
    for number in range(5):
        os.link(tmp_path / "one", tmp_path / f"name-{number}")
    after = disk_use(tmp_path)
    assert before is not None
    assert after is not None
    assert after.inodes == before.inodes
    assert after.bytes - before.bytes <= 4096  # of the folder, which may have grown


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    written(outside / "big", 1000)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    use = disk_use(inside)
    assert use is not None
    assert use.inodes == 3
    assert use.bytes < 100 * 1024
    assert disk_use(inside / "link") is None


def test_devices_and_fifos_are_counted_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    use = disk_use(tmp_path)
    assert use is not None
    assert use.inodes == 2


def test_a_deep_tree_needs_one_descriptor(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        following = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = following
    os.close(folder)
    opened = {path.name for path in Path("/proc/self/fd").iterdir()}
    use = disk_use(tmp_path)
    assert use is not None
    assert use.inodes == 3001
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == opened


def test_counting_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        (tmp_path / f"f{number}").touch()
    monkeypatch.setattr(COUNTED_FILES, "value", 7)
    reached = COUNTED_FILES.times_reached
    use = disk_use(tmp_path)
    assert use is not None
    assert use.inodes == 7
    assert COUNTED_FILES.times_reached == reached + 1


def test_a_folder_that_is_moved_away_ends_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    (top / "inner").mkdir(parents=True)
    (top / "other").mkdir()
    elsewhere.mkdir()
    secret = elsewhere / "secret"
    secret.mkdir()
    count_names = disk_usage._count_names

    def count_and_move(folder: int, count: disk_usage._Count) -> list[str]:
        names = count_names(folder, count)
        inner = top / "inner"
        if not names and inner.exists() and os.fstat(folder).st_ino == inner.stat().st_ino:
            inner.rename(elsewhere / "inner")
        return names

    monkeypatch.setattr(disk_usage, "_count_names", count_and_move)
    use = disk_use(top)
    assert use is not None
    assert use.inodes <= 4  # nothing of the other folder


def test_what_is_not_there(tmp_path: Path) -> None:
    assert disk_use(tmp_path / "none") is None
    assert file_use(tmp_path / "none") == DiskUse()
    written(tmp_path / "file", 4)
    assert file_use(tmp_path / "file").inodes == 1
