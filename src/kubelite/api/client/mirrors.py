"""The mirrors of the server process, updated by the watch hub in the call that makes a change visible.

All clients share one mirror per (kind, namespace, selection); `LocalClient.mirror` checks the rights of the caller. An
object of at most `DECODED_BYTES_MAX` bytes is decoded once for all mirrors of its type, without its managed fields.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from kubelite.api.client.mirror import ObjectMirror, name_of
from kubelite.api.client.protocol import MirrorListener
from kubelite.api.kinds.meta import PartialObjectMetadata
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.field_selectors import NAME
from kubelite.api.registry.hub import Hub
from kubelite.api.registry.reading import Reader, served_bytes
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.selection import Selection, parse_selection
from kubelite.api.registry.table import ResourceTable
from kubelite.store.protocol import Store

K = TypeVar("K", bound=Kind)
DECODED_MAX = 1024  # objects in the cache of a decoder
DECODED_BYTES_MAX = (
    16 * 1024
)  # larger objects are not cached, since the cache keeps them beyond their life


class EventForm:
    """The event of a mirror: ``+`` (put) or ``-`` (delete), then the object's JSON."""

    name = "mirror"
    event_cost = 0

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return the mark followed by the object."""
        return (b"-" if event_type == "DELETED" else b"+") + value


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
    """Decodes objects of one type, with a cache of the last ones by their bytes."""

    def __init__(self, type_: type[Kind]) -> None:
        self._decode = msgspec.json.Decoder(type_).decode
        self._known: dict[bytes, Any] = {}

    def __call__(self, value: bytes) -> Any:
        """Return the typed object."""
        found: Any = self._known.get(value)
        if found is None:
            if len(value) > DECODED_BYTES_MAX:
                return self._decode(value)
            if len(self._known) >= DECODED_MAX:
                self._known.clear()
            found = self._decode(value)
            # No component reads managed fields, which are half of an object's memory. A write without them keeps
            # the stored ones.
            found.metadata.managedFields.clear()
            self._known[value] = found
        return found


class Mirrors:
    """All mirrors of a server; also the `Lookup` of authentication, authorization and admission."""

    def __init__(self, store: Store, resources: ResourceTable, hub: Hub) -> None:
        self._resources = resources
        self._hub = hub
        self._reader = Reader(store)
        self._decoders: dict[type[Kind], Decoder] = {}
        self._whole: dict[
            type[Kind], ObjectMirror[Any]
        ] = {}  # those without namespace and selectors, for fast access
        self._mirrors: dict[tuple[object, ...], ObjectMirror[Any]] = {}

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectMirror[K]:
        """Return the synced mirror of a kind's objects; raises BadRequest for an invalid selector."""
        whole = not (namespace or label_selector or field_selector)
        if whole and (known := self._whole.get(kind)) is not None:
            return known
        resource = self._resources.by_kind(kind.gvk)
        assert resource is not None, f"{kind.__name__} is not served"
        selection = parse_selection(resource, label_selector, field_selector)
        mirror = self._open(resource, kind, namespace, selection)
        if whole:
            self._whole[kind] = mirror
        return mirror

    def metadata(self, resource: Resource) -> ObjectMirror[PartialObjectMetadata]:
        """Return the mirror of the metadata of a resource's objects."""
        return self._open(resource, PartialObjectMetadata, "", Selection())

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
        """Return one object; None if it does not exist."""
        return self.mirror(kind).get(name, namespace)

    def list(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind, or those of one namespace."""
        return self.mirror(kind).list(namespace)

    def subscribe(self, kind: type[K], listener: MirrorListener[K]) -> Callable[[], None]:
        """Call `listener(None, object)` for each object now, then for each change; return a call that ends it."""
        return self.mirror(kind).subscribe(listener)

    def _open(
        self, resource: Resource, type_: type[Any], namespace: str, selection: Selection
    ) -> ObjectMirror[Any]:
        key = (resource, type_, namespace, selection.identity)
        mirror = self._mirrors.get(key)
        if mirror is None:
            mirror = self._mirrors[key] = ObjectMirror()
            self._feed(mirror, resource, type_, namespace, selection)
        return mirror

    def _feed(
        self,
        mirror: ObjectMirror[Any],
        resource: Resource,
        type_: type[Any],
        namespace: str,
        selection: Selection,
    ) -> None:
        decode = self._decoders.get(type_)
        if decode is None:
            decode = self._decoders[type_] = Decoder(type_)

        def deliver(frames: Sequence[bytes]) -> None:
            for frame in frames:
                item = decode(frame[1:])
                if frame.startswith(b"+"):
                    mirror.put(item)
                else:
                    mirror.remove(*name_of(item))

        entries = self._reader.chosen(resource, namespace, selection)
        mirror.replace(decode(served_bytes(resource, entry)) for entry in entries)
        # A change contained in the list may still be in delivery, so `minimum` keeps it from being delivered again.
        self._hub.open(
            resource,
            namespace,
            selection,
            EVENT_FORM,
            deliver,
            minimum=self._hub.revision,
        )
