"""A node that runs out of memory, disk or processes, on a real engine; its own disk is a small tmpfs."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from integration.node_host import (
    TERM,
    Engine,
    RealNode,
    container,
    engine_folder,
    is_ready,
    needs_engine,
)
from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.pods import Pod
from kubelite.clock import SystemClock
from kubelite.node.cgroups import ROOT
from kubelite.node.eviction import manager as eviction
from kubelite.node.eviction.manager import EvictionManager
from kubelite.node.eviction.memory_notifier import KernelNotifier
from kubelite.node.eviction.readings import HostReadings, MeasuredReadings
from kubelite.node.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    Amount,
    EvictionSettings,
    Threshold,
    parse_thresholds,
)
from kubelite.node.usage import HostMeasure
from kubelite.node.usage_files import GroupFiles, read_filesystem
from kubelite.node.volumes.tmpfs import mount_tmpfs, unmount
from kubelite.randomness import SystemRandomness

pytestmark = [*needs_engine, pytest.mark.timeout(300)]
MIB = 1 << 20
DISK = 96 * MIB
HAS_VERSION_1 = (ROOT / "memory" / "cgroup.event_control").exists()
BURST = {"emptyDir": {}, "name": "v"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    yield from engine_folder()


@pytest.fixture(scope="module")
def small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    mount_tmpfs(disk, DISK)
    try:
        yield disk
    finally:
        with suppress(OSError):
            unmount(disk)


class PressedNode(RealNode):
    """A node with an eviction manager over the real figures of this machine."""

    allocatable_bytes = 0

    async def watch(
        self, thresholds: Sequence[Threshold], transition_seconds: float = 1.0
    ) -> EvictionManager:
        assert self.kubelet is not None
        assert self._tasks is not None
        clock = SystemClock()
        recorder = EventRecorder(self.client, clock, SystemRandomness(), component="kubelet")
        measure = HostMeasure(clock, self.folder, _memory_bytes())
        made = EvictionManager(
            EvictionSettings(tuple(thresholds), 0, transition_seconds),
            self.name,
            self.kubelet.workers,
            HostReadings(
                MeasuredReadings(measure, self.allocatable_bytes),
                self.folder,
                clock,
                self.runtime.image_folder,
            ),
            recorder,
            notifier=KernelNotifier(),
        )
        self.kubelet.workers.admission_checks.append(made.refusal)
        self._tasks.supervise(made.run, name="eviction")
        return made


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@asynccontextmanager
async def running(folder: Path, disk: Path) -> AsyncIterator[PressedNode]:
    engine = Engine(folder)
    await engine.start()
    made = PressedNode(engine, Path(tempfile.mkdtemp(dir=disk)))
    try:
        await made.set_up()
        yield made
        await made.tear_down()
    finally:
        await made.stop()
        await engine.stop()


@pytest.fixture
async def node(folder: Path, small_disk: Path) -> AsyncIterator[PressedNode]:
    async with running(folder, small_disk) as made:
        yield made


def has_ended(pod: Pod) -> bool:
    return pod.status.phase == "Failed"


def writes(mebibytes: int, path: str) -> str:
    return f"dd if=/dev/zero of={path} bs=1M count={mebibytes} 2>/dev/null; {TERM}"


def mounted(script: str, **fields: Any) -> dict[str, Any]:
    return container(script=script, volumeMounts=[{"name": "v", "mountPath": "/v"}], **fields)


async def reason_of(node: RealNode, name: str) -> str:
    pod = await node.until(has_ended, name)
    assert pod.status.reason == "Evicted", pod.status
    return pod.status.message


async def test_a_full_disk_ends_the_pod_that_fills_it_and_gives_its_room_back(
    node: PressedNode,
) -> None:
    quiet = {"containers": [mounted(TERM)], "volumes": [BURST]}
    await node.create(quiet, "quiet")
    await node.until(is_ready, "quiet")
    before = read_filesystem(node.folder)
    manager = await node.watch(parse_thresholds([f"nodefs.available<{DISK // 2 // MIB}Mi"]))
    await node.create({"containers": [mounted(writes(70, "/v/big"))], "volumes": [BURST]}, "hog")
    message = await reason_of(node, "hog")
    assert message.startswith(
        "The node was low on resource: ephemeral-storage. Threshold quantity: 48Mi, available: "
    )
    pod = await node.client.get(Pod, "hog", "default")
    assert [one.reason for one in pod.status.conditions if one.type == "DisruptionTarget"] == [
        "TerminationByKubelet"
    ]
    async with asyncio.timeout(30):
        while manager.conditions:  # the transition period is short here
            await asyncio.sleep(0.1)
    after = read_filesystem(node.folder)
    assert before is not None
    assert after is not None
    assert before.available_bytes - after.available_bytes < MIB
    assert is_ready(await node.client.get(Pod, "quiet", "default"))
    events = await node.events()
    assert "Warning EvictionThresholdMet Attempting to reclaim ephemeral-storage" in events
    assert "Normal NodeHasDiskPressure Node node-1 status is now: NodeHasDiskPressure" in events
    names = node.engine.docker("ps", "-a", "--format", "{{.Names}}")
    assert "hog" not in names


async def test_a_full_disk_refuses_new_pods(node: PressedNode) -> None:
    manager = await node.watch(parse_thresholds(["nodefs.available<95Mi"]))
    (node.folder / "filler").write_bytes(b"x" * 4 * MIB)
    async with asyncio.timeout(30):
        while manager.conditions != ("DiskPressure",):
            await asyncio.sleep(0.1)
    await node.create({"containers": [container(script=TERM)]}, "late")
    assert await reason_of(node, "late") == (
        "Pod was rejected: The node had condition: [DiskPressure]. "
    )
    (node.folder / "filler").unlink()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {
                "containers": [mounted(writes(8, "/v/big"))],
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "4Mi"}}],
            },
            'Usage of EmptyDir volume "v" exceeds the limit "4Mi". ',
        ),
        (
            {
                "containers": [
                    container(
                        script=writes(8, "/tmp/big"),
                        resources={"limits": {"ephemeral-storage": "4Mi"}},
                    )
                ]
            },
            "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ",
        ),
        (
            {
                "containers": [
                    container(
                        script=f"head -c 8000000 /dev/zero | tr '\\0' x | fold -w 99; {TERM}",
                        resources={"limits": {"ephemeral-storage": "4Mi"}},
                    )
                ]
            },
            "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ",
        ),
    ],
    ids=["emptyDir", "layer", "log"],
)
async def test_limits_of_storage(node: PressedNode, spec: dict[str, Any], message: str) -> None:
    await node.create({"containers": [container(script=TERM)]}, "other")
    await node.create(spec, "hog")
    await node.watch(())
    assert await reason_of(node, "hog") == message
    assert is_ready(await node.until(is_ready, "other"))


async def test_the_pod_that_fills_the_memory_of_all_pods_is_ended(node: PressedNode) -> None:
    await node.create({"containers": [container(script=TERM)]}, "quiet")
    await node.until(is_ready, "quiet")
    used = GroupFiles().pods(SystemClock().now())
    assert used is not None
    node.allocatable_bytes = used.memory_working_set_bytes + 160 * MIB
    await node.watch([Threshold(ALLOCATABLE_MEMORY, Amount("80Mi"))])
    memory = {"name": "v", "emptyDir": {"medium": "Memory"}}
    await node.create({"containers": [mounted(writes(120, "/v/big"))], "volumes": [memory]}, "hog")
    message = await reason_of(node, "hog")
    assert message.startswith("The node was low on resource: memory. Threshold quantity: 80Mi, ")
    assert "Container app was using " in message
    async with asyncio.timeout(30):
        while True:  # what its files held comes back with them
            left = GroupFiles().pods(SystemClock().now())
            assert left is not None
            if left.memory_working_set_bytes < used.memory_working_set_bytes + 40 * MIB:
                break
            await asyncio.sleep(0.1)
    assert is_ready(await node.client.get(Pod, "quiet", "default"))


@pytest.mark.skipif(not HAS_VERSION_1, reason="with version 2 the kernel tells of stalls only")
async def test_the_kernel_tells_before_the_next_housekeeping(
    node: PressedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "HOUSEKEEPING_SECONDS", 3600.0)
    memory = {"name": "v", "emptyDir": {"medium": "Memory"}}
    wait = f"while [ ! -e /v/go ]; do sleep 0.2; done; {writes(120, '/v/big')}"
    await node.create({"containers": [mounted(wait)], "volumes": [memory]}, "hog")
    pod = await node.until(is_ready, "hog")
    used = GroupFiles().pods(SystemClock().now())
    assert used is not None
    node.allocatable_bytes = used.memory_working_set_bytes + 160 * MIB
    manager = await node.watch([Threshold(ALLOCATABLE_MEMORY, Amount("80Mi"))])
    while not manager._notifier._watched:  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
    assert manager.conditions == ()
    await node.exec(pod, "touch", "/v/go")
    assert "memory" in await reason_of(node, "hog")


async def test_processes_run_out(node: PressedNode) -> None:
    many = f"for i in $(seq 40); do sleep 1000 & done; {TERM}"
    await node.create({"containers": [container(script=TERM)]}, "few")
    await node.create({"containers": [container(script=many)]}, "many")
    for name in ("few", "many"):
        await node.until(is_ready, name)
    limit, running = GroupFiles().processes()
    # Other programs of the machine come and go, so the threshold is far above what is left.
    await node.watch(parse_thresholds([f"pid.available<{limit - running // 2}"]), 600.0)
    message = await reason_of(node, "many")
    assert message.startswith("The node was low on resource: pids. Threshold quantity: ")
