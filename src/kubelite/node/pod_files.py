"""What the files of pods take on disk, and how full their volumes are: for /stats/summary.

Counting walks whole folders, so what was counted is shared for SHARED_SECONDS by all who ask.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from kubelite.node.eviction.disk_usage import disk_use
from kubelite.node.eviction.observations import ContainerFootprint, DiskUse
from kubelite.node.eviction.readings import PodPlaces, places_of, with_files
from kubelite.node.pod_memory import PodMemory
from kubelite.node.trusted_text import path_name
from kubelite.node.usage_files import Filesystem, read_filesystem

SHARED_SECONDS = 60.0  # as of the kubelet's --volume-stats-agg-period


class ClaimedFolder(Struct, frozen=True):
    """A folder that a claim of a pod is bound to."""

    claim: str
    path: Path


class VolumeFiles(Struct, frozen=True):
    """A volume; `use` is None where only its file system knows."""

    name: str
    use: DiskUse | None
    filesystem: Filesystem | None
    claim: str = ""
    is_abnormal: bool | None = None  # as far as its driver tells


Statistics = Callable[[str], Awaitable[tuple[VolumeFiles, ...]]]  # of a pod's uid


class PodFiles(Struct, frozen=True):
    """The files of one pod."""

    containers: Mapping[str, ContainerFootprint] = {}
    volumes: tuple[VolumeFiles, ...] = ()
    disk: DiskUse = DiskUse()  # of the node's disk, all together


Files = Mapping[str, PodFiles]  # by pod uid
ClaimsOf = Callable[[str], Mapping[str, ClaimedFolder]]  # of a pod's uid; by volume


class _Wanted(Struct, frozen=True):
    places: PodPlaces
    in_memory: tuple[tuple[str, Path], ...]
    claims: Mapping[str, ClaimedFolder]


class HostFiles:
    """The files of the pods of this machine."""

    def __init__(
        self, data: Path, claims_of: ClaimsOf, statistics: Statistics | None = None
    ) -> None:
        """`data` is the node's folder; `statistics` asks the drivers of a pod's volumes."""
        self._statistics = statistics
        self._data = data
        self._claims_of = claims_of
        self._turn = asyncio.Lock()
        self._files: Files = {}
        self._counted_at: float | None = None  # by the loop's time

    async def __call__(self, memories: Iterable[PodMemory]) -> Files:
        """Return files that were counted at most SHARED_SECONDS ago."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if self._counted_at is None or loop.time() - self._counted_at >= SHARED_SECONDS:
                wanted = [self._wanted(memory) for memory in memories if memory.current]
                files = await asyncio.to_thread(_count, wanted)
                self._files = await self._with_statistics(files)
                self._counted_at = loop.time()
            return self._files

    async def _with_statistics(self, files: Files) -> Files:
        ask = self._statistics
        if ask is None:
            return files
        found = await asyncio.gather(*(ask(uid) for uid in files))
        return {
            uid: msgspec.structs.replace(one, volumes=(*one.volumes, *asked))
            for (uid, one), asked in zip(files.items(), found, strict=True)
        }

    def _wanted(self, memory: PodMemory) -> _Wanted:
        pod = memory.current
        assert pod is not None
        home = self._data / "pods" / path_name(memory.uid, "uid of the pod") / "volumes"
        in_memory = [
            (volume.name, home / "kubernetes.io~empty-dir" / path_name(volume.name, "volume"))
            for volume in pod.spec.volumes
            if volume.emptyDir is not None and volume.emptyDir.medium == "Memory"
        ]
        places = places_of(self._data, pod, memory)
        return _Wanted(places, tuple(in_memory), dict(self._claims_of(memory.uid)))


def _count(wanted: Iterable[_Wanted]) -> Files:
    """Count the files of pods. Blocking."""
    found = {}
    for one in wanted:
        uid, footprints = one.places.uid, with_files({}, [one.places])
        footprint = footprints[uid]
        folders = dict(one.places.volumes)
        volumes = [
            VolumeFiles(name, use, read_filesystem(folders[name]))
            for name, use in footprint.volumes.items()
        ]
        volumes += [
            VolumeFiles(name, disk_use(folder), read_filesystem(folder))
            for name, folder in one.in_memory
        ]
        volumes += [
            VolumeFiles(name, None, read_filesystem(claimed.path), claimed.claim)
            for name, claimed in one.claims.items()
        ]
        containers = {container.name: container for container in footprint.containers}
        found[uid] = PodFiles(containers, tuple(volumes), footprint.disk)
    return found
