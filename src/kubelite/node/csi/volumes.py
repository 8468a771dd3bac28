"""Mounts and unmounts the CSI volumes of pods through their drivers.

Order of a mount: listed as in use and attached, staged on the node, published for the pod, given to its fsGroup, grown.
A data file is written before each call that changes something, so that everything is undone after a restart too. A
volume is unstaged, and may be detached, once no pod of the node uses it.

A driver that is away must not keep a pod from ending: its volume is unmounted by the node, and the driver is told so
when it is there again. Until then the volume counts as in use.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol
from weakref import WeakValueDictionary

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume
from kubelite.api.kinds.storage import CSIDriver
from kubelite.api.machinery.csi_volumes import attachment_name, needs_attachment
from kubelite.clock import Clock
from kubelite.grpc.status import GrpcError
from kubelite.limits import CSI_CALLS
from kubelite.node.csi import block
from kubelite.node.csi.attachments import Attachments, VolumeKey
from kubelite.node.csi.driver import Driver, is_away
from kubelite.node.csi.expansion import Expansion
from kubelite.node.csi.messages import (
    Capability,
    NodeExpandVolumeRequest,
    NodeGetVolumeStatsRequest,
    NodePublishVolumeRequest,
    NodeStageVolumeRequest,
    NodeUnpublishVolumeRequest,
    NodeUnstageVolumeRequest,
)
from kubelite.node.csi.paths import KubeletFolders
from kubelite.node.csi.records import (
    VolumeRecord,
    all_owed,
    all_published,
    all_staged,
    owe,
    published_records,
    remove_owed,
    remove_record,
    write_record,
)
from kubelite.node.csi.requests import (
    TOKENS,
    CSISource,
    capability,
    inline_source,
    is_group_ours,
    persistent_source,
    pod_attributes,
    refused_lifecycle,
    tokens_attribute,
)
from kubelite.node.csi.statistics import Asked, Statistics
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.volumes.plugins import VolumeBusy
from kubelite.node.volumes.sources import VolumeContent
from kubelite.node.volumes.tmpfs import mounts_below, unmount_below
from kubelite.workqueue import WorkQueue

log = logging.getLogger(__name__)

REPUBLISH = timedelta(minutes=1)  # as often as the kubelet syncs a pod
SETTLE_RETRY_MAX_SECONDS = 120.0


# Gives the files of a pod's volume to an fsGroup by a fsGroupChangePolicy; raises OSError.
Give = Callable[[Pod, Path, int, str], Awaitable[None]]


class PodFiles(NamedTuple):
    """What the node's other volumes and those of drivers have in common."""

    content: VolumeContent
    give: Give
    statistics: Statistics


class KnownDrivers(Protocol):
    """The registered drivers."""

    def get(self, name: str) -> Driver | None:
        """Return a registered driver, or None."""
        ...

    async def object_of(self, name: str) -> CSIDriver | None:
        """Return the CSIDriver of a driver; None if nobody made one. Raises APIError."""
        ...

    def subscribe(self, registered: Callable[[str], None]) -> None:
        """Call `registered` with the name of each driver after it registered."""
        ...


