"""What eviction decides by: how much of each resource the node has left, and what each pod uses. Plain data."""

from collections.abc import Mapping

from msgspec import Struct

from kubelite.api.machinery.quantity import BINARY, DECIMAL, Quantity
from kubelite.node.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    IMAGE_FS,
    IMAGE_FS_INODES,
    MEMORY,
    NODE_FS,
    NODE_FS_INODES,
    PROCESSES,
)
from kubelite.node.usage_files import Filesystem


class Observation(Struct, frozen=True):
    """How much of a resource is available, of how much; in bytes, inodes or processes."""

    available: int
    capacity: int
    is_bytes: bool = True

    def shown(self) -> str:
        """Return what is available as messages show it."""
        return str(Quantity(self.available, BINARY if self.is_bytes else DECIMAL))


Observations = Mapping[str, Observation]  # by signal; a signal that cannot be measured is absent


class NodeReadings(Struct, frozen=True):
    """The figures of a node at one time; None and 0 where one cannot be read."""

    memory_bytes: int = 0  # of the machine
    use_bytes: int = 0  # of the machine, page cache included
    working_set_bytes: int | None = None  # of the machine
    allocatable_bytes: int = 0  # of memory, for all pods together
    pods_use_bytes: int = 0  # of all pods together, page cache included
    pods_working_set_bytes: int | None = None
    node_fs: Filesystem | None = None
    image_fs: Filesystem | None = None  # None also if it is the node's filesystem
    processes_limit: int = 0
    processes: int = 0


class DiskUse(Struct, frozen=True):
    """What files take on a disk."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: "DiskUse") -> "DiskUse":
        return DiskUse(self.bytes + other.bytes, self.inodes + other.inodes)


NO_FILES = DiskUse()


class ContainerFootprint(Struct, frozen=True):
    """What a container uses; None: not known."""

    name: str
    memory_bytes: int | None = None  # working set
    root: DiskUse | None = None  # its writable layer
    logs: DiskUse | None = None


class PodFootprint(Struct, frozen=True):
    """What a pod uses."""

    memory_bytes: int = 0  # working set
    processes: int = 0
    containers: tuple[ContainerFootprint, ...] = ()
    volumes: Mapping[str, DiskUse] = {}  # by name, of those that take the node's disk

    @property
    def disk(self) -> DiskUse:
        """Return what its containers and volumes take on disks together."""
        parts = [part for one in self.containers for part in (one.root, one.logs) if part]
        return sum((*parts, *self.volumes.values()), NO_FILES)


Footprints = Mapping[str, PodFootprint]  # by pod uid


def observations_of(readings: NodeReadings) -> dict[str, Observation]:
    """Return the observations by signal."""
    found: dict[str, Observation] = {}
    if readings.working_set_bytes is not None and readings.memory_bytes:
        found[MEMORY] = _left(readings.memory_bytes, readings.working_set_bytes)
    if readings.pods_working_set_bytes is not None and readings.allocatable_bytes:
        used = readings.pods_working_set_bytes
        found[ALLOCATABLE_MEMORY] = _left(readings.allocatable_bytes, used)
    if readings.node_fs is not None:
        _filesystem(found, NODE_FS, NODE_FS_INODES, readings.node_fs)
        _filesystem(found, IMAGE_FS, IMAGE_FS_INODES, readings.image_fs or readings.node_fs)
    if readings.processes_limit:
        available = readings.processes_limit - readings.processes
        found[PROCESSES] = Observation(available, readings.processes_limit, is_bytes=False)
    return found


def _left(capacity: int, used: int) -> Observation:
    return Observation(max(capacity - used, 0), capacity)


def _filesystem(found: dict[str, Observation], room: str, inodes: str, of: Filesystem) -> None:
    found[room] = Observation(of.available_bytes, of.capacity_bytes)
    if of.inodes:  # btrfs and others have no fixed number of inodes
        found[inodes] = Observation(of.inodes_free, of.inodes, is_bytes=False)
