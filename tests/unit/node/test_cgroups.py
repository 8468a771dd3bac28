"""Control groups, as folders."""

from pathlib import Path

import pytest

from kubelite.node.cgroups import limit_container, remove_all
from kubelite.node.runtime import ContainerLimits


def test_groups_nested_by_a_container_are_all_removed(tmp_path: Path) -> None:
    """Deeper than Python recurses."""
    place = tmp_path / "memory/kubelite/besteffort/podu"
    place.mkdir(parents=True)
    for _ in range(1200):
        place /= "d"
        place.mkdir()
    (tmp_path / "kubelite/a").mkdir(parents=True)
    (tmp_path / "kubelite/b").mkdir()
    (tmp_path / "kubelite/b/used").touch()  # by another kubelite on this host
    (tmp_path / "other/x").mkdir(parents=True)
    remove_all(tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "kubelite",
        "kubelite/b",
        "kubelite/b/used",
        "memory",
        "other",
        "other/x",
    ]


def test_the_limits_of_a_container_are_written_into_its_own_group(tmp_path: Path) -> None:
    (tmp_path / "proc/7").mkdir(parents=True)
    (tmp_path / "proc/7/cgroup").write_text("3:memory:/k/libpod-c1\n2:cpu,cpuacct:/k/libpod-c1\n")
    files = {
        "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        "cpu": ("cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"),
    }
    for controller, names in files.items():
        folder = tmp_path / "groups" / controller / "k/libpod-c1"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text("0")
    limits = ContainerLimits(cpu_shares=512, cpu_quota_us=20_000, memory_bytes=1 << 20)
    limit_container(7, "c1", limits, tmp_path / "proc", tmp_path / "groups")
    written = {file.name: file.read_text() for file in (tmp_path / "groups").rglob("*.*")}
    assert written["memory.limit_in_bytes"] == "1048576"
    assert written["memory.memsw.limit_in_bytes"] == "1048576"
    assert written["cpu.shares"] == "512"
    with pytest.raises(FileNotFoundError, match="control group of container c2"):
        limit_container(7, "c2", limits, tmp_path / "proc", tmp_path / "groups")
