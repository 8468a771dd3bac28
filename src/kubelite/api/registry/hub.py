"""Hands each durable change to the watches that want it.

Watches that ask for the same (resource, namespace, selection, form) make one group: a change is looked at, and framed,
once per group, and the same frames go to all members. There is no task and no queue per watch; a watch that cannot keep
up is its deliverer's affair. Groups that pin a field to one value (a kubelet's ``spec.nodeName=n1``) or that
ask for one name are found through an index, so that a change does not ask every kubelet's watch.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from kubelite.api.errors import APIError, Expired
from kubelite.api.machinery.field_selectors import Reader
from kubelite.api.registry.objects import decode, encode, name_of, with_revision
from kubelite.api.registry.resources import Resource
from kubelite.api.registry.selection import Selection
from kubelite.api.registry.watch import Deliver, Form
from kubelite.store.protocol import Change, Compacted, Entry, FutureRevision, Store

log = logging.getLogger(__name__)

BOOKMARK_SECONDS = 60.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"

GroupKey = tuple[Any, ...]


class Seen:
    """One change and what has been worked out about it, shared by all groups."""

    __slots__ = ("_after", "_before", "change", "name", "namespace", "values")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.namespace, self.name = name_of(change.key)
        self._after: dict[str, Any] | None = None
        self._before: dict[str, Any] | None = None
        self.values: dict[tuple[int, str], bytes] = {}  # by view and kind of event

    def after(self) -> dict[str, Any]:
        """Return the object as it is now (or was last); not to be changed."""
        if self._after is None:
            self._after = decode.decode(self.change.value)
        return self._after

    def before(self) -> dict[str, Any]:
        """Return the object as it was; not to be changed."""
        if self._before is None:
            assert self.change.previous is not None
            self._before = decode.decode(self.change.previous)
        return self._before


class Group:
    """The watches that want the same frames."""

    def __init__(
        self,
        key: GroupKey,
        resource: Resource,
        canonical: Resource,
        selection: Selection,
        form: Form,
    ) -> None:
        self.key = key
        self.resource = resource
        self.canonical = canonical
        self.namespace: str = key[1]
        self.selection = selection
        self.form = form
        self.members: dict[Watch, None] = {}

    def event(self, seen: Seen) -> tuple[str, bytes] | None:
        """Return what the change means for these watches, unframed."""
        change, selection = seen.change, self.selection
        if self.namespace and self.namespace != seen.namespace:
            return None
        if not selection.selects_key(seen.namespace, seen.name):
            return None
        was = change.previous is not None
        now = not change.deleted
        if selection.needs_object:
            was = was and selection.selects(seen.before())
            now = now and selection.selects(seen.after())
        if now:
            return ("MODIFIED" if was else "ADDED"), self.served(seen, change.value, "now")
        if not was:
            return None
        if change.deleted:
            return "DELETED", self.served(seen, change.value, "now")
        # It is still there but selected no more: its last selected state, with the version of the change.
        assert change.previous is not None
        left = with_revision(self.canonical, change.previous, change.revision)
        return "DELETED", self.served(seen, left, "left")

    def served(self, seen: Seen | None, value: bytes, state: str) -> bytes:
        """Return the bytes in the version that is watched."""
        view = self.resource.view
        if view is None:
            return value
        key = (id(view), state)
        if seen is None:
            return encode(view.read(decode.decode(value)))
        if key not in seen.values:
            seen.values[key] = encode(view.read(decode.decode(value)))
        return seen.values[key]

    def bookmark(self, revision: int, *, initial_end: bool = False) -> bytes:
        """Return a framed bookmark."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        item = {
            "kind": self.resource.kind.kind,
            "apiVersion": self.resource.api_version,
            "metadata": metadata,
        }
        return self.form.event("BOOKMARK", encode(item))


class Watch:
    """One watch under way."""

    __slots__ = ("_hub", "bookmarks", "deliver", "group", "minimum")

    def __init__(
        self, hub: "Hub", group: Group | None, deliver: Deliver, *, bookmarks: bool, minimum: int
    ) -> None:
        self._hub = hub
        self.group = group  # None: over
        self.deliver = deliver
        self.bookmarks = bookmarks
        self.minimum = minimum  # changes up to this revision are not wanted

    def bookmark(self) -> None:
        """Deliver a bookmark now, if the watch wants them."""
        if self.group is not None and self.bookmarks:
            self.tell((self.group.bookmark(self._hub.revision),))

    def tell(self, frames: Sequence[bytes]) -> None:
        """Deliver frames; a deliverer that fails must not keep others from hearing, so its watch ends."""
        if self.group is None:
            return
        try:
            self.deliver(frames)
        except Exception:
            log.exception("watch ended: its deliverer failed")
            self.close()

    def close(self) -> None:
        """Deliver nothing more."""
        if self.group is not None:
            self._hub.leave(self.group, self)
            self.group = None


