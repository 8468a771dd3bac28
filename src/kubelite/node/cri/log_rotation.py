"""Rotates the log files that an engine leaves to the node: large ones are renamed, older ones compressed or removed.

Each file has a task that sleeps for as long as nothing is written. One that grows is measured again by the time at
which it will be full, so that a container that writes as fast as it can does not fill the disk between two looks.
Source: pkg/kubelet/logs (container_log_manager.go) for names, numbers and the order of files.
"""

import asyncio
import logging
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from kubelite.clock import Clock
from kubelite.inotify import Inotify
from kubelite.node.cri.log_folder import LogPath, log_path, opened_log_folder
from kubelite.node.cri.rotated_files import compress, rename, restore, size_of
from kubelite.node.log_links import LogLinks, is_own
from kubelite.node.log_policy import LogPolicy
from kubelite.node.runtime import (
    ContainerRecord,
    ContainerRuntime,
    EngineUnavailable,
    RuntimeFailure,
)
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

CHECK_MIN_SECONDS = 0.05  # 100 MB a second are 5 MB more than a file may have
CHECK_MAX_SECONDS = 10.0  # as the kubelet's container-log-monitor-interval


def seconds_to_next_check(grown_bytes: int, seconds: float, left_bytes: int) -> float:
    """Return when a file that has grown in that time is to be measured again: before it is full, within bounds."""
    if grown_bytes <= 0 or seconds <= 0:
        return CHECK_MAX_SECONDS
    full_in = left_bytes * seconds / grown_bytes
    return min(max(full_in, CHECK_MIN_SECONDS), CHECK_MAX_SECONDS)


class RotatedLogs:
    """The names of logs (`PodLogs`), and the rotation of the files that the engine writes there."""

    def __init__(
        self,
        root: Path,
        runtime: ContainerRuntime,
        policy: LogPolicy,
        clock: Clock,
        notices: Inotify,
    ) -> None:
        """`root` is the host's folder for logs."""
        self._root = root
        self._links = LogLinks(root)
        self._runtime = runtime
        self._policy = policy
        self._clock = clock
        self._notices = notices
        self._tasks = TaskSet()
        self._keepers: dict[str, tuple[str, asyncio.Task[None]]] = {}  # pod uid; by container id
        self._rotating = asyncio.Semaphore(1)  # compressing is work for one core at most
        self._warned: set[str] = set()  # container ids

    async def add(self, records: Iterable[ContainerRecord]) -> None:
        """Make the output of containers known, and keep the files of those that run small."""
        records = tuple(records)
        await self._links.add(records)
        for record in records:
            is_kept = self._policy.max_bytes and record.is_running and not record.is_sandbox
            if is_kept and record.id not in self._keepers and is_own(record, self._root):
                task = self._tasks.start(self._keep(record), name=f"log of {record.name}")
                self._keepers[record.id] = record.pod_uid, task

    async def remove(self, record: ContainerRecord) -> None:
        """Remove the files of a container."""
        await self._stop(record.id)
        await self._links.remove(record)

    async def remove_pod(self, pod_uid: str) -> None:
        """Remove all files of a pod."""
        for container_id in [key for key, (uid, _) in self._keepers.items() if uid == pod_uid]:
            await self._stop(container_id)
        await self._links.remove_pod(pod_uid)

    async def close(self) -> None:
        """Stop to rotate; containers go on writing."""
        await self._tasks.stop()

    async def _stop(self, container_id: str) -> None:
        self._warned.discard(container_id)
        _, task = self._keepers.pop(container_id, ("", None))
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self, record: ContainerRecord) -> None:
        """Rotate the files of a container until it has ended."""
        path = log_path(record.log_path)
        loop = asyncio.get_running_loop()
        before, measured_at = 0, loop.time()
        while True:
            try:
                size = await asyncio.to_thread(size_of, path)
                if size is not None and size < self._policy.max_bytes:
                    now = loop.time()
                    grown, seconds = size - before, now - measured_at
                    before, measured_at = size, now
                    await self._until_next_check(path, size, grown, seconds)
                    continue
                if not await self._runs(record):
                    return
                await self._rotate(record, path, has_file=size is not None)
                pause = CHECK_MAX_SECONDS
                if size is not None:  # the new file is full as soon as the one before it was
                    seconds = loop.time() - measured_at
                    pause = seconds_to_next_check(size - before, seconds, self._policy.max_bytes)
            except (OSError, RuntimeFailure, EngineUnavailable) as error:
                if isinstance(error, FileNotFoundError):
                    return  # the folder went with the pod
                self._warn(record, error)
                pause = CHECK_MAX_SECONDS
            before, measured_at = 0, loop.time()
            await asyncio.sleep(pause)

    def _warn(self, record: ContainerRecord, error: Exception) -> None:
        level = logging.DEBUG if record.id in self._warned else logging.WARNING
        self._warned.add(record.id)
        about = {"container": record.name, "pod": record.pod_key}
        log.log(level, "cannot rotate the log of a container: %s", error, extra=about)

    async def _until_next_check(self, path: LogPath, size: int, grown: int, seconds: float) -> None:
        if grown > 0:
            left = self._policy.max_bytes - size
            await asyncio.sleep(seconds_to_next_check(grown, seconds, left))
            return
        folder = await asyncio.to_thread(_opened, path)
        try:
            with self._notices.armed(folder) as changed:
                # What was written before the wait was armed is not told.
                if await asyncio.to_thread(size_of, path) == size:
                    await changed
        finally:
            os.close(folder)
        await asyncio.sleep(CHECK_MIN_SECONDS)

    async def _runs(self, record: ContainerRecord) -> bool:
        found = await self._runtime.inspect(record.id)
        return found is not None and found.is_running

    async def _rotate(self, record: ContainerRecord, path: LogPath, *, has_file: bool) -> None:
        """Begin a new file; one that is missing was renamed by a rotation that was cut short."""
        async with self._rotating:
            now = self._clock.now()
            renamed = await asyncio.to_thread(self._rename, path, now) if has_file else ""
            try:
                await self._runtime.rotate_log(record.id)
            except (EngineUnavailable, RuntimeFailure):
                if renamed:
                    await asyncio.to_thread(restore, path, renamed)
                raise
            try:
                await asyncio.to_thread(compress, path, renamed)
            except (
                OSError
            ) as error:  # as on a full disk; the next rotation removes what is too much
                self._warn(record, error)

    def _rename(self, path: LogPath, now: datetime) -> str:
        return rename(path, self._policy, now)


def _opened(path: LogPath) -> int:
    with opened_log_folder(path) as folder:
        return os.dup(folder)
