"""Removes images that nothing uses, on time and on demand."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.node.images.collection import (
    Candidate,
    bytes_to_free,
    in_order,
    is_in_use,
    is_own,
    is_too_old,
    is_too_young,
    shortage,
    used_by,
)
from kubelite.node.images.records import PullRecords
from kubelite.node.images.settings import ImageSettings
from kubelite.node.runtime import (
    ContainerRuntime,
    EngineUnavailable,
    Image,
    ImageInUse,
    RuntimeFailure,
)
from kubelite.node.usage_files import Filesystem

log = logging.getLogger(__name__)

COLLECTION_SECONDS = 300.0  # as the kubelet
ALL = 1 << 62  # more bytes than there are


class CollectionFailed(Exception):
    """Too little was removed; the message is for the node's events."""


class _Seen(Struct):
    first: datetime
    used: datetime | None = None


class _Outcome(Struct):
    freed_bytes: int = 0
    failures: list[str] = []


class ImageCollector:
    """Keeps the images of one node within its disk."""

    def __init__(
        self,
        node_name: str,
        runtime: ContainerRuntime,
        records: PullRecords,
        clock: Clock,
        events: EventRecorder,
        *,
        wanted: Callable[[], Collection[str]],
        disk: Callable[[], Awaitable[Filesystem | None]],
        settings: ImageSettings,
    ) -> None:
        """`wanted` returns the ids of images that pods use or wait for, `disk` measures the disk of the images."""
        # Which images are never removed, also if this node pulled them.
        self.is_kept: Callable[[Image], bool] = lambda _: False
        self._about = ObjectReference(kind="Node", name=node_name, uid=node_name)
        self._runtime = runtime
        self._records = records
        self._clock = clock
        self._events = events
        self._wanted = wanted
        self._disk = disk
        self._policy = settings.collection
        self._registries = settings.registries
        self._seen: dict[str, _Seen] = {}  # by image id
        self._started = clock.now()
        self._working = asyncio.Lock()

    async def run(self) -> None:
        """Remove images every `COLLECTION_SECONDS`, until cancelled."""
        await self._records.loaded.wait()  # before that no image is this node's
        has_failed = False
        while not self._policy.is_off:
            try:
                await self.collect()
            except (CollectionFailed, EngineUnavailable, RuntimeFailure) as error:
                log.warning("cannot remove unused images: %s", error)
                if has_failed:  # as upstream, the first failure in a row is only logged
                    self._events.event(self._about, WARNING, "ImageGCFailed", str(error))
                has_failed = True
            else:
                has_failed = False
            await asyncio.sleep(COLLECTION_SECONDS)

    async def collect(self) -> None:
        """Remove images that are too old, and others while the disk is too full. Raises CollectionFailed."""
        async with self._working:
            now = self._clock.now()
            candidates = await self._candidates(now)
            outcome = _Outcome()
            if self._policy.max_age and now - self._started > self._policy.max_age:
                # What was used before the start is not known, so wait for that long first.
                old = [one for one in candidates if is_too_old(one, self._policy, now)]
                await self._remove(old, ALL, "age", outcome)
                candidates = [one for one in candidates if one not in old]
            disk = await self._disk()
            if disk is None or not disk.capacity_bytes:
                message = "invalid capacity 0 on image filesystem"
                self._events.event(self._about, WARNING, "InvalidDiskCapacity", message)
                raise CollectionFailed(message)
            needed = bytes_to_free(disk, self._policy)
            if needed > 0:
                freed_before = outcome.freed_bytes
                await self._remove(self._ripe(candidates, now), needed, "space", outcome)
                freed = outcome.freed_bytes - freed_before
                if freed < needed and not outcome.failures:
                    message = shortage(disk, freed)
                    self._events.event(self._about, WARNING, "FreeDiskSpaceFailed", message)
                    raise CollectionFailed(message)
            self._check(needed, outcome)

    async def reclaim(self) -> int:
        """Remove all images that nothing uses; return how many bytes that freed.

        Raises EngineUnavailable and RuntimeFailure; one image that cannot be removed does not keep the rest.
        """
        async with self._working:
            now, outcome = self._clock.now(), _Outcome()
            await self._remove(self._ripe(await self._candidates(now), now), ALL, "space", outcome)
            return outcome.freed_bytes

    def _check(self, needed: int, outcome: _Outcome) -> None:
        if outcome.failures:
            raise CollectionFailed(
                f"wanted to free {needed} bytes, but freed {outcome.freed_bytes} bytes space with errors in image "
                f"deletion: {', '.join(outcome.failures)}"
            )

    def _ripe(self, candidates: Iterable[Candidate], now: datetime) -> list[Candidate]:
        return [one for one in candidates if not is_too_young(one, self._policy, now)]

    async def _candidates(self, now: datetime) -> list[Candidate]:
        """Note which images are used, and return those that may be removed, in order."""
        images = await self._runtime.images()
        used = used_by(await self._runtime.records())
        self._note(images, used, now)
        try:
            await self._records.prune({image.id for image in images}, format_time(now))
        except OSError as error:
            log.warning("cannot drop the records of images that are gone: %s", error)
        return in_order(
            Candidate(image, seen.first, seen.used)
            for image in images
            if (seen := self._seen[image.id]).used != now
            and not self.is_kept(image)
            and is_own(image, self._records.record(image.id), self._registries)
        )

    def _note(self, images: Sequence[Image], used: Collection[str], now: datetime) -> None:
        wanted = self._wanted()
        known = self._seen
        self._seen = {image.id: known.get(image.id) or _Seen(now) for image in images}
        for image in images:
            if image.id in wanted or is_in_use(image, used, used):
                self._seen[image.id].used = now

    async def _remove(
        self,
        candidates: Iterable[Candidate],
        needed: int,
        reason: Literal["age", "space"],
        outcome: _Outcome,
    ) -> None:
        """Remove candidates until so many bytes are freed. One failure does not keep the rest."""
        freed = 0
        for candidate in candidates:
            image = candidate.image
            if freed >= needed:
                return
            if image.id in self._wanted():  # since the list was made
                continue
            try:
                await self._runtime.remove_image(image.id)
            except ImageInUse:  # by a container of somebody else's
                continue
            except RuntimeFailure as error:
                outcome.failures.append(str(error))
                continue
            freed += image.size_bytes
            outcome.freed_bytes += image.size_bytes
            about = {"image": image.id, "names": image.names, "reason": reason}
            log.info("unused image removed", extra={**about, "bytes": image.size_bytes})
