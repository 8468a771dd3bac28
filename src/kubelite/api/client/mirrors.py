"""The mirrors of the server process, fed by the watch hub in the very call that makes a change visible.

Whoever asks for the same (kind, namespace, selection) gets the same mirror, whatever their identity: who may see it is
checked where it is handed out. Each object is decoded once for all mirrors that hold it, without its managed fields.
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
from kubelite.api.registry.reading import Reader, viewed
from kubelite.api.registry.resources import Resource, ResourceTable
from kubelite.api.registry.selection import Selection, parse_selection
from kubelite.store.protocol import Store

K = TypeVar("K", bound=Kind)
DECODED_MAX = 1024  # objects that were decoded lately
DECODED_BYTES_MAX = 16 * 1024  # of one of them: what is remembered is kept beside what is there


class EventForm:
    """What a mirror is told: one byte for the kind of change, then the object."""

    name = "mirror"
    event_cost = 0

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return the mark and the object."""
        return (b"-" if event_type == "DELETED" else b"+") + value


class SignalForm:
    """What is told when nobody asks what changed: nothing."""

    name = "signal"
    event_cost = 0

    def event(self, event_type: str, value: bytes) -> bytes:
        """Return nothing."""
        del event_type, value
        return b""


EVENT_FORM = EventForm()
SIGNAL_FORM = SignalForm()


class Decoder:
    """Decodes objects of one type, each once."""

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
            # Nobody in the process asks who wrote which field; it is half of what an object takes. A write that
            # comes without it leaves it as it is.
            found.metadata.managedFields.clear()
            self._known[value] = found
        return found


class Mirrors:
    """All mirrors of a server; also the typed look-ups that authorization and admission use."""

    def __init__(self, store: Store, resources: ResourceTable, hub: Hub) -> None:
        self._resources = resources
        self._hub = hub
        self._reader = Reader(store)
        self._decoders: dict[type[Kind], Decoder] = {}
        self._whole: dict[type[Kind], ObjectMirror[Any]] = {}  # those of all objects, found at once
        self._mirrors: dict[tuple[object, ...], ObjectMirror[Any]] = {}

    def mirror(
        self,
        kind: type[K],
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> ObjectMirror[K]:
        """Return the mirror of a kind's objects, complete at once; raises BadRequest for a bad selector."""
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
        """Call `changed` after each change of one object; return the call that ends it. Holds no copy of it."""
        resource = self._resources.by_kind(kind.gvk)
        assert resource is not None, f"{kind.__name__} is not served"
        watch = self._hub.open(
            resource,
            self._resources.canonical(resource),
            namespace,
            parse_selection(resource, "", f"{NAME}={name}"),
            SIGNAL_FORM,
            lambda _: changed(),
            minimum=self._hub.revision,
        )
        return watch.close

    def get(self, kind: type[K], name: str, namespace: str = "") -> K | None:
        """Return one object."""
        return self.mirror(kind).get(name, namespace)

    def list(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind, or those of one namespace."""
        return self.mirror(kind).list(namespace)

    def subscribe(self, kind: type[K], listener: MirrorListener[K]) -> Callable[[], None]:
        """Call `listener(None, object)` for all there is, then for each change; return the call that ends it."""
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
        view = resource.view
        mirror.replace(
            decode(entry.value if view is None else viewed(view, entry.value)) for entry in entries
        )
        canonical = self._resources.canonical(resource)
        # A change that is in the list may still be on its way to listeners: it is not told again.
        self._hub.open(
            resource,
            canonical,
            namespace,
            selection,
            EVENT_FORM,
            deliver,
            minimum=self._hub.revision,
        )
