"""The mirrors of the server process, updated by the watch hub in the call that makes a change visible.

All clients share one mirror per (resource, form, namespace, selection); `LocalClient` checks the rights of the caller.
A mirror ends when its last reader has closed it, and when its resource is no longer served: all its objects are removed
then. An object that several mirrors of one type hold is decoded once, without its managed fields.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace

from kubelite.api.client.converted import OWNER, ConvertedFeed
from kubelite.api.client.decoding import mirror_decoder, typed_for_mirror
from kubelite.api.client.mirror import ObjectMirror, name_of, tell
from kubelite.api.client.protocol import MirrorListener, ServedResource
from kubelite.api.errors import BadRequest
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.api.machinery.field_selectors import NAME
from kubelite.api.registry.hub import Hub
from kubelite.api.registry.reading import Reader, served_bytes
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.selection import parse_selection
from kubelite.api.registry.table import ResourceTable
from kubelite.limits import LOOKED_AT
from kubelite.store.protocol import Entry, Store
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Kind)
DECODED_MAX = 64  # objects in the cache of a decoder: about the changes of one commit
DECODED_BYTES_MAX = (
    16 * 1024
)  # larger objects are not cached, since the cache keeps them beyond their life
FOLLOWED = {
    "list",
    "watch",
    "delete",
}  # the verbs of resources that controllers of all resources follow


_MARKS = {"DELETED": b"-", "BOOKMARK": b"="}


class EventForm:
    """The event of a mirror: ``+`` (put), ``-`` (delete) or ``=`` (bookmark), then the object's JSON."""

    name = "mirror"
    event_cost = 0

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return the mark followed by the object."""
        return _MARKS.get(event_type, b"+") + value


class SignalForm:
    """The event of a follower, which needs no content: an empty line."""

    name = "signal"
    event_cost = 0

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return an empty line."""
        del event_type, value
        return b""


EVENT_FORM = EventForm()
SIGNAL_FORM = SignalForm()


class Decoder:
    """Decodes objects as one type, for several users with a cache of the last ones by their bytes."""

    def __init__(self, type_: Any) -> None:
        """`type_` is a Kind, `ObjectMetadata`, or dict."""
        self._decode = mirror_decoder(type_)
        self._known: dict[bytes, Any] = {}
        self.users = 0

    def __call__(self, value: bytes) -> Any:
        """Return the object."""
        if self.users <= 1 or len(value) > DECODED_BYTES_MAX:
            return self._decode(value)
        found: Any = self._known.get(value)
        if found is None:
            if len(self._known) >= DECODED_MAX:
                self._known.clear()
            found = self._known[value] = self._decode(value)
        return found


class _Choice(NamedTuple):
    """Which objects of a resource a mirror holds, and in which form."""

    group: str
    version: str
    plural: str
    type_: Any
    namespace: str
    label_selector: str
    field_selector: str


class _Feed:
    """One mirror and the watch that feeds it."""

    def __init__(self, mirror: ObjectMirror[Any], row: Resource, decode: Decoder) -> None:
        self.mirror = mirror
        self.row = row
        self.decode = decode
        self.stop: Callable[[], object] = lambda: None

    def deliver(self, frames: Sequence[bytes]) -> None:
        """Put or remove the objects of some events."""
        for frame in frames:
            item = self.decode(frame[1:])
            if frame.startswith(b"+"):
                self.mirror.put(item)
            else:
                self.mirror.remove(*name_of(item))


