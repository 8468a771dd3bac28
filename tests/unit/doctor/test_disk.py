from pathlib import Path

import pytest
from msgspec.structs import replace

from kubelite.doctor.disk import Disk, gather, judge, percentile
from unit.doctor.hosts import AGENT, CONTROL_PLANE, SERVER, bad, in_folder

GOOD = Disk(
    "/data",
    "ext4",
    False,
    True,
    50 << 30,
    100 << 30,
    900,
    1000,
    tuple(float(n) for n in range(1, 9)),
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"is_read_only": True}, ["error: the disk of /data (ext4) is read-only"]),
        ({"kind": "nfs4"}, ["warning: the disk of /data (nfs4) is over a network"]),
        ({"kind": "tmpfs"}, ["warning: the disk of /data (tmpfs) is memory"]),
        ({"has_programs": False}, ["warning: the disk of /data (ext4) is mounted with noexec"]),
        ({"free_bytes": 9 << 30}, ["warning: the disk of /data (ext4) has 9.7 GB (9%) free"]),
        (
            {"free_bytes": 1 << 29, "total_bytes": 1 << 30},
            ["warning: the disk of /data (ext4) has 0.5 GB (50%) free"],
        ),
        ({"free_inodes": 49}, ["warning: the disk of /data (ext4) has 49 inodes free"]),
        ({"free_inodes": 0, "total_inodes": 0}, []),  # btrfs counts none
        (
            {"write_ms": (1.0, 40.0)},
            ["note: the disk of /data (ext4) takes 40.0 ms for a durable write (p99 of 2)"],
        ),
        (
            {"write_ms": (1.0, 400.0)},
            ["warning: the disk of /data (ext4) takes 400.0 ms for a durable write (p99 of 2)"],
        ),
        (
            {"write_ms": None, "untried": "permission denied"},
            ["note: not examined: how fast the disk of /data (ext4) is: permission denied"],
        ),
        ({"write_ms": None}, []),  # a start does not write
    ],
)
def test_disks(changes: dict[str, object], found: list[str]) -> None:
    assert bad(judge(replace(GOOD, **changes), SERVER)) == found


def test_an_agent_has_no_store() -> None:
    slow = replace(GOOD, kind="nfs", write_ms=(400.0,))
    assert [one.partition(":")[0] for one in bad(judge(slow, AGENT))] == ["note"]


def test_a_control_plane_runs_no_programs_there() -> None:
    assert bad(judge(replace(GOOD, has_programs=False), CONTROL_PLANE)) == []


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([5.0], 5.0), ([1.0] * 98 + [2.0, 3.0], 3.0), ([1.0] * 199 + [9.0], 1.0)],
)
def test_percentiles(numbers: list[float], expected: float) -> None:
    assert percentile(numbers, 0.99) == expected


def test_a_real_disk_is_measured_and_nothing_is_left(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mtime_ns
    found = gather(in_folder(tmp_path / "not" / "there"))
    assert found.folder == str(tmp_path)
    assert found.write_ms
    assert found.total_bytes >= found.free_bytes > 0
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.stat().st_mtime_ns == before
