"""Control groups of clusters, in either hierarchy; a folder takes the place of the kernel's."""

from pathlib import Path

import pytest

from kubelite.clusters import groups


def _legacy(root: Path) -> Path:
    for name in ("cpu", "cpuset"):
        (root / name).mkdir(parents=True)
        (root / name / "cgroup.procs").touch()
    (root / "cpuset" / "cpuset.cpus").write_text("0-1")
    (root / "cpuacct").symlink_to("cpu")
    return root


def _unified(root: Path) -> Path:
    for folder in (root, root / f"{groups.PREFIX}abc"):
        folder.mkdir(parents=True)
        (folder / "cgroup.controllers").write_text("cpu memory\n")
        (folder / "cgroup.subtree_control").touch()
    (root / "cgroup.procs").touch()
    return root


def test_each_legacy_hierarchy_has_a_group(tmp_path: Path) -> None:
    root = _legacy(tmp_path / "root")
    made = groups.make("abc", "server", root)
    assert [str(folder.relative_to(root)) for folder in made.folders] == [
        "cpu/kubelite-cluster-abc/server",
        "cpuset/kubelite-cluster-abc/server",
    ]
    assert made.leaf == ""
    assert (made.folders[1] / "cpuset.cpus").read_text() == "0-1"
    assert groups.all_clusters(root) == {"abc"}


def test_in_the_unified_hierarchy_processes_are_one_group_below(tmp_path: Path) -> None:
    root = _unified(tmp_path / "root")
    made = groups.make("abc", "server", root)
    assert made.folders == (root / "kubelite-cluster-abc" / "server",)
    assert made.leaf == str(made.folders[0] / "node")
    assert Path(made.leaf).is_dir()
    # The kernel takes one a time, and the file reads as what was taken.
    assert (root / "cgroup.subtree_control").read_text() == "+memory"
    assert (root / "kubelite-cluster-abc" / "cgroup.subtree_control").read_text() == "+memory"


def test_a_hierarchy_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    root = _unified(tmp_path / "root")
    (root / "cgroup.subtree_control").unlink()
    (root / "cgroup.subtree_control").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        groups.make("abc", "server", root)


def test_without_control_groups_there_are_none(tmp_path: Path) -> None:
    assert groups.make("abc", "server", tmp_path / "none") == groups.Groups()
    assert groups.all_clusters(tmp_path / "none") == set()
