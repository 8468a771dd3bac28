"""What a node can give up before it ends pods: containers that have ended, and images that nothing uses."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from kubelite.node.eviction.thresholds import IMAGE_FS, IMAGE_FS_INODES, NODE_FS, NODE_FS_INODES
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import is_terminal

log = logging.getLogger(__name__)

RECLAIM_SECONDS = 30.0  # how long the containers of ended pods are waited for


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


class EndedPods(Protocol):
    """The pods of the node, as the removal of ended containers sees them."""

    memories: dict[str, PodMemory]  # by uid

    def wake(self, uid: str) -> None:
        """Have a pod looked at."""
        ...


class EndedContainers:
    """Removes all containers of pods that have ended but stay in the API, as upstream; those of others come and go.

    The workers of the pods remove them, so that nothing else happens to a pod meanwhile.
    """

    def __init__(self, pods: EndedPods) -> None:
        self._pods = pods

    async def reclaim(self) -> int:
        """Return 0, since the bytes are not known, after RECLAIM_SECONDS at most."""
        ended = [one for one in self._pods.memories.values() if one.records and _has_ended(one)]
        for memory in ended:
            memory.gives_up_containers = True
            self._pods.wake(memory.uid)
        try:
            async with asyncio.timeout(RECLAIM_SECONDS):
                for memory in ended:
                    await memory.reclaimed()
        except TimeoutError:
            log.warning("containers of ended pods were not removed in time")
        return 0


def _has_ended(memory: PodMemory) -> bool:
    return memory.current is not None and is_terminal(memory.current)


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
