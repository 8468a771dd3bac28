"""The writable layers of containers are found in the host's mounts."""

from pathlib import Path
from typing import Any

import pytest

from kubelite.node.cri.layers import Layers, layer_in, overlays_in, root_of

ID = "ab" * 32
UPPER = "/data/snapshots/7/fs"
LINE = (
    f"80 29 0:55 / /run/task/k8s.io/{ID}/rootfs rw,relatime shared:1 - overlay overlay "
    f"rw,lowerdir=/a:/b,upperdir={UPPER},workdir=/data/snapshots/7/work\n"
)
OTHERS = (
    "29 1 254:0 / / rw - ext4 /dev/root rw\n"
    "81 29 0:56 / /plain rw - overlay overlay ro,lowerdir=/a:/b\n"
    "82 29 0:57 / /relative rw - overlay overlay rw,upperdir=fs,workdir=w\n"
    r"83 29 0:58 / /with\040blank rw - overlay overlay rw,upperdir=/up\054per,workdir=/w" + "\n"
    "broken\n"
    " - overlay\n"
)


def test_only_overlays_with_an_upper_folder_count() -> None:
    found = overlays_in(OTHERS + LINE)
    assert found == {f"/run/task/k8s.io/{ID}/rootfs": UPPER, "/with blank": "/up,per"}


@pytest.mark.parametrize(
    ("root", "found"),
    [("rootfs", UPPER), ("", UPPER), ("/store/merged", "/store/diff")],
)
def test_a_layer_is_found_by_the_root_or_by_the_id(root: str, found: str) -> None:
    overlays = {f"/run/task/k8s.io/{ID}/rootfs": UPPER, "/store/merged": "/store/diff"}
    assert layer_in(overlays, ID, root) == found
    assert layer_in(overlays, "cd" * 32, "rootfs") == ""


@pytest.mark.parametrize(
    ("details", "root"),
    [
        ({"runtimeSpec": {"root": {"path": "/merged"}}}, "/merged"),
        ({"runtimeSpec": {"root": {"path": 7}}}, ""),
        ({"runtimeSpec": {"root": None}}, ""),
        ({"runtimeSpec": []}, ""),
        ({}, ""),
    ],
)
def test_the_root_stands_in_the_details(details: dict[str, Any], root: str) -> None:
    assert root_of(details) == root


async def test_a_layer_is_remembered_after_the_end_and_until_the_removal(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(LINE)
    layers = Layers(mounts)
    assert await layers.of(ID, {}, is_running=False) == ""
    assert await layers.of(ID, {}, is_running=True) == UPPER
    mounts.write_text("")
    assert await layers.of(ID, {}, is_running=False) == UPPER
    layers.forget(ID)
    assert await layers.of(ID, {}, is_running=False) == ""


async def test_one_reading_serves_all_that_run(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    other = "cd" * 32
    mounts.write_text(LINE + LINE.replace(ID, other).replace("/7/", "/8/"))
    layers = Layers(mounts)
    await layers.of(ID, {}, is_running=True)
    mounts.unlink()
    assert await layers.of(other, {}, is_running=True) == "/data/snapshots/8/fs"
    assert await layers.of("ef" * 32, {}, is_running=True) == ""
