"""Where plugins find the folders of this node."""

from pathlib import Path

import pytest

from kubelite.node import kubelet_folders
from kubelite.node.kubelet_folders import is_shared, is_shown, prepare

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /var/lib rw shared:9 master:1 - tmpfs tmpfs rw
24 22 0:22 / /srv rw - ext4 /dev/sdb rw
25 24 0:23 / /srv/a\\040b rw shared:3 - ext4 /dev/sdc rw
26 22 0:24 / /srv rw - tmpfs over rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", True),
        ("/var/library", True),
        ("/var/lib/kubelite/agent/pods", True),
        ("/srv/x", False),
        ("/srv/a b/c", True),
    ],
)
def test_whether_mounts_propagate(path: str, expected: bool) -> None:
    assert is_shared(Path(path), MOUNTS) is expected


def test_a_mount_that_propagates_only_inward_is_not_shared() -> None:
    assert not is_shared(Path("/data"), "22 1 8:1 / / rw master:1 - ext4 /dev/sda1 rw\n")
    assert not is_shared(Path("/data"), "")


@pytest.fixture(autouse=True)
def _no_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelet_folders, "_share", lambda _: None)


def test_the_folders_are_shown_by_a_link(tmp_path: Path) -> None:
    data, root = tmp_path / "agent", tmp_path / "lib" / "kubelet"
    folders = prepare(data, root)
    assert (folders.root, folders.shown) == (data, root)
    assert (root / "plugins_registry").is_dir()
    assert is_shown(data, root)
    assert prepare(data, root).shown == root


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    data, root = tmp_path / "agent", tmp_path / "kubelet"
    root.mkdir()
    (root / "file").write_text("x")
    assert prepare(data, root).shown == data
    assert (root / "file").read_text() == "x"
    assert not is_shown(data, root)


def test_a_link_to_another_node_is_left_alone(tmp_path: Path) -> None:
    data, root = tmp_path / "agent", tmp_path / "kubelet"
    other = tmp_path / "other"
    other.mkdir()
    root.symlink_to(other)
    assert prepare(data, root).shown == data
    assert root.readlink() == other


def test_without_a_link_drivers_get_the_true_path(tmp_path: Path) -> None:
    assert prepare(tmp_path, tmp_path).shown == tmp_path