class Topic:
    """The groups of one storage, and the one subscription to the store that serves them."""

    def __init__(self, store: Store, prefix: str) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self._loose: dict[GroupKey, Group] = {}  # asked about every change
        self._pinned: dict[str, tuple[Reader, dict[str, dict[GroupKey, Group]]]] = {}
        self._named: dict[tuple[str, str], dict[GroupKey, Group]] = {}  # by namespace and name
        self.unsubscribe = store.subscribe(prefix, self.publish)

    def add(self, group: Group) -> None:
        """Serve a group from now on."""
        self.groups[group.key] = group
        pin = group.selection.pin
        if name := group.selection.name:
            self._named.setdefault((group.namespace, name), {})[group.key] = group
        elif pin is None:
            self._loose[group.key] = group
        else:
            _, values = self._pinned.setdefault(pin.field, (pin.read, {}))
            values.setdefault(pin.value, {})[group.key] = group

    def remove(self, group: Group) -> None:
        """Serve a group no longer."""
        del self.groups[group.key]
        pin = group.selection.pin
        if name := group.selection.name:
            named = self._named[group.namespace, name]
            del named[group.key]
            if not named:
                del self._named[group.namespace, name]
            return
        if pin is None:
            del self._loose[group.key]
            return
        _, values = self._pinned[pin.field]
        del values[pin.value][group.key]
        if not values[pin.value]:
            del values[pin.value]
        if not values:
            del self._pinned[pin.field]

    def publish(self, changes: Sequence[Change]) -> None:
        """Frame a batch of changes and deliver it, one call per watch."""
        seen = [Seen(change) for change in changes]
        frames: dict[GroupKey, list[tuple[int, bytes]]] = {}
        shared: dict[tuple[int, str, str, int], bytes] = {}
        for one in seen:
            for group in tuple(self._interested(one)):
                event = group.event(one)
                if event is None:
                    continue
                kind, value = event
                key = (one.change.revision, group.form.name, kind, id(group.resource))
                frame = shared.get(key)
                if frame is None:
                    frame = shared[key] = group.form.event(kind, value)
                frames.setdefault(group.key, []).append((one.change.revision, frame))
        for group_key, found in frames.items():
            wanting = self.groups.get(group_key)
            if wanting is not None:
                _deliver(wanting, found)

    def _interested(self, seen: Seen) -> Iterable[Group]:
        yield from self._loose.values()
        for namespace in {seen.namespace, ""}:
            yield from self._named.get((namespace, seen.name), {}).values()
        for read, values in self._pinned.values():
            texts = {read(seen.after())}
            if seen.change.previous is not None:
                texts.add(read(seen.before()))
            for text in sorted(texts):
                yield from values.get(text, {}).values()


def _deliver(group: Group, found: list[tuple[int, bytes]]) -> None:
    frames = tuple(frame for _, frame in found)
    first = found[0][0]
    for watch in tuple(group.members):
        if watch.minimum < first:
            watch.tell(frames)
        else:
            wanted = tuple(frame for revision, frame in found if revision > watch.minimum)
            if wanted:
                watch.tell(wanted)


class Hub:
    """All watches of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._topics: dict[str, Topic] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def revision(self) -> int:
        """The newest revision a watch has been told, or would have been."""
        return self._store.revision

    @property
    def watching(self) -> int:
        """How many watches there are."""
        return sum(
            len(group.members) for topic in self._topics.values() for group in topic.groups.values()
        )

    def open(
        self,
        resource: Resource,
        canonical: Resource,
        namespace: str,
        selection: Selection,
        form: Form,
        deliver: Deliver,
        *,
        bookmarks: bool = False,
        minimum: int = 0,
    ) -> Watch:
        """Add a watch for changes newer than `minimum`; nothing is delivered yet."""
        key = (resource, namespace, selection.identity, form.name)
        topic = self._topics.get(canonical.prefix)
        if topic is None:
            topic = self._topics[canonical.prefix] = Topic(self._store, canonical.prefix)
        group = topic.groups.get(key)
        if group is None:
            group = Group(key, resource, canonical, selection, form)
            topic.add(group)
        watch = Watch(self, group, deliver, bookmarks=bookmarks, minimum=minimum)
        group.members[watch] = None
        if bookmarks and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BOOKMARK_SECONDS, self._tick)
        return watch

    def leave(self, group: Group, watch: Watch) -> None:
        """Drop a watch, and what only it needed."""
        del group.members[watch]
        if group.members:
            return
        prefix = group.canonical.prefix
        topic = self._topics[prefix]
        topic.remove(group)
        if not topic.groups:
            topic.unsubscribe()
            del self._topics[prefix]

    def replay(self, watch: Watch, after: int) -> APIError | None:
        """Deliver what happened since revision `after`; return the error if that is no longer known."""
        group = watch.group
        assert group is not None
        try:
            changes = self._store.history(group.canonical.prefix, after)
        except Compacted:
            return Expired(f"too old resource version: {after} ({self._store.oldest})")
        except FutureRevision:
            return None  # the watch waits for it: see `minimum`
        watch.minimum = max(after, self.revision)  # part of it may still be on its way to listeners
        frames = []
        for change in changes:
            seen = Seen(change)
            event = group.event(seen)
            if event is not None:
                frames.append(group.form.event(*event))
        if frames:
            watch.deliver(tuple(frames))
        return None

    def present(self, watch: Watch, entries: Iterable[Entry], *, mark_end: bool) -> None:
        """Deliver what there is as ADDED, and say where that ends if `mark_end`."""
        group = watch.group
        assert group is not None
        watch.minimum = self.revision
        frames = [
            group.form.event("ADDED", group.served(None, entry.value, "now")) for entry in entries
        ]
        if mark_end:
            frames.append(group.bookmark(self.revision, initial_end=True))
        if frames:
            watch.deliver(tuple(frames))

    def close(self) -> None:
        """Stop the bookmarks and leave the store."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for topic in self._topics.values():
            topic.unsubscribe()
        self._topics.clear()

    def _tick(self) -> None:
        self._timer = None
        wanted = False
        for topic in tuple(self._topics.values()):
            for group in tuple(topic.groups.values()):
                wanted |= self._bookmark(group)
        if wanted:
            self._timer = asyncio.get_running_loop().call_later(BOOKMARK_SECONDS, self._tick)

    def _bookmark(self, group: Group) -> bool:
        members = [watch for watch in group.members if watch.bookmarks]
        if members:
            frames = (group.bookmark(self.revision),)
            for watch in members:
                watch.tell(frames)
        return bool(members)
