"""Orders pods for eviction: first those that exceed their requests, by priority, by what they use beyond. Pure.

A pod without figures comes before those with some, as upstream has it.
"""

from collections.abc import Callable, Mapping, Sequence

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.eviction.observations import NO_FILES, DiskUse, Footprints, PodFootprint
from kubelite.node.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    IMAGE_FS,
    IMAGE_FS_INODES,
    MEMORY,
    NODE_FS,
    NODE_FS_INODES,
    PROCESSES,
)
from kubelite.node.resources import pod_requests

Sort = tuple[int, ...]
# What counts of a pod's files for a signal: its containers' writable layers, their logs, its volumes.
ROOT, LOGS, VOLUMES = "root", "logs", "volumes"
_ON_ONE_DISK = frozenset({ROOT, LOGS, VOLUMES})
_COUNTED: Mapping[str, frozenset[str]] = {  # where images have a filesystem of their own
    NODE_FS: frozenset({LOGS, VOLUMES}),
    NODE_FS_INODES: frozenset({LOGS, VOLUMES}),
    IMAGE_FS: frozenset({ROOT}),
    IMAGE_FS_INODES: frozenset({ROOT}),
}


def ranked(
    signal: str, pods: Sequence[Pod], footprints: Footprints, *, dedicated_image_fs: bool
) -> list[Pod]:
    """Return the pods in the order in which they are evicted for a signal."""
    key = _key(signal, dedicated_image_fs)

    def place(pod: Pod) -> Sort:
        footprint = footprints.get(pod.metadata.uid)
        priority = pod.spec.priority or 0
        if signal == PROCESSES:
            return (priority, *((1, -footprint.processes) if footprint else (0, 0)))
        if footprint is None:
            return (0, priority, 0)
        used, requested, beyond = key(pod, footprint)
        return (1 if used > requested else 2, priority, -beyond)

    return sorted(pods, key=place)


def _key(signal: str, dedicated: bool) -> Callable[[Pod, PodFootprint], tuple[int, int, int]]:
    """Return the function to what a pod uses, what it requests, and how much it uses beyond."""
    if signal in (MEMORY, ALLOCATABLE_MEMORY):

        def memory(pod: Pod, footprint: PodFootprint) -> tuple[int, int, int]:
            requested = pod_requests(pod).get("memory", 0)
            return footprint.memory_bytes, requested, footprint.memory_bytes - requested

        return memory
    counted = _COUNTED[signal] if dedicated and signal in _COUNTED else _ON_ONE_DISK
    has_inodes = signal in (NODE_FS_INODES, IMAGE_FS_INODES)

    def disk(pod: Pod, footprint: PodFootprint) -> tuple[int, int, int]:
        use = files_of(footprint, counted)
        if has_inodes:  # which nothing requests
            return use.inodes, 0, use.inodes
        requested = pod_requests(pod).get("ephemeral-storage", 0)
        return use.bytes, requested, use.bytes - requested

    return disk


def files_of(footprint: PodFootprint, counted: frozenset[str]) -> DiskUse:
    """Return what the counted files of a pod take."""
    use = NO_FILES
    for container in footprint.containers:
        if ROOT in counted and container.root is not None:
            use += container.root
        if LOGS in counted and container.logs is not None:
            use += container.logs
    if VOLUMES in counted:
        use = sum(footprint.volumes.values(), use)
    return use