class Mirrors:
    """All mirrors of a server; also the `Lookup` of authentication, authorization and admission."""

    def __init__(self, store: Store, resources: ResourceTable, hub: Hub) -> None:
        self._store = store
        self._resources = resources
        self._hub = hub
        self._reader = Reader(store)
        self._decoders: dict[Any, Decoder] = {}
        # Those without namespace and selectors, for fast access.
        self._whole: dict[type[Kind], ObjectMirror[Any]] = {}
        self._feeds: dict[_Choice, _Feed] = {}
        self._last: dict[str, tuple[bytes, Any]] = {}  # by key: what was decoded, and the object
        self._tasks = TaskSet()
        resources.subscribe(self._table_changed)
        self.served = TableServed(resources)

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectMirror[K]:
        """Return the synced mirror of a kind's objects; raises BadRequest for an invalid selector."""
        row = self._resources.by_kind(kind.gvk)
        assert row is not None, f"{kind.__name__} is not served"
        return self.open(
            row, kind, namespace, label_selector=label_selector, field_selector=field_selector
        )

    def open(
        self,
        row: Resource,
        type_: Any,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectMirror[Any]:
        """Return the synced mirror of a resource's objects as `type_`: a Kind, dict, or `ObjectMetadata`.

        Raises BadRequest for an invalid selector.
        """
        if type_ is ObjectMetadata:
            row = row.canonical  # all versions have the same metadata
        choice = _Choice(
            row.group, row.version, row.plural, type_, namespace, label_selector, field_selector
        )
        feed = self._feeds.get(choice)
        if feed is None:
            feed = self._start(choice, row)
        return feed.mirror.opened()

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object, without a copy of it; return a call that ends it."""
        resource = self._resources.by_kind(kind.gvk)
        assert resource is not None, f"{kind.__name__} is not served"
        watch = self._hub.open(
            resource,
            namespace,
            parse_selection(resource, "", f"{NAME}={name}"),
            SIGNAL_FORM,
            lambda _: changed(),
            minimum=self._hub.revision,
        )
        return watch.close

    def get(self, kind: type[K], name: str, namespace: str = "") -> K | None:
        """Return one object; None if it does not exist. One without a mirror is decoded, and no mirror is made."""
        whole = self._whole.get(kind)
        if whole is not None:
            found: K | None = whole.get(name, namespace)
            return found
        row = self._resources.by_kind(kind.gvk)
        assert row is not None, f"{kind.__name__} is not served"
        entry = self._store.get(row.key(namespace, name))
        return None if entry is None else self._looked_at(kind, row, entry)

    def _looked_at(self, kind: type[K], row: Resource, entry: Entry) -> K:
        """Return an object that no mirror holds; the last ones are kept: each request may ask about its caller."""
        known = self._last.get(entry.key)
        if known is not None and known[0] is entry.value and type(known[1]) is kind:
            found: K = known[1]
            return found
        item = typed_for_mirror(kind, served_bytes(row, entry))
        if len(entry.value) <= DECODED_BYTES_MAX:
            if len(self._last) >= LOOKED_AT.value:
                LOOKED_AT.reached()
                self._last.clear()
            self._last[entry.key] = (entry.value, item)
        return item

    def list(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind, or those of one namespace."""
        whole = self._whole.get(kind)
        kept: ObjectMirror[K] = self.mirror(kind) if whole is None else whole  # never closed
        return kept.list(namespace)

    def subscribe(self, kind: type[K], listener: MirrorListener[K]) -> Callable[[], None]:
        """Call `listener(None, object)` for each object now, then for each change; return a call that ends it."""
        mirror = self.mirror(kind)
        unsubscribe = mirror.subscribe(listener)

        def end() -> None:
            unsubscribe()
            mirror.close()

        return end

    def _start(self, choice: _Choice, row: Resource) -> _Feed:
        decode = self._decoders.get(choice.type_) or Decoder(choice.type_)
        mirror: ObjectMirror[Any] = ObjectMirror(lambda: self._end(choice, feed))
        feed = _Feed(mirror, row, decode)
        self._fill(choice, feed)
        self._decoders[choice.type_] = decode
        decode.users += 1
        self._feeds[choice] = feed
        if choice.type_ not in (dict, ObjectMetadata) and not any(choice[4:]):
            self._whole[choice.type_] = mirror
        return feed

    def _fill(self, choice: _Choice, feed: _Feed) -> None:
        row = feed.row
        if choice.type_ is ObjectMetadata:
            row = replace(row, conversion=None)  # it changes no metadata that is kept
        selection = parse_selection(row, choice.label_selector, choice.field_selector)
        if row.conversion is not None and row.conversion.waits:
            converted = ConvertedFeed(self._hub, self._store, feed.mirror, feed.decode)
            task = self._tasks.supervise(
                lambda: converted.run(
                    lambda deliver, expired: self._hub.open(
                        row,
                        choice.namespace,
                        selection,
                        EVENT_FORM,
                        deliver,
                        expired=expired,
                        owner=OWNER,
                    )
                ),
                name=f"mirror of {row.group_resource}",
            )
            feed.stop = task.cancel
            return
        entries = self._reader.chosen(row, choice.namespace, selection)
        feed.mirror.replace(feed.decode(served_bytes(row, entry)) for entry in entries)
        # A change contained in the list may still be in delivery, so `minimum` keeps it from being delivered again.
        watch = self._hub.open(
            row,
            choice.namespace,
            selection,
            EVENT_FORM,
            feed.deliver,
            minimum=self._hub.revision,
        )
        feed.stop = watch.close

    def _end(self, choice: _Choice, feed: _Feed) -> None:
        if self._feeds.get(choice) is not feed:
            return  # it ended before, with its resource
        del self._feeds[choice]
        feed.stop()
        if self._whole.get(choice.type_) is feed.mirror:
            del self._whole[choice.type_]
        feed.decode.users -= 1
        if not feed.decode.users:
            del self._decoders[choice.type_]

    def _table_changed(self, *_: object) -> None:
        """End the mirrors of resources that are gone, and feed those of changed ones from their new rows."""
        for choice, feed in tuple(self._feeds.items()):
            row = self._resources.find(*choice[:3])
            if row is not feed.row:
                self._replace_row(choice, feed, row)

    def _replace_row(self, choice: _Choice, feed: _Feed, row: Resource | None) -> None:
        try:
            if row is not None:
                feed.stop()
                feed.row = row
                self._fill(choice, feed)
                return
        except BadRequest:  # it selects by a field that is no longer selectable
            log.warning("mirror ended", extra={"resource": choice.plural})
        self._end(choice, feed)
        feed.mirror.replace(())


class TableServed:
    """The resources of a table that controllers of all resources follow."""

    def __init__(self, table: ResourceTable) -> None:
        self._table = table
        self._listeners: list[Callable[[], None]] = []
        self._known = _followed(table)
        table.subscribe(self._table_changed)

    def resources(self) -> Sequence[ServedResource]:
        """Return each resource that can be listed, watched and deleted once, at its preferred version."""
        return self._known

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change; return a function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _table_changed(self, *_: object) -> None:
        known = _followed(self._table)
        if known != self._known:
            self._known = known
            tell(self._listeners)


def _followed(table: ResourceTable) -> Sequence[ServedResource]:
    """Return what is served for `ServedResources`; of resources that share a storage (events) the first."""
    storages: dict[str, Resource] = {}
    for row in table.all():
        if set(row.verbs) >= FOLLOWED:
            storages.setdefault(row.storage, row)
    return [
        ServedResource(
            row.group, row.version, row.plural, row.kind.kind, row.namespaced, tuple(row.verbs)
        )
        for row in storages.values()
    ]
