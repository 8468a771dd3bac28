"""Typed look-ups of cluster objects for authentication, authorization and admission, from memory."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from kubelite.api.kinds.model import Kind

K = TypeVar("K", bound=Kind)

# Called on the loop with the object before (None: created) and after (None: deleted); must not block.
LookupListener = Callable[[K | None, K | None], None]


class Lookup(Protocol):
    """Reads typed objects as of the last durable change, without a request and without authorization.

    Kinds: Namespace, Node, Pod, Secret, ServiceAccount, PersistentVolume, PersistentVolumeClaim,
    VolumeAttachment, ResourceClaim, Lease, the four RBAC kinds and those that admission reads.
    """

    def get(self, kind: type[K], name: str, namespace: str = "") -> K | None:
        """Return one object; None if it does not exist."""
        ...

    def list(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind, or those of one namespace."""
        ...

    def subscribe(self, kind: type[K], listener: LookupListener[K]) -> Callable[[], None]:
        """Call `listener(None, object)` for each object, then for each change; return a call that ends it."""
        ...

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object, without a copy of all others; return a call that ends it."""
        ...


class FixedLookup:
    """A look-up over a fixed set of objects; for checks of objects not yet written, and for tests."""

    def __init__(self, items: Sequence[Kind] = ()) -> None:
        self._items: dict[type[Kind], dict[tuple[str, str], Any]] = {}
        self._listeners: dict[type[Kind], list[LookupListener[Any]]] = {}
        for item in items:
            self.put(item)

    def put(self, item: Any) -> None:
        """Add or replace an object."""
        meta = item.metadata
        objects = self._items.setdefault(type(item), {})
        before = objects.get((meta.namespace, meta.name))
        objects[meta.namespace, meta.name] = item
        for listener in self._listeners.get(type(item), ()):
            listener(before, item)

    def remove(self, kind: type[Kind], name: str, namespace: str = "") -> None:
        """Remove an existing object."""
        before = self._items[kind].pop((namespace, name))
        for listener in self._listeners.get(kind, ()):
            listener(before, None)

    def get(self, kind: type[K], name: str, namespace: str = "") -> K | None:
        """Return one object; None if it does not exist."""
        found: K | None = self._items.get(kind, {}).get((namespace, name))
        return found

    def list(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind, or those of one namespace."""
        objects: dict[tuple[str, str], K] = self._items.get(kind, {})
        return [item for key, item in sorted(objects.items()) if namespace in ("", key[0])]

    def subscribe(self, kind: type[K], listener: LookupListener[K]) -> Callable[[], None]:
        """Call `listener(None, object)` for each object, then for each change; return a call that ends it."""
        for item in self.list(kind):
            listener(None, item)
        listeners = self._listeners.setdefault(kind, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object; return a call that ends it."""

        def look(before: Any, after: Any) -> None:
            meta = (before or after).metadata
            if (meta.namespace, meta.name) == (namespace, name):
                changed()

        listeners = self._listeners.setdefault(kind, [])
        listeners.append(look)
        return lambda: listeners.remove(look)
