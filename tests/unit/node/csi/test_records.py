"""Data files of CSI volumes: written before a mount, found again after a restart."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubelite.limits import CSI_RECORD
from kubelite.node.csi.paths import KubeletFolders
from kubelite.node.csi.records import (
    VolumeRecord,
    all_owed,
    all_published,
    all_staged,
    owe,
    published_records,
    read_record,
    remove_record,
    write_record,
)
from kubelite.node.environment import ConfigUnavailable

DRIVER = "disk.example.com"


@pytest.fixture
def folders(tmp_path: Path) -> KubeletFolders:
    return KubeletFolders(tmp_path, Path("/var/lib/kubelet"))


def record(handle: str = "vol-1", **fields: Any) -> VolumeRecord:
    return VolumeRecord(driver=DRIVER, handle=handle, **fields)


def test_the_layout_is_the_one_that_drivers_parse(folders: KubeletFolders) -> None:
    published = folders.published("u", "pv-1")
    assert folders.as_shown(published / "mount") == (
        "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/pv-1/mount"
    )
    staged = folders.as_shown(folders.staged(DRIVER, "vol-1") / "globalmount")
    head, name, tail = staged.rsplit("/", 2)
    assert (head, tail) == (
        f"/var/lib/kubelet/plugins/kubernetes.io/csi/{DRIVER}",
        "globalmount",
    )
    assert len(name) == 64
    for bad in ("..", "a/b", ""):
        with pytest.raises(ConfigUnavailable):
            folders.published("u", bad)
        with pytest.raises(ConfigUnavailable):
            folders.staged(bad, "vol-1")


def test_a_data_file_has_upstreams_keys(folders: KubeletFolders) -> None:
    place = folders.published("u", "pv-1")
    written = record(name="pv-1", node="one", attachment="csi-1", lifecycle="Persistent")
    write_record(place, written)
    assert json.loads((place / "vol_data.json").read_text()) == {
        "driverName": DRIVER,
        "volumeHandle": "vol-1",
        "specVolID": "pv-1",
        "nodeName": "one",
        "attachmentID": "csi-1",
        "volumeLifecycleMode": "Persistent",
    }
    assert read_record(place) == written
    assert list(published_records(folders, "u")) == [("pv-1", written)]
    remove_record(place)
    assert not place.exists()
    remove_record(place)


def test_everything_is_found_again(folders: KubeletFolders) -> None:
    for uid in ("u", "v"):
        write_record(folders.published(uid, "pv-1"), record(name="pv-1"))
    write_record(folders.staged(DRIVER, "vol-1"), record())
    (folders.pods / "w").mkdir()
    (folders.plugins / DRIVER).mkdir()
    owe(folders, record(target="/var/lib/kubelet/pods/x/mount"))
    owe(folders, record(target="/var/lib/kubelet/pods/x/mount"))
    assert [(uid, name) for uid, name, _ in all_published(folders)] == [
        ("u", "pv-1"),
        ("v", "pv-1"),
    ]
    assert list(all_staged(folders)) == [record()]
    assert [one.target for _, one in all_owed(folders)] == ["/var/lib/kubelet/pods/x/mount"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"driverName": 3}', "x" * (CSI_RECORD.value + 1)]
)
def test_a_file_that_is_no_record_is_passed_over(folders: KubeletFolders, text: str) -> None:
    place = folders.published("u", "pv-1")
    place.mkdir(parents=True)
    (place / "vol_data.json").write_text(text)
    assert read_record(place) is None
    assert list(all_published(folders)) == []


def test_a_link_is_not_followed(folders: KubeletFolders, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_record(other, record())
    place = folders.published("u", "pv-1")
    place.mkdir(parents=True)
    (place / "vol_data.json").symlink_to(other / "vol_data.json")
    assert read_record(place) is None


def test_nothing_is_found_where_nothing_is(folders: KubeletFolders) -> None:
    assert list(all_published(folders)) == []
    assert list(all_staged(folders)) == []
    assert list(all_owed(folders)) == []
