"""Reads what the node has left and what its pods use. The host's figures are read in threads."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from glob import escape
from pathlib import Path
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.kinds.core.pods import Pod
from kubelite.clock import Clock
from kubelite.node.eviction.disk_usage import disk_use, file_use
from kubelite.node.eviction.observations import (
    NO_FILES,
    ContainerFootprint,
    DiskUse,
    Footprints,
    NodeReadings,
    PodFootprint,
)
from kubelite.node.pod_memory import PodMemory
from kubelite.node.runtime import ContainerRecord, EngineUnavailable, RuntimeFailure, Usage
from kubelite.node.trusted_text import path_name
from kubelite.node.usage import Measure, Measurement, PodUsage
from kubelite.node.usage_files import Filesystem, GroupFiles, read_filesystem

ENGINE_SECONDS = 2.0
FindFolder = Callable[[], Awaitable[Path | None]]


class Readings(Protocol):
    """Measures a node and its pods."""

    async def node(self) -> NodeReadings:
        """Return the node's figures, which are cheap to read."""
        ...

    async def footprints(
        self, memories: Iterable[PodMemory], *, with_usage: bool = True, with_disk: bool
    ) -> Footprints:
        """Return what pods use, by uid; their files on disk are expensive to count."""
        ...


class MeasuredReadings:
    """The figures without the host's files: for simulated nodes, and as a part of the host's."""

    def __init__(self, measure: Measure, allocatable_bytes: int = 0) -> None:
        """`allocatable_bytes` is the memory that all pods together may use; 0: not limited."""
        self._measure = measure
        self._allocatable_bytes = allocatable_bytes

    async def node(self) -> NodeReadings:
        """Return the node's figures without those of its pods' group and images."""
        found = await self._measure(())
        machine = found.machine
        limit, processes = found.processes
        return NodeReadings(
            memory_bytes=found.memory_bytes,
            use_bytes=machine.memory_usage_bytes if machine is not None else 0,
            working_set_bytes=machine.memory_working_set_bytes if machine is not None else None,
            allocatable_bytes=self._allocatable_bytes,
            node_fs=found.filesystem,
            processes_limit=limit,
            processes=processes,
        )

    async def footprints(
        self, memories: Iterable[PodMemory], *, with_usage: bool = True, with_disk: bool
    ) -> Footprints:
        """Return what pods use without their files."""
        del with_disk
        return _used(await self._measure(memories)) if with_usage else {}


class HostReadings:
    """The figures of this machine."""

    def __init__(
        self,
        measured: MeasuredReadings,
        data: Path,
        clock: Clock,
        image_folder: FindFolder,
        groups: Callable[[], GroupFiles] = GroupFiles,
    ) -> None:
        """`data` is the node's folder; `image_folder` finds that of the engine's images, None if it is unknown."""
        self._measured = measured
        self._data = data
        self._clock = clock
        self._image_folder = image_folder
        self._groups = groups

    async def node(self) -> NodeReadings:
        """Return the node's figures."""
        readings = await self._measured.node()
        try:
            # An engine that hangs must not keep the node from seeing that its memory runs out.
            async with asyncio.timeout(ENGINE_SECONDS):
                images = await self._image_folder()
        except (EngineUnavailable, RuntimeFailure, TimeoutError):
            images = None  # its filesystem is looked at again when it answers
        pods, image_fs = await asyncio.to_thread(self._read, images)
        return replace(
            readings,
            image_fs=image_fs,
            pods_use_bytes=pods.memory_usage_bytes if pods is not None else 0,
            pods_working_set_bytes=pods.memory_working_set_bytes if pods is not None else None,
        )

    def _read(self, images: Path | None) -> tuple[Usage | None, Filesystem | None]:
        pods = self._groups().pods(self._clock.now())
        if images is None or not _is_elsewhere(images, self._data):
            return pods, None
        return pods, read_filesystem(images)

    async def footprints(
        self, memories: Iterable[PodMemory], *, with_usage: bool = True, with_disk: bool
    ) -> Footprints:
        """Return what pods use, by uid."""
        listed = list(memories)
        found = await self._measured.footprints(listed, with_usage=with_usage, with_disk=False)
        if not with_disk:
            return found
        places = [places_of(self._data, one.current, one) for one in listed if one.current]
        return await asyncio.to_thread(lambda: with_files(found, places))


class PodPlaces(Struct, frozen=True):
    """Where a pod has files on the node's disk."""

    uid: str
    volumes: tuple[tuple[str, Path], ...]  # name, folder
    containers: tuple[
        tuple[str, str, str], ...
    ]  # name, folder of the writable layer, log; "" unknown


def places_of(data: Path, pod: Pod, memory: PodMemory) -> PodPlaces:
    """Return where a pod has files; a volume of emptyDir in memory takes no disk."""
    home = data / "pods" / path_name(memory.uid, "uid of the pod") / "volumes"
    volumes = []
    for volume in pod.spec.volumes:
        kind = ""
        if volume.emptyDir is not None and volume.emptyDir.medium != "Memory":
            kind = "empty-dir"
        elif volume.configMap is not None:
            kind = "configmap"
        if kind:
            folder = home / f"kubernetes.io~{kind}" / path_name(volume.name, "name of the volume")
            volumes.append((volume.name, folder))
    newest: dict[str, ContainerRecord] = {}
    for record in sorted(memory.records.values(), key=lambda one: one.attempt):
        if not record.is_sandbox:
            newest[record.name] = record
    containers = tuple(
        (record.name, record.layer_path, record.log_path) for record in newest.values()
    )
    return PodPlaces(memory.uid, tuple(volumes), containers)


def with_files(found: Footprints, places: Iterable[PodPlaces]) -> Footprints:
    """Return footprints with the files of pods counted. Blocking."""
    counted = dict(found)
    for place in places:
        known = counted.get(place.uid, PodFootprint())
        memory = {one.name: one.memory_bytes for one in known.containers}
        containers = tuple(
            ContainerFootprint(
                name,
                memory.get(name),
                disk_use(Path(layer)) if layer else None,
                _logs(Path(log)) if log else None,
            )
            for name, layer, log in place.containers
        )
        volumes = {
            name: use for name, folder in place.volumes if (use := disk_use(folder)) is not None
        }
        counted[place.uid] = PodFootprint(known.memory_bytes, known.processes, containers, volumes)
    return counted


def _logs(newest: Path) -> DiskUse:
    """Return what a log and its rotated files take: those whose name begins like its own."""
    use = NO_FILES
    for path in newest.parent.glob(f"{escape(newest.name)}*"):
        use += file_use(path)
    return use


def _is_elsewhere(folder: Path, data: Path) -> bool:
    """Return whether a folder is on another filesystem than the node's data."""
    try:
        return folder.stat().st_dev != data.stat().st_dev
    except OSError:
        return False


def _used(found: Measurement) -> dict[str, PodFootprint]:
    return {pod.uid: _of(pod) for pod in found.pods if pod.usage is not None}


def _of(pod: PodUsage) -> PodFootprint:
    assert pod.usage is not None
    return PodFootprint(
        pod.usage.memory_working_set_bytes,
        pod.usage.processes,
        tuple(
            ContainerFootprint(one.record.name, one.usage.memory_working_set_bytes)
            for one in pod.containers
        ),
    )
