"""Delivers the start of a watch: the present objects, or the history since a resource version.

Both are read from the current store slice by slice, at the pace of the client, so no snapshot is copied and no
overwritten value is kept for a slow client. A watch that walks the present objects gets changes only of keys it has
passed; it reads later keys in their state at that time. A watch that replays the history gets no live change until it
has caught up.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from kubelite.api.errors import Expired
from kubelite.api.registry.groups import Frame, Group, frames_of
from kubelite.api.registry.hub import Behind, Hub, Watch
from kubelite.api.registry.reading import (
    SKIPPED_BYTES,
    VIEWED_BYTES,
    Reader,
    select,
    selecting_cost,
)
from kubelite.api.registry.seen import Seen, convert_ahead
from kubelite.api.registry.watch import Drain
from kubelite.offload import Offload
from kubelite.store.protocol import Change, Compacted, Entry, FutureRevision, Page, Store

ENTRIES_A_SLICE = 200
BYTES_A_SLICE = 128 * 1024
END = "\U0010ffff"  # greater than any key

T = TypeVar("T", Entry, Change)


class Walk:
    """The keys that a watch has read so far, as consecutive parts, and the revision at which it read each part."""

    def __init__(self) -> None:
        self._ends: list[str] = []  # the last key of each part
        self._revisions: list[int] = []

    def passes(self, frame: Frame) -> bool:
        """Return whether a change is to a key already read and newer than the revision it was read at."""
        part = bisect_left(self._ends, frame.key)
        return part < len(self._ends) and frame.revision > self._revisions[part]

    def passed(self, end: str, revision: int) -> None:
        """Record that all keys up to `end` were read at `revision`."""
        if self._revisions and self._revisions[-1] == revision:
            self._ends[-1] = end
        else:
            self._ends.append(end)
            self._revisions.append(revision)


class Beginning:
    """Delivers the start of one watch, and is the `Watching` that the caller holds."""

    def __init__(
        self,
        watch: Watch,
        hub: Hub,
        store: Store,
        offload: Offload,
        *,
        after: int = 0,
        presents: bool = False,
        marks_end: bool = False,
    ) -> None:
        """With `presents` start with the present objects, else with the changes after revision `after` (0: now).

        `marks_end` adds a bookmark with the annotation ``k8s.io/initial-events-end`` after the present objects.
        """
        self._watch = watch
        self._hub = hub
        self._store = store
        self._offload = offload
        self._reader = Reader(store, offload)
        self._after = after
        self._marks_end = marks_end
        self._walk = Walk() if presents else None
        if self._walk is not None:
            watch.course = self._walk
        elif after:
            watch.course = Behind()
        else:
            watch.minimum = hub.revision

    def bookmark(self) -> None:
        """Deliver a bookmark now, if the watch wants them."""
        self._watch.bookmark()

    def close(self) -> None:
        """Close the watch; nothing more is delivered."""
        self._watch.close()

    async def begin(self, drain: Drain) -> None:
        """Deliver the present objects or the history, waiting for `drain` after each slice."""
        group = self._watch.group
        if self._walk is not None and group is not None and group.waits:
            await self._present_as_of_now(drain)
        elif self._walk is not None:
            await self._present(self._walk, drain)
        elif self._after:
            await self._replay(drain)

    async def _present(self, walk: Walk, drain: Drain) -> None:
        after = ""
        while (group := self._watch.group) is not None:
            revision, page = self._store.revision, self._page(group, after)
            made = await self._framed(group, page.entries)
            # The framing may have run in another thread while a write committed, so read the page again.
            if revision != self._store.revision:
                page = self._page(group, after)
            lines = [
                line for entry in page.entries if (line := _line(group, entry, made)) is not None
            ]
            end = page.entries[-1].key if page.remaining else END
            walk.passed(end, self._store.revision)
            if lines:
                self._watch.tell(lines)
            if end == END:
                self._hub.then(self._watch, partial(self._present_all, self._store.revision))
                return
            after = end
            await drain()

    async def _present_as_of_now(self, drain: Drain) -> None:
        """Deliver the objects as they are at one revision, which another server converts, then what came after it."""
        watch, revision = self._watch, self._store.revision
        watch.course = Behind()
        after, remaining = "", 1
        while remaining and (group := watch.group) is not None:
            prefix = group.canonical.scope(group.namespace or group.selection.namespace)
            try:
                page = self._store.list(
                    prefix, after=after, limit=ENTRIES_A_SLICE, revision=revision
                )
            except Compacted:
                watch.expire(Expired(f"too old resource version: {revision}"))
                return
            entries = _bounded(page.entries)
            made = await self._framed(group, entries)
            if lines := [line for _, line in made.values() if line is not None]:
                watch.tell(lines)
            remaining = page.remaining + len(page.entries) - len(entries)
            after = entries[-1].key if entries else ""
            await drain()
        if self._marks_end and watch.group is not None:
            watch.tell((watch.group.bookmark(revision, initial_end=True),))
        self._after = revision
        await self._replay(drain)

    def _present_all(self, revision: int) -> None:
        """Switch to live changes newer than `revision`."""
        watch = self._watch
        watch.course, watch.minimum = None, revision
        if self._marks_end and watch.group is not None:
            watch.tell((watch.group.bookmark(revision, initial_end=True),))

    def _page(self, group: Group, after: str) -> Page:
        """Return the next slice of entries, not yet filtered by the selection."""
        selection = group.selection
        pinned = self._reader.pinned(group.canonical, group.namespace, selection)
        if pinned is not None:
            return Page(pinned, self._store.revision, 0)
        prefix = group.canonical.scope(group.namespace or selection.namespace)
        page = self._store.list(prefix, after=after, limit=ENTRIES_A_SLICE)
        entries = _bounded(page.entries)
        return Page(entries, page.revision, page.remaining + len(page.entries) - len(entries))

    async def _framed(
        self, group: Group, entries: Sequence[Entry]
    ) -> dict[str, tuple[Entry, bytes | None]]:
        cost = selecting_cost(entries) + _framing_cost(group, [entry.value for entry in entries])
        prepared = await self._reader.prepared(group.resource, entries)

        def work() -> dict[str, tuple[Entry, bytes | None]]:
            made: dict[str, tuple[Entry, bytes | None]] = {
                entry.key: (entry, None) for entry in entries
            }
            for entry in select(group.selection, prepared):
                made[entry.key] = (made[entry.key][0], group.added(entry))
            return made

        return await self._offload.run(cost, work)

    async def _replay(self, drain: Drain) -> None:
        watch, position = self._watch, self._after
        while (group := watch.group) is not None:
            try:
                changes = self._store.history(group.canonical.prefix, position)
            except Compacted:
                text = f"too old resource version: {position} ({self._store.oldest})"
                watch.expire(Expired(text))
                return
            except FutureRevision:
                changes = []  # wait for that revision
            if not changes:
                watch.course, watch.minimum = None, max(position, self._hub.revision)
                return
            part = _bounded(changes[:ENTRIES_A_SLICE])
            lines = await self._replayed(group, part)
            if lines:
                watch.tell(lines)
            position = part[-1].revision
            await drain()

    async def _replayed(self, group: Group, changes: Sequence[Change]) -> list[bytes]:
        seen = [Seen(change) for change in changes]
        conversion = group.resource.conversion
        if conversion is not None and conversion.waits:
            await convert_ahead(conversion, seen)
        values = [one.change.value for one in seen]
        cost = sum(map(len, values)) // SKIPPED_BYTES + _framing_cost(group, values)
        return await self._offload.run(cost, lambda: frames_of(group, seen))


def _line(group: Group, entry: Entry, made: dict[str, tuple[Entry, bytes | None]]) -> bytes | None:
    """Return the ADDED line of a selected entry, framed again if the entry changed since; None if not selected."""
    known, line = made.get(entry.key, (None, None))
    if known is entry:
        return line
    return group.added(entry) if select(group.selection, (entry,)) else None


def _framing_cost(group: Group, values: Sequence[bytes]) -> int:
    cost = len(values) * group.form.event_cost
    if group.resource.conversion is not None:
        cost += sum(map(len, values)) // VIEWED_BYTES
    return cost


def _bounded(items: Sequence[T]) -> Sequence[T]:
    """Return the first items up to about `BYTES_A_SLICE` bytes, at least one."""
    total = 0
    for number, item in enumerate(items, 1):
        total += len(item.value)
        if total >= BYTES_A_SLICE:
            return items[:number]
    return items
