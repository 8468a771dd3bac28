"""The files of pods on a real disk."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import convert

from kubelite.api.kinds.core.pods import Pod
from kubelite.node import pod_files
from kubelite.node.pod_files import ClaimedFolder, HostFiles, VolumeFiles
from kubelite.node.pod_memory import PodMemory

VOLUMES: list[dict[str, Any]] = [
    {"name": "scratch", "emptyDir": {}},
    {"name": "fast", "emptyDir": {"medium": "Memory"}},
    {"name": "data", "persistentVolumeClaim": {"claimName": "claim"}},
]


def memory(data: Path) -> PodMemory:
    log, layer = data / "0.log", data / "layer"
    log.write_bytes(b"x" * 8192)
    layer.mkdir()
    record = SimpleNamespace(
        name="app", attempt=0, is_sandbox=False, layer_path=str(layer), log_path=str(log)
    )
    spec = {"volumes": VOLUMES, "containers": [{"name": "app"}]}
    pod = convert({"metadata": {"name": "p", "uid": "u"}, "spec": spec}, Pod)
    return cast("PodMemory", SimpleNamespace(uid="u", current=pod, records={"c": record}))


@pytest.mark.parametrize("seconds", [0.0, 60.0])
async def test_files_are_counted_once_for_all_who_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(pod_files, "SHARED_SECONDS", seconds)
    home = tmp_path / "pods" / "u" / "volumes" / "kubernetes.io~empty-dir"
    for name in ("scratch", "fast"):
        (home / name).mkdir(parents=True)
        (home / name / "file").write_bytes(b"x" * 4096)
    claims = {"data": ClaimedFolder("claim", tmp_path)}
    files = HostFiles(tmp_path, lambda uid: claims if uid == "u" else {})
    known = memory(tmp_path)
    first, second = await asyncio.gather(files([known]), files([known]))
    assert (first is second) is (seconds > 0)
    found = first["u"]
    volumes = {volume.name: volume for volume in found.volumes}
    assert set(volumes) == {"scratch", "fast", "data"}
    assert volumes["data"].use is None
    assert volumes["data"].claim == "claim"
    scratch, logs, root = (
        volumes["scratch"].use,
        found.containers["app"].logs,
        found.containers["app"].root,
    )
    assert scratch is not None
    assert logs is not None
    assert root is not None
    assert scratch.inodes == 2
    assert all(volume.filesystem is not None for volume in found.volumes)
    # What is in memory takes no disk.
    assert found.disk == scratch + logs + root


async def test_what_drivers_say_of_volumes_is_asked_once_for_all(tmp_path: Path) -> None:
    asked = []

    async def statistics(uid: str) -> tuple[VolumeFiles, ...]:
        asked.append(uid)
        return (VolumeFiles("disk", None, None, "claim", is_abnormal=True),)

    files = HostFiles(tmp_path, lambda _: {}, statistics)
    known = memory(tmp_path)
    for _ in range(2):
        found = (await files([known]))["u"]
        assert [one.is_abnormal for one in found.volumes if one.name == "disk"] == [True]
    assert asked == ["u"]