class CSIVolumes:
    """The CSI volumes of the pods of one node."""

    def __init__(
        self,
        node: str,
        folders: KubeletFolders,
        client: Client,
        clock: Clock,
        drivers: KnownDrivers,
        files: PodFiles,
        expansion: Expansion,
        changed: Callable[[str], None],
    ) -> None:
        """`changed` is called with the uid of each pod whose volumes may be mounted, or grown, now."""
        self._files = files
        self._changed = changed
        self._node = node
        self._folders = folders
        self._clock = clock
        self._drivers = drivers
        self._content = files.content
        self._expansion = expansion
        self._statistics = files.statistics
        self._attachments = Attachments(node, client, changed)
        drivers.subscribe(self._registered)
        self._users: dict[str, set[VolumeKey]] = {}  # by uid of the pod
        self._staged: dict[VolumeKey, VolumeRecord] = {}  # those with a data file
        self._done: dict[tuple[str, str], datetime] = {}  # by pod uid and name: last published
        self._waiting: dict[str, set[str]] = {}  # by driver: uids of pods that wait for it
        self._calls = asyncio.Semaphore(CSI_CALLS.value)
        self._locks: WeakValueDictionary[VolumeKey, asyncio.Lock] = WeakValueDictionary()
        self._queue: WorkQueue[VolumeKey] = WorkQueue(
            name="csi-volumes", retry_max_seconds=SETTLE_RETRY_MAX_SECONDS
        )
        self._owed: dict[VolumeKey, dict[str, VolumeRecord]] = {}  # by name of the file

    async def restore(self) -> None:
        """Find what was mounted before the agent started. Call it before any pod is set up."""
        published, staged, owed = await asyncio.to_thread(_found, self._folders)
        for uid, _, record in published:
            self._users.setdefault(uid, set()).add(record.key)
        self._staged = {record.key: record for record in staged}
        for name, record in owed:
            self._owed.setdefault(record.key, {})[name] = record
        inline = {r.key for _, _, r in published if r.lifecycle == "Ephemeral"}
        known = {key for keys in self._users.values() for key in keys}
        found = known | self._staged.keys() | self._owed.keys()
        self._attachments.restore(found - inline)
        for key in found:
            self._queue.add(key)

    async def run(self) -> None:
        """Unstage what no pod uses, until cancelled."""

        async def work() -> None:
            while True:
                key = await self._queue.get()
                try:
                    await self._settle(key)
                except (GrpcError, APIError, OSError, ConfigUnavailable) as error:
                    log.warning("cannot unstage a volume: %s", error, extra={"volume": key[1]})
                    self._queue.retry(key)
                else:
                    self._queue.forget(key)
                finally:
                    self._queue.done(key)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._attachments.run())
                for _ in range(2):  # a driver that hangs must not keep others waiting
                    group.create_task(work())
        finally:
            self._queue.close()

    def _registered(self, driver: str) -> None:
        for uid in sorted(self._waiting.pop(driver, ())):
            self._changed(uid)
        for key in {*self._staged, *self._owed}:
            if key[0] == driver:
                self._queue.add(key)

    # --- what a pod mounts

    async def device(self, pod_uid: str, volume: Volume, claimed: PersistentVolume) -> Path:
        """Return the path of a pod's block volume, which is a device. Raises ConfigUnavailable."""
        name = claimed.metadata.name
        if not await asyncio.to_thread(block.is_pinned, self._folders, pod_uid, name):
            raise ConfigUnavailable(f'volume "{volume.name}" is not mapped')
        return self._folders.device_pinned(pod_uid, name)

    def path(self, pod_uid: str, volume: Volume, claimed: PersistentVolume | None) -> Path:
        """Return the path of a pod's volume on the host. Raises ConfigUnavailable."""
        name = volume.name if claimed is None else claimed.metadata.name
        return self._folders.published(pod_uid, name) / "mount"

    async def set_up(
        self,
        pod: Pod,
        volume: Volume,
        claim: PersistentVolumeClaim | None,
        claimed: PersistentVolume | None,
    ) -> datetime | None:
        """Mount a volume, or refresh it; return when to refresh. Raises ConfigUnavailable, APIError and OSError."""
        source = _source(pod, volume, claimed)
        try:
            async with self._lock(source.key):
                due = await self._set_up(pod, source)
                self._statistics.follow(pod, volume.name, self._asked(pod, source, claim))
                if claim is not None and claimed is not None:
                    await self._grow(pod, source, claim, claimed)
        except GrpcError as error:
            if is_away(error):
                self._wait_for(source.driver, pod)
            raise ConfigUnavailable(str(error)) from error
        return due

    async def _set_up(self, pod: Pod, source: CSISource) -> datetime | None:
        uid = pod.metadata.uid
        mounted = await self._is_mounted(uid, source)
        driver = self._drivers.get(source.driver)
        if driver is None:
            self._wait_for(source.driver, pod)
            if mounted:
                return None
            raise ConfigUnavailable(
                f"kubernetes.io/csi: driver name {source.driver} not found in the list of "
                "registered CSI drivers"
            )
        known = await self._drivers.object_of(source.driver)
        if reason := refused_lifecycle(known, source.driver, source.lifecycle):
            raise ConfigUnavailable(reason)
        last = self._done.get((uid, source.name))
        # A device is published once: there are no files in it that a driver could refresh.
        repeats = known is not None and bool(known.spec.requiresRepublish) and not source.is_block
        is_due = repeats and (last is None or self._clock.now() >= last + REPUBLISH)
        if not mounted or is_due:
            context = await self._context(uid, source, known)
            self._users.setdefault(uid, set()).add(source.key)
            if not mounted:
                await self._stage(pod, source, driver, context)
            await self._publish(pod, source, driver, known, context)
            if not mounted:
                await self._give(pod, source, driver, known)
            self._done[uid, source.name] = self._clock.now()
        return self._done[uid, source.name] + REPUBLISH if repeats else None

    def _asked(self, pod: Pod, source: CSISource, claim: PersistentVolumeClaim | None) -> Asked:
        """Return how a driver is asked how full a volume is."""
        driver = self._drivers.get(source.driver)
        is_staged = driver is not None and _stages(driver, source)
        request = NodeGetVolumeStatsRequest(
            volume_id=source.handle,
            volume_path=self._target(pod.metadata.uid, source.name, is_block=source.is_block),
            staging_target_path=self._staging(source) if is_staged else "",
        )
        return Asked(source.driver, request, "" if claim is None else claim.metadata.name)

    def _wait_for(self, driver: str, pod: Pod) -> None:
        self._waiting.setdefault(driver, set()).add(pod.metadata.uid)

    async def _is_mounted(self, uid: str, source: CSISource) -> bool:
        """Return whether a pod's volume is published: known here, or found mounted after a restart."""
        if (uid, source.name) in self._done:
            return True
        if source.key not in self._users.get(uid, ()):
            return False
        if not await asyncio.to_thread(_has, self._folders, uid, source):
            return False
        self._done[uid, source.name] = self._clock.now()
        return True

    async def _context(
        self, uid: str, source: CSISource, known: CSIDriver | None
    ) -> Mapping[str, str]:
        if source.lifecycle == "Ephemeral" or not needs_attachment(known):
            return {}
        # Remembered, so that the volume leaves the list if the pod is deleted before it is attached.
        self._users.setdefault(uid, set()).add(source.key)
        return await self._attachments.context(uid, source.key)

    async def _stage(
        self, pod: Pod, source: CSISource, driver: Driver, context: Mapping[str, str]
    ) -> None:
        if source.is_block:  # its data file serves the pods too, whether it is staged or not
            record = self._record(source)
            await asyncio.to_thread(block.begin_stage, self._folders, record)
            self._staged[source.key] = record
        if not _stages(driver, source):
            return
        request = NodeStageVolumeRequest(
            volume_id=source.handle,
            publish_context=dict(context),
            staging_target_path=self._staging(source),
            volume_capability=capability(source, driver.capabilities, _group(pod)),
            secrets=await self._secrets(pod, source.stage_secret),
            volume_context=dict(source.attributes),
        )
        if not source.is_block:
            record = VolumeRecord(driver=source.driver, handle=source.handle)
            place = self._folders.staged(*source.key)
            self._staged[source.key] = record
            await asyncio.to_thread(write_record, place, record)
            await asyncio.to_thread((place / "globalmount").mkdir, mode=0o750, exist_ok=True)
        async with self._calls:
            await driver.stage(request)

    def _staging(self, source: CSISource) -> str:
        """Return the path at which a driver stages a volume."""
        if source.is_block:
            return self._folders.as_shown(self._folders.device_staged(source.name))
        return self._folders.as_shown(self._folders.staged(*source.key) / "globalmount")

    def _target(self, uid: str, name: str, *, is_block: bool) -> str:
        """Return the path at which a driver publishes a volume for a pod."""
        if is_block:
            return self._folders.as_shown(self._folders.device_published(uid, name))
        return self._folders.as_shown(self._folders.published(uid, name) / "mount")

    def _record(self, source: CSISource) -> VolumeRecord:
        return VolumeRecord(
            driver=source.driver,
            handle=source.handle,
            name=source.name,
            node=self._node,
            attachment=attachment_name(source.driver, source.handle, self._node),
            lifecycle=source.lifecycle,
            is_block=source.is_block,
        )

    async def _publish(
        self,
        pod: Pod,
        source: CSISource,
        driver: Driver,
        known: CSIDriver | None,
        context: Mapping[str, str],
    ) -> None:
        uid = pod.metadata.uid
        attributes, secrets = await self._told(pod, source, known)
        request = NodePublishVolumeRequest(
            volume_id=source.handle,
            publish_context=dict(context),
            staging_target_path=self._staging(source) if _stages(driver, source) else "",
            target_path=self._target(uid, source.name, is_block=source.is_block),
            volume_capability=capability(source, driver.capabilities, _group(pod)),
            readonly=source.read_only,
            secrets=secrets,
            volume_context=attributes,
        )
        if source.is_block:
            await asyncio.to_thread(block.begin_publish, self._folders, uid, source.name)
        else:
            place = self._folders.published(uid, source.name)
            await asyncio.to_thread(write_record, place, self._record(source))
        async with self._calls:
            await driver.publish(request)
        if source.is_block:
            await asyncio.to_thread(block.pin, self._folders, uid, source.name)

    async def _told(
        self, pod: Pod, source: CSISource, known: CSIDriver | None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the attributes and the secrets with which a volume is published."""
        attributes = dict(source.attributes)
        secrets = await self._secrets(pod, source.publish_secret)
        if known is None:
            return attributes, secrets
        if known.spec.podInfoOnMount:
            attributes |= pod_attributes(pod, source.lifecycle)
        if known.spec.tokenRequests:
            tokens = {
                one.audience: await self._content.token(
                    pod, one.audience, one.expirationSeconds or 3600
                )
                for one in known.spec.tokenRequests
            }
            told = secrets if known.spec.serviceAccountTokenInSecrets else attributes
            told[TOKENS] = tokens_attribute(tokens)
        return attributes, secrets

    async def _secrets(self, pod: Pod, place: tuple[str, str] | None) -> dict[str, str]:
        if place is None:
            return {}
        namespace, name = place
        found = await self._content.reads.get(pod, Secret, name, namespace=namespace)
        return decoded(found)

    async def _give(
        self, pod: Pod, source: CSISource, driver: Driver, known: CSIDriver | None
    ) -> None:
        group, context = _group(pod), pod.spec.securityContext
        if group is None or not is_group_ours(source, known, driver.capabilities, group):
            return
        policy = (context.fsGroupChangePolicy if context is not None else None) or "Always"
        place = self._folders.published(pod.metadata.uid, source.name) / "mount"
        await self._files.give(pod, place, group, policy)

    async def _grow(
        self,
        pod: Pod,
        source: CSISource,
        claim: PersistentVolumeClaim,
        claimed: PersistentVolume,
    ) -> None:
        driver = self._drivers.get(source.driver)
        if driver is None:
            return
        self._expansion.follow(pod, source, driver, claim)
        if not self._expansion.is_due(source, driver, claim, claimed):
            return
        uid = pod.metadata.uid
        request = NodeExpandVolumeRequest(
            volume_id=source.handle,
            volume_path=self._target(uid, source.name, is_block=source.is_block),
            staging_target_path=self._staging(source) if _stages(driver, source) else "",
            volume_capability=capability(source, driver.capabilities, None),
            secrets=await self._secrets(pod, source.expand_secret),
        )
        async with self._calls:
            await self._expansion.grow(pod, driver, claim, claimed, request)

    # --- what a pod unmounts

    async def tear_down(self, pod_uid: str) -> None:
        """Unmount a pod's CSI volumes. Raises VolumeBusy, and OSError."""
        records = await asyncio.to_thread(lambda: list(published_records(self._folders, pod_uid)))
        for name, record in records:
            async with self._lock(record.key):
                await self._unpublish(pod_uid, name, record)
        self._attachments.forget(pod_uid)
        self._expansion.forget(pod_uid)
        self._statistics.forget(pod_uid)
        for waiting in self._waiting.values():
            waiting.discard(pod_uid)
        keys = self._users.pop(pod_uid, set()) | {record.key for _, record in records}
        for key in keys:
            self._queue.add(key)

    async def _unpublish(self, uid: str, name: str, record: VolumeRecord) -> None:
        target = self._target(uid, name, is_block=record.is_block)
        self._done.pop((uid, name), None)
        if record.is_block:
            await asyncio.to_thread(block.unpin, self._folders, uid, name)
        if not await self._is_unpublished(record, target):
            owed = VolumeRecord(
                driver=record.driver,
                handle=record.handle,
                lifecycle=record.lifecycle,
                target=target,
            )
            file = await asyncio.to_thread(owe, self._folders, owed)
            self._owed.setdefault(record.key, {})[file] = owed
            log.warning(
                "CSI driver is away: its volume is unmounted without it",
                extra={"driver": record.driver, "volume": record.handle},
            )
        if record.is_block:
            await asyncio.to_thread(block.end_publish, self._folders, uid, name)
        else:
            await asyncio.to_thread(_clear, self._folders.published(uid, name))

    async def _is_unpublished(self, record: VolumeRecord, target: str) -> bool:
        """Let the driver unpublish a volume; False if it is away. Raises VolumeBusy if it refuses."""
        driver = self._drivers.get(record.driver)
        if driver is None:
            return False
        request = NodeUnpublishVolumeRequest(volume_id=record.handle, target_path=target)
        try:
            async with self._calls:
                await driver.unpublish(request)
        except GrpcError as error:
            if is_away(error):
                return False
            volume = record.name or record.handle
            raise VolumeBusy(
                f'UnmountVolume.TearDown failed for volume "{volume}" : {error}'
            ) from error
        return True

    async def _settle(self, key: VolumeKey) -> None:
        """Pay what is owed for a volume; if no pod uses it, unstage it and let it be detached.

        A driver that is away is not waited for: its registration enqueues the volume again.
        """
        async with self._lock(key):
            driver = self._drivers.get(key[0])
            is_used = any(key in keys for keys in self._users.values())
            if driver is None:
                if not is_used and key not in self._staged and key not in self._owed:
                    await self._attachments.release(key)
                return
            await self._pay(driver, key)
            if is_used:
                return
            if key in self._staged:
                await self._unstage(driver, key)
            await self._attachments.release(key)

    async def _pay(self, driver: Driver, key: VolumeKey) -> None:
        for file, record in list(self._owed.get(key, {}).items()):
            request = NodeUnpublishVolumeRequest(volume_id=record.handle, target_path=record.target)
            async with self._calls:
                await driver.unpublish(request)
            await asyncio.to_thread(remove_owed, self._folders, file)
            del self._owed[key][file]
        if not self._owed.get(key, True):
            del self._owed[key]

    async def _unstage(self, driver: Driver, key: VolumeKey) -> None:
        record = self._staged[key]
        place = self._folders.staged(*key)
        path = (
            self._folders.device_staged(record.name) if record.is_block else place / "globalmount"
        )
        request = NodeUnstageVolumeRequest(
            volume_id=key[1],
            staging_target_path=self._folders.as_shown(path),
        )
        # A block volume has a data file without being staged too.
        if not record.is_block or Capability.STAGE_UNSTAGE_VOLUME in driver.capabilities:
            async with self._calls:
                await driver.unstage(request)
        if record.is_block:
            await asyncio.to_thread(block.end_stage, self._folders, record.name)
        else:
            await asyncio.to_thread(_clear, place)
        del self._staged[key]

    @asynccontextmanager
    async def _lock(self, key: VolumeKey) -> AsyncIterator[None]:
        """Let one call at a time concern a volume, as drivers expect."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            yield


def decoded(secret: Secret) -> dict[str, str]:
    """Return a Secret's data as text, as CSI has it."""
    return {
        key: base64.b64decode(text).decode("utf-8", "replace") for key, text in secret.data.items()
    }


def _source(pod: Pod, volume: Volume, claimed: PersistentVolume | None) -> CSISource:
    """Return a pod's volume as CSI has it. Raises ConfigUnavailable if it is of another type."""
    if volume.csi is not None:
        return inline_source(pod, volume.name, volume.csi)
    wanted = volume.persistentVolumeClaim
    read_only = wanted is not None and wanted.readOnly
    source = persistent_source(claimed, read_only=read_only) if claimed is not None else None
    if source is None:
        raise ConfigUnavailable("no volume plugin matched")
    return source


def _group(pod: Pod) -> int | None:
    context = pod.spec.securityContext
    return context.fsGroup if context is not None else None


def _found(
    folders: KubeletFolders,
) -> tuple[list[tuple[str, str, VolumeRecord]], list[VolumeRecord], list[tuple[str, VolumeRecord]]]:
    return list(all_published(folders)), list(all_staged(folders)), list(all_owed(folders))


def _stages(driver: Driver, source: CSISource) -> bool:
    can = Capability.STAGE_UNSTAGE_VOLUME in driver.capabilities
    return can and source.lifecycle != "Ephemeral"


def _has(folders: KubeletFolders, uid: str, source: CSISource) -> bool:
    """Return whether a pod has a volume already, as after a restart."""
    if source.is_block:
        return block.is_pinned(folders, uid, source.name)
    return _is_mounted(folders.published(uid, source.name))


def _is_mounted(place: Path) -> bool:
    """Return whether something is mounted on `mount`; bind mounts of one file system count too."""
    return place.is_dir() and place.resolve() / "mount" in mounts_below(place)


def _clear(place: Path) -> None:
    """Remove the folder of a volume after its driver is done with it, unmounting what is left.

    Raises OSError, with nothing removed, if there are files where only a mount point should be: they are data.
    """
    unmount_below(place)
    for name in ("mount", "globalmount"):
        with suppress(FileNotFoundError, NotADirectoryError):
            (place / name).rmdir()
    remove_record(place)
