"""Folders of emptyDir volumes by medium."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import EmptyDirVolumeSource
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.volumes.empty_dir import make_empty_dir, memory_size, page_size
from kubelite.node.volumes.tmpfs import unmount

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
GIB = 1 << 30


def pod(*resources: dict[str, Any], **spec: Any) -> Pod:
    containers = [
        {"name": f"c{index}", "resources": found} for index, found in enumerate(resources)
    ]
    return convert({"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}, Pod)


def pages(*sizes: str) -> dict[str, Any]:
    return {"requests": {f"hugepages-{size}": size for size in sizes}}


@pytest.mark.parametrize(
    ("limit", "memory", "allocatable", "size"),
    [
        ("2Gi", "4Gi", "8Gi", 2 * GIB),
        ("6Gi", "4Gi", "8Gi", 4 * GIB),
        (None, "4Gi", "8Gi", 4 * GIB),
        (None, None, "8Gi", 8 * GIB),
        ("0", None, "8Gi", 8 * GIB),
        ("16Gi", None, "8Gi", 8 * GIB),
        (None, None, None, 0),
    ],
)
def test_memory_is_limited_by_whatever_is_least(
    limit: str | None, memory: str | None, allocatable: str | None, size: int
) -> None:
    resources = {"limits": {"memory": memory}} if memory else {}
    node = {"memory": allocatable} if allocatable else {}
    source = EmptyDirVolumeSource(medium="Memory", sizeLimit=limit)
    assert memory_size(source, pod(resources), node) == size


@pytest.mark.parametrize(
    ("medium", "asked", "size"),
    [
        ("HugePages", (pages("2Mi"), {}), 2 << 20),
        ("HugePages-2Mi", (pages("2Mi", "1Gi"),), 2 << 20),
        ("HugePages-1Gi", (pages("2Mi", "1Gi"),), 1 << 30),
    ],
)
def test_the_size_of_huge_pages(medium: str, asked: tuple[dict[str, Any], ...], size: int) -> None:
    assert page_size(medium, pod(*asked)) == size


@pytest.mark.parametrize(
    ("medium", "asked", "message"),
    [
        ("HugePages", ({},), "there is no resource request for huge pages"),
        ("HugePages-1Gi", (pages("2Mi"),), "there is no resource request for huge pages"),
        ("HugePages", (pages("2Mi", "1Gi"),), "multiple huge page sizes"),
    ],
)
def test_huge_pages_that_no_container_requests_are_refused(
    medium: str, asked: tuple[dict[str, Any], ...], message: str
) -> None:
    with pytest.raises(ConfigUnavailable, match=message):
        page_size(medium, pod(*asked))


@ROOT
def test_memory_is_a_file_system_of_that_size(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    source = EmptyDirVolumeSource(medium="Memory")
    made = pod({}, securityContext={"fsGroup": 77})
    try:
        for _ in range(2):
            make_empty_dir(folder, source, made, 4 << 20)
        state, room = folder.stat(), os.statvfs(folder)
        assert (state.st_gid, stat.S_IMODE(state.st_mode)) == (77, 0o2777)
        assert room.f_blocks * room.f_frsize == 4 << 20
    finally:
        unmount(folder)
    assert not folder.is_mount()  # mounted once


@ROOT
@pytest.mark.skipif(
    not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").is_dir(), reason="no pages of 2 MiB"
)
def test_huge_pages_are_mounted_and_sizes_that_the_kernel_lacks_refused(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    make_empty_dir(folder, EmptyDirVolumeSource(medium="HugePages"), pod(pages("2Mi")), 0)
    try:
        assert os.statvfs(folder).f_bsize == 2 << 20
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777
    finally:
        unmount(folder)
    with pytest.raises(ConfigUnavailable, match="cannot mount huge pages of 3Mi"):
        make_empty_dir(
            tmp_path / "w", EmptyDirVolumeSource(medium="HugePages"), pod(pages("3Mi")), 0
        )


def test_a_crash_before_the_mode_is_set_leaves_no_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "v"

    def fail(*_: object) -> None:
        raise OSError("crash")

    with monkeypatch.context() as patched:
        patched.setattr("os.fchmod", fail)
        with pytest.raises(OSError, match="crash"):
            make_empty_dir(folder, EmptyDirVolumeSource(), pod({}), 0)
    assert not folder.exists()
    make_empty_dir(folder, EmptyDirVolumeSource(), pod({}), 0)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777


def test_a_pod_with_a_container_without_a_limit_has_none() -> None:
    source, limit = EmptyDirVolumeSource(medium="Memory"), {"limits": {"memory": "1Gi"}}
    assert memory_size(source, pod(limit, limit), {}) == 2 * GIB
    assert memory_size(source, pod(limit, {}), {}) == 0
    assert memory_size(source, pod({}, {}, resources=limit), {}) == GIB
