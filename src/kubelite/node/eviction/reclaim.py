"""What a node can give up before it ends pods: containers that have ended, and images that nothing uses."""

from collections.abc import Sequence
from typing import Protocol

from kubelite.node.eviction.thresholds import IMAGE_FS, IMAGE_FS_INODES, NODE_FS, NODE_FS_INODES


class ReclaimsImages(Protocol):
    """Deletes the images that no container uses."""

    async def reclaim(self) -> int:
        """Return how many bytes were freed. Raises EngineUnavailable and RuntimeFailure."""
        ...


class ReclaimsContainers(Protocol):
    """Removes the containers that have ended, with their logs."""

    async def reclaim(self) -> int:
        """Return how many bytes were freed, 0 if that is not known. Raises EngineUnavailable and RuntimeFailure."""
        ...


class NothingToReclaim:
    """Frees nothing, as on simulated nodes."""

    async def reclaim(self) -> int:
        """Return 0."""
        return 0


Reclaimer = ReclaimsContainers | ReclaimsImages


def reclaimers_of(
    signal: str,
    containers: ReclaimsContainers,
    images: ReclaimsImages,
    *,
    dedicated_image_fs: bool,
) -> Sequence[Reclaimer]:
    """Return what to call for a signal, in order.

    Containers come first, since an image that only ended ones use can go then. Where images have a filesystem of their
    own nothing of it helps the node's.
    """
    if signal in (IMAGE_FS, IMAGE_FS_INODES):
        return (containers, images)
    if signal in (NODE_FS, NODE_FS_INODES) and not dedicated_image_fs:
        return (containers, images)
    return ()
