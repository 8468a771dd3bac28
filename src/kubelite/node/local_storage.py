"""Keeps the folders of this node's provisioned volumes: makes them for pods, and removes those of deleted volumes.

The node watches the volumes with its own label, which is all it may see of them. A folder's name is computed from the
volume; the path in the volume must be the one that results, else the volume is not this node's and nothing is touched.
After a folder is gone the node removes the volume's finalizer, and the API server removes the volume.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, NotFound, is_no_answer
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.local_volumes import (
    FINALIZER,
    NODE_LABEL,
    awaits_removal,
    capacity_bytes,
    folder_name,
    keeper_of,
)
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.pods import reference_to
from kubelite.workqueue import WorkQueue

log = logging.getLogger(__name__)

T = TypeVar("T")

WORKERS = 2  # a large folder must not keep small ones waiting
RETRY_MAX_SECONDS = 300.0


class Folders(Protocol):
    """Named folders below one path; all calls block and raise OSError."""

    @property
    def top(self) -> Path:
        """The absolute path that the folders are below."""
        ...

    def make(self, name: str, limit_bytes: int | None) -> bool:
        """Make a folder if it is missing, and limit what it holds; return whether the limit holds."""
        ...

    def has(self, name: str) -> bool:
        """Return whether a folder exists."""
        ...

    def remove(self, name: str) -> None:
        """Remove a folder with its content, if it exists; EBUSY if something is mounted in it."""
        ...


class ForeignFolder(Exception):
    """A volume names another folder than the one that this node keeps for it."""


class LocalStorage:
    """The provisioned volumes of one node."""

    def __init__(
        self,
        node: str,
        client: Client,
        folders: Folders,
        events: EventRecorder,
        *,
        in_thread: bool = True,
    ) -> None:
        """Without `in_thread` the calls of `folders` are made on the loop, for folders that exist only in memory."""
        self._node = node
        self._client = client
        self._folders = folders
        self._events = events
        self._in_thread = in_thread
        self._told_unenforced = False
        # Making and removing one folder exclude each other, else a folder could outlive its volume.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def keeps(self, volume: PersistentVolume) -> bool:
        """Return whether a volume says that this node keeps its folder."""
        return keeper_of(volume) == self._node

    async def prepare(self, volume: PersistentVolume) -> None:
        """Make the folder of a volume that a pod mounts. Raises ConfigUnavailable, APIError and OSError.

        A volume at another path is mounted as it is, and nothing is made for it: the node's storage may have moved.
        """
        try:
            name = self._folder_of(volume)
        except ForeignFolder:
            return
        async with self._lock(volume.metadata.name):
            if await self._is_there(volume, name):
                await self._make(volume, name)

    async def _make(self, volume: PersistentVolume, name: str) -> None:
        limit = capacity_bytes(volume)
        is_enforced = await self._call(lambda: self._folders.make(name, limit))
        if not is_enforced and not self._told_unenforced:
            self._told_unenforced = True
            log.info(
                "sizes of local volumes are not enforced: the file system has no project quota",
                extra={"folder": str(self._folders.top)},
            )

    async def _is_there(self, volume: PersistentVolume, name: str) -> bool:
        """Read a volume again, within its lock, since it may be deleted by now and its folder removed.

        Return False if the API does not answer and the folder is there, which a running pod may go on to use. Raises
        ConfigUnavailable if the volume is deleted, and APIError.
        """
        try:
            current = await self._client.get(PersistentVolume, volume.metadata.name)
        except APIError as error:
            if is_no_answer(error) and await self._call(lambda: self._folders.has(name)):
                return False
            raise
        uid = volume.metadata.uid
        if current.metadata.uid != uid or current.metadata.deletionTimestamp is not None:
            raise ConfigUnavailable(f'persistentvolume "{volume.metadata.name}" is being deleted')
        return True

    def _folder_of(self, volume: PersistentVolume) -> str:
        """Return the name of a volume's folder. Raises ForeignFolder."""
        name, source = folder_name(volume), volume.spec.local
        if not name or source is None or source.path != str(self._folders.top / name):
            path = source.path if source is not None else "none"
            raise ForeignFolder(
                f"path {path} is not the folder that node {self._node} keeps for volume "
                f"{volume.metadata.name}: {self._folders.top / name}"
            )
        return name

    def _lock(self, volume: str) -> asyncio.Lock:
        lock = self._locks.get(volume)
        if lock is None:
            lock = self._locks[volume] = asyncio.Lock()
        return lock

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(work) if self._in_thread else work()

    async def run(self) -> None:
        """Remove the folders of deleted volumes, until cancelled."""
        queue: WorkQueue[str] = WorkQueue(name="local-storage", retry_max_seconds=RETRY_MAX_SECONDS)
        selector = f"{NODE_LABEL}={self._node}"
        mirror = self._client.mirror(PersistentVolume, label_selector=selector)

        def changed(before: PersistentVolume | None, volume: PersistentVolume | None) -> None:
            if volume is None:
                return
            is_resized = before is None or before.spec.capacity != volume.spec.capacity
            if is_resized or awaits_removal(volume, self._node):
                queue.add(volume.metadata.name)

        async def work() -> None:
            while True:
                name = await queue.get()
                try:
                    await self._reconcile(mirror.get(name), name, queue)
                finally:
                    queue.done(name)

        unsubscribe = mirror.subscribe(changed)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(work())
        finally:
            unsubscribe()
            mirror.close()
            queue.close()

    async def _reconcile(
        self, volume: PersistentVolume | None, name: str, queue: WorkQueue[str]
    ) -> None:
        if volume is None or not self.keeps(volume):
            queue.forget(name)
            return
        try:
            if not awaits_removal(volume, self._node):
                await self._resize(volume, queue)
                return
            await self._remove(volume)
        except NotFound:
            pass
        except ForeignFolder as error:
            self._failed(volume, f"{error}; remove the finalizer {FINALIZER} to delete the volume")
        except OSError as error:
            self._failed(volume, f"cannot remove its folder: {error.strerror}")
            queue.retry(name)
            return
        except APIError as error:
            log.warning("cannot report a removed folder: %s", error, extra={"volume": name})
            queue.retry(name)
            return
        queue.forget(name)

    async def _resize(self, volume: PersistentVolume, queue: WorkQueue[str]) -> None:
        """Let the limit of a folder follow its volume's capacity; the folder of a volume never mounted is not made."""
        name = volume.metadata.name
        try:
            folder = self._folder_of(volume)
            async with self._lock(name):
                if await self._call(lambda: self._folders.has(folder)):
                    await self._make(volume, folder)
        except ForeignFolder:
            pass
        except OSError as error:
            log.warning("cannot limit a volume: %s", error, extra={"volume": name})
            queue.retry(name)
            return
        queue.forget(name)

    async def _remove(self, volume: PersistentVolume) -> None:
        meta, folder = volume.metadata, self._folder_of(volume)
        async with self._lock(meta.name):
            await self._call(lambda: self._folders.remove(folder))
            change = {
                "uid": meta.uid,
                "resourceVersion": meta.resourceVersion,
                "finalizers": [name for name in meta.finalizers if name != FINALIZER],
            }
            await self._client.patch(PersistentVolume, meta.name, {"metadata": change})
        log.info("folder of a deleted volume removed", extra={"volume": meta.name})

    def tell(self, pod: Pod, reason: str, message: str) -> None:
        """Record a warning about a volume of a pod."""
        self._events.event(reference_to(pod), WARNING, reason, message)

    def _failed(self, volume: PersistentVolume, reason: str) -> None:
        log.warning("%s", reason, extra={"volume": volume.metadata.name})
        self._events.event(volume, WARNING, "VolumeFailedDelete", reason)
