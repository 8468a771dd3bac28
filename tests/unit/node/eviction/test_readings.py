"""Where the files of pods lie, and what is counted of them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kubelite.api.kinds.core.pods import Pod
from kubelite.clock import SystemClock
from kubelite.node.eviction import readings as module
from kubelite.node.eviction.observations import PodFootprint
from kubelite.node.eviction.readings import (
    HostReadings,
    MeasuredReadings,
    PodPlaces,
    places_of,
    with_files,
)
from kubelite.node.pod_memory import PodMemory
from kubelite.node.runtime import ContainerRecord, EngineUnavailable, Usage
from kubelite.node.usage import ContainerUsage, Measurement, PodUsage
from kubelite.node.usage_files import GroupFiles

AT = datetime(2026, 1, 1, tzinfo=UTC)
RECORD = ContainerRecord(
    "id", "u", "p", "d", "app", 0, "running", AT, layer_path="/l", log_path="/log"
)


def pod(*volumes: dict[str, Any]) -> Pod:
    body = {
        "metadata": {"name": "p", "namespace": "d", "uid": "u"},
        "spec": {"containers": [{"name": "app", "image": "i"}], "volumes": volumes},
    }
    return msgspec.convert(body, Pod)


def memory_of(of: Pod, *records: ContainerRecord) -> PodMemory:
    memory = PodMemory("u")
    memory.pod = of
    for record in records:
        memory.records[record.id] = record
    return memory


def test_places() -> None:
    of = pod(
        {"name": "disk", "emptyDir": {}},
        {"name": "tmpfs", "emptyDir": {"medium": "Memory"}},
        {"name": "settings", "configMap": {"name": "c"}},
        {"name": "host", "hostPath": {"path": "/"}},
    )
    newer = replace(RECORD, id="id2", attempt=1, layer_path="/l2")
    sandbox = replace(RECORD, id="s", name="POD")
    found = places_of(Path("/data"), of, memory_of(of, newer, RECORD, sandbox))
    volumes = Path("/data/pods/u/volumes")
    assert found == PodPlaces(
        "u",
        (
            ("disk", volumes / "kubernetes.io~empty-dir" / "disk"),
            ("settings", volumes / "kubernetes.io~configmap" / "settings"),
        ),
        (("app", "/l2", "/log"),),
    )


def test_files(tmp_path: Path) -> None:
    layer, volume, logs = tmp_path / "layer", tmp_path / "volume", tmp_path / "logs"
    for folder in (layer, volume, logs):
        folder.mkdir()
    (layer / "one").write_bytes(b"x" * 8192)
    (logs / "x-json.log").write_bytes(b"x" * 4096)
    (logs / "x-json.log.1").write_bytes(b"x" * 4096)
    (logs / "config.v2.json").write_bytes(b"x" * 4096)
    place = PodPlaces(
        "u",
        (("v", volume), ("absent", tmp_path / "absent")),
        (("app", str(layer), str(logs / "x-json.log")), ("other", "", "")),
    )
    found = with_files({"u": PodFootprint(7, 3)}, [place])["u"]
    assert (found.memory_bytes, found.processes) == (7, 3)
    app, other = found.containers
    assert (app.root and app.root.inodes, app.logs and app.logs.inodes) == (2, 2)
    assert app.logs is not None
    assert app.logs.bytes >= 8192
    assert (other.root, other.logs) == (None, None)
    assert set(found.volumes) == {"v"}


async def measured(memories: object) -> Measurement:
    del memories
    used = Usage(at=AT, memory_usage_bytes=9, memory_working_set_bytes=5, processes=2)
    return Measurement(
        AT,
        used,
        (PodUsage("u", "d", "p", "", (ContainerUsage(RECORD, used),), used),),
        100,
        processes=(50, 8),
    )


async def test_the_host(tmp_path: Path) -> None:
    async def elsewhere() -> Path | None:
        return Path("/proc")

    readings = HostReadings(
        MeasuredReadings(measured, 80),
        tmp_path,
        SystemClock(),
        elsewhere,
        lambda: GroupFiles(tmp_path, tmp_path),
    )
    found = await readings.node()
    assert (found.memory_bytes, found.use_bytes, found.working_set_bytes) == (100, 9, 5)
    assert (found.allocatable_bytes, found.processes_limit, found.processes) == (80, 50, 8)
    assert found.image_fs is not None  # another filesystem than the node's
    assert found.pods_working_set_bytes is None  # no pod has made the group yet
    of = pod()
    used = await readings.footprints([memory_of(of, RECORD)], with_disk=False)
    assert (used["u"].memory_bytes, used["u"].processes) == (5, 2)
    assert (used["u"].containers[0].memory_bytes, used["u"].containers[0].root) == (5, None)
    counted = await readings.footprints([memory_of(of, RECORD)], with_usage=False, with_disk=True)
    assert counted["u"].memory_bytes == 0


async def test_images_on_the_nodes_filesystem_and_an_engine_that_is_away(tmp_path: Path) -> None:
    async def here() -> Path | None:
        return tmp_path

    async def away() -> Path | None:
        raise EngineUnavailable("gone")

    for folder in (here, away):
        readings = HostReadings(MeasuredReadings(measured), tmp_path, SystemClock(), folder)
        assert (await readings.node()).image_fs is None


async def test_an_engine_that_hangs_does_not_hold_the_round_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENGINE_SECONDS", 0.0)

    async def never() -> Path | None:
        await asyncio.Event().wait()
        return None

    readings = HostReadings(MeasuredReadings(measured), tmp_path, SystemClock(), never)
    assert (await readings.node()).working_set_bytes == 5
