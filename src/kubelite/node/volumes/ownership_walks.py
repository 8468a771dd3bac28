"""Gives volumes to fsGroups in threads, few at a time, and tells when one takes long."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.core.pods import Pod
from kubelite.limits import VOLUME_WALKS
from kubelite.node.volumes.ownership import give

FIRST_REPORT_SECONDS, REPORT_SECONDS = 30.0, 60.0
IN_PROGRESS = "VolumePermissionChangeInProgress"
Tell = Callable[[Pod, str, str], None]  # a pod, the reason and message of a warning


class OwnershipWalks:
    """The walks of one node."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(VOLUME_WALKS.value)

    async def give(self, pod: Pod, path: Path, group: int, policy: str, tell: Tell) -> None:
        """Give the files of a volume to a group. Raises OSError."""
        if self._turns.locked():
            VOLUME_WALKS.reached()
        async with self._turns:
            count, loop = _Count(), asyncio.get_running_loop()
            work = loop.run_in_executor(None, give, path, group, policy, count.add)
            wait = FIRST_REPORT_SECONDS
            while not (await asyncio.wait([work], timeout=wait))[0]:
                tell(pod, IN_PROGRESS, _progress(path, count.files, is_first=wait < REPORT_SECONDS))
                wait = REPORT_SECONDS
            await work


class _Count:
    """Files that a thread has changed so far."""

    def __init__(self) -> None:
        self.files = 0

    def add(self) -> None:
        """Count one."""
        self.files += 1


def _progress(path: Path, files: int, *, is_first: bool) -> str:
    if not is_first:
        return f"Setting volume ownership for {path}, processed {files} files."
    return (
        f"Setting volume ownership for {path} is taking longer than expected, consider using OnRootMismatch - "
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"
        "#configure-volume-permission-and-ownership-change-policy-for-pods"
    )


def shared_group_message(volume: PersistentVolume, group: int, owner: int) -> str:
    """Return what to tell of a volume that another pod uses with another fsGroup."""
    return (
        f"The requested fsGroup is {group}, but the volume {volume.metadata.name} has GID {owner}. "
        "The volume may not be shareable."
    )
