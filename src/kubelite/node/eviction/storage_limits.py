"""Finds the pods that have more on the node's disk than their limits allow. Pure."""

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.quantity import BINARY, Quantity, canonical_quantity, parse_quantity
from kubelite.node.eviction.messages import (
    container_storage_message,
    empty_dir_message,
    pod_storage_message,
)
from kubelite.node.eviction.observations import NO_FILES, PodFootprint
from kubelite.node.resources import EPHEMERAL_STORAGE, storage_limit


class Excess(Struct, frozen=True):
    """A limit that a pod exceeds."""

    signal: str  # of upstream's metric kubelet_evictions
    message: str


def has_storage_limit(pod: Pod) -> bool:
    """Return whether anything of a pod on disk is limited, so that it has to be measured."""
    return storage_limit(pod) is not None or any(
        volume.emptyDir is not None and volume.emptyDir.sizeLimit for volume in pod.spec.volumes
    )


def excess_of(pod: Pod, footprint: PodFootprint, *, dedicated_image_fs: bool) -> Excess | None:
    """Return the first limit of storage that a pod exceeds, or None.

    Where images have a filesystem of their own, the writable layer of a container does not count for its limit.
    """
    return (
        _empty_dirs(pod, footprint)
        or _pod(pod, footprint)
        or _containers(pod, footprint, dedicated_image_fs)
    )


def _empty_dirs(pod: Pod, footprint: PodFootprint) -> Excess | None:
    for volume in pod.spec.volumes:
        if volume.emptyDir is None or not volume.emptyDir.sizeLimit:
            continue
        limit = parse_quantity(volume.emptyDir.sizeLimit).value()
        used = footprint.volumes.get(volume.name, NO_FILES).bytes
        if 0 < limit < used:
            shown = canonical_quantity(volume.emptyDir.sizeLimit)
            return Excess("emptydirfs.limit", empty_dir_message(volume.name, shown))
    return None


def _pod(pod: Pod, footprint: PodFootprint) -> Excess | None:
    limit = storage_limit(pod)
    if limit is None or footprint.disk.bytes <= limit:
        return None
    return Excess("ephemeralpodfs.limit", pod_storage_message(str(Quantity(limit, BINARY))))


def _containers(pod: Pod, footprint: PodFootprint, dedicated: bool) -> Excess | None:
    limits = {
        one.name: one.resources.limits[EPHEMERAL_STORAGE]
        for one in pod.spec.containers
        if EPHEMERAL_STORAGE in one.resources.limits
    }
    for container in footprint.containers:
        written = limits.get(container.name, "0")
        limit = parse_quantity(written).value()
        used = container.logs or NO_FILES
        if not dedicated:
            used += container.root or NO_FILES
        if 0 < limit < used.bytes:
            message = container_storage_message(container.name, canonical_quantity(written))
            return Excess("ephemeralcontainerfs.limit", message)
    return None
