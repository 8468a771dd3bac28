"""Block devices of pods: pinned by descriptor, shared by pods, given up at the end."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.loops import needs_loop_devices

from kubelite.node.environment import ConfigUnavailable
from kubelite.node.volumes import loop_devices
from kubelite.node.volumes.block_devices import (
    LocalDevices,
    mark_of,
    open_published,
    pin_device,
    pinned_device,
    unpin_device,
)
from kubelite.node.volumes.tmpfs import unmount_below

pytestmark = needs_loop_devices
LINK = "volumeDevices/kubernetes.io~local-volume/pv-1"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "node"
    folder.mkdir()
    yield folder
    LocalDevices(folder).tear_down("u")
    LocalDevices(folder).tear_down("v")
    unmount_below(folder)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as opened:
        opened.truncate(1 << 20)
    return path


def node_of(path: Path) -> int:
    state = path.lstat()
    assert stat.S_ISBLK(state.st_mode)
    return state.st_rdev


def backing(number: int) -> tuple[int, int]:
    (found,) = [one.file for one in loop_devices.attached() if node_of(one.path) == number]
    return found


def test_a_file_is_a_device_of_its_pods_until_the_last_one_ends(root: Path, disk: Path) -> None:
    local = LocalDevices(root)
    local.set_up("u", "pv-1", str(disk))
    local.set_up("u", "pv-1", str(disk))
    number = node_of(local.pinned("u", "pv-1"))
    state = disk.stat()
    assert backing(number) == (state.st_dev, state.st_ino)
    assert (root / "pods/u" / LINK).readlink() == local.pinned("u", "pv-1")
    again = LocalDevices(root)  # as after a restart
    again.set_up("v", "pv-1", str(disk))
    assert node_of(again.pinned("v", "pv-1")) == number
    again.tear_down("u")
    assert not (root / "pods/u" / LINK).is_symlink()
    assert backing(number) == (state.st_dev, state.st_ino)
    again.tear_down("v")
    again.tear_down("v")
    assert [
        one for one in loop_devices.attached() if one.file == (state.st_dev, state.st_ino)
    ] == []
    assert [path for path in (root / "plugins").rglob("*") if path.name in {"u", "v", "pv-1"}] == []


def test_a_device_of_the_host_stays_attached(root: Path, disk: Path, tmp_path: Path) -> None:
    device = loop_devices.attach(disk, "kubelite-test-host")
    try:
        by_id = tmp_path / "by-id"
        by_id.symlink_to(device)  # as in /dev/disk
        local = LocalDevices(root)
        local.set_up("u", "pv-1", str(by_id))
        assert node_of(local.pinned("u", "pv-1")) == node_of(device)
        local.tear_down("u")
        assert backing(node_of(device)) == (disk.stat().st_dev, disk.stat().st_ino)
    finally:
        loop_devices.detach("kubelite-test-host")


def test_a_running_pod_keeps_its_device_whatever_its_path_leads_to(root: Path, disk: Path) -> None:
    local = LocalDevices(root)
    local.set_up("u", "pv-1", str(disk))
    number = node_of(local.pinned("u", "pv-1"))
    disk.unlink()
    disk.symlink_to("/dev/loop-control")
    local.set_up("u", "pv-1", str(disk))
    assert node_of(local.pinned("u", "pv-1")) == number


@pytest.mark.parametrize("path", ["/dev/null", "/etc"])
def test_what_is_neither_device_nor_file_is_refused(root: Path, path: str) -> None:
    with pytest.raises(ConfigUnavailable, match="is neither a block device nor a file"):
        LocalDevices(root).set_up("u", "pv-1", path)
    assert not (root / "pods/u" / LINK).is_symlink()


def test_a_published_link_is_no_device(root: Path, disk: Path) -> None:
    """Who may write beside a published device could else hand a container a disk of the host."""
    device = loop_devices.attach(disk, "kubelite-test-host")
    published, target = root / "published", root / "pins/u"
    try:
        published.symlink_to(device)
        place = open_published(root, published)
        with pytest.raises(ConfigUnavailable, match="it is not a block device"):
            pin_device(place, root, target)
        os.close(place)
        assert pinned_device(root, target) is None
    finally:
        loop_devices.detach("kubelite-test-host")


def test_a_pin_is_neither_made_nor_removed_through_a_link(root: Path, disk: Path) -> None:
    device = loop_devices.attach(disk, "kubelite-test-host")
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "u").write_text("data")
    (root / "pins").symlink_to(outside)
    place = os.open(device, os.O_PATH)
    try:
        with pytest.raises(OSError, match="Not a directory"):
            pin_device(place, root, root / "pins/u")
        with pytest.raises(OSError, match="Not a directory"):
            unpin_device(root, root / "pins/u")
        assert (outside / "u").read_text() == "data"
    finally:
        os.close(place)
        loop_devices.detach("kubelite-test-host")


def test_a_file_that_holds_data_is_never_removed(root: Path) -> None:
    (root / "u").write_text("data")
    with pytest.raises(OSError, match="holds data"):
        unpin_device(root, root / "u")
    assert (root / "u").read_text() == "data"


def test_all_devices_of_a_node_are_found_by_its_folder_alone(root: Path, disk: Path) -> None:
    """A reset has to detach them when no pod is left that tells which they are."""
    other = root.parent / "node2"
    LocalDevices(root).set_up("u", "pv-1", str(disk))
    loop_devices.detach(mark_of(other))
    number = node_of(LocalDevices(root).pinned("u", "pv-1"))
    assert backing(number)
    loop_devices.detach(mark_of(root))
    assert number not in {node_of(one.path) for one in loop_devices.attached()}
