"""An in-memory copy of objects: the part of a mirror that does not depend on the source of changes."""

import asyncio
import logging
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from kubelite.api.client.protocol import Index, MirrorListener
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind

log = logging.getLogger(__name__)

T = TypeVar("T")
Name = tuple[str, str]  # namespace ("" for a cluster-scoped object) and name


def metadata_of(item: Kind) -> ObjectMeta:
    """Return the metadata of an object."""
    metadata: ObjectMeta = item.metadata  # type: ignore[attr-defined]  # of every Kind that is served
    return metadata


def name_of(item: Any) -> Name:
    """Return namespace and name, the key of a typed object or a dict in a mirror."""
    if isinstance(item, dict):
        metadata = item["metadata"]
        return metadata.get("namespace", ""), metadata["name"]
    return item.metadata.namespace, item.metadata.name


def version_of(item: Any) -> str:
    """Return the resource version of a typed object or a dict."""
    if isinstance(item, dict):
        version: str = item["metadata"].get("resourceVersion", "")
        return version
    return str(item.metadata.resourceVersion)


def tell(listeners: Iterable[Callable[[], None]]) -> None:
    """Call listeners of a change that has no content; one that fails is logged."""
    for listener in tuple(listeners):
        try:
            listener()
        except Exception:  # the other listeners, and whoever made the change, must go on
            log.exception("a listener failed")


class ObjectMirror(Generic[T]):
    """Stores objects sorted by name, maintains indexes, and calls listeners at each change.

    The source calls `put`, `remove` and `replace`; readers use it as a `Mirror`. It counts its readers: the source
    calls `opened` for each, and `released` is called when the last one closes it.
    """

    def __init__(self, released: Callable[[], None] = lambda: None) -> None:
        self._released = released
        self._readers = 0
        self._items: dict[Name, T] = {}
        self._names: list[Name] = []  # sorted
        # By index name: its function, and by value the sorted names of the objects.
        self._indexes: dict[str, tuple[Index[T], dict[str, list[Name]]]] = {}
        self._listeners: list[MirrorListener[T]] = []
        self._synced = asyncio.Event()

    async def synced(self) -> None:
        """Wait until the first complete list has arrived."""
        await self._synced.wait()

    def opened(self) -> "ObjectMirror[T]":
        """Count one more reader."""
        self._readers += 1
        return self

    def close(self) -> None:
        """Give the mirror back; the last reader's call ends it."""
        if self._readers:
            self._readers -= 1
            if not self._readers:
                self._released()

    @property
    def is_synced(self) -> bool:
        """Whether the first complete list has arrived."""
        return self._synced.is_set()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, name: str, namespace: str = "") -> T | None:
        """Return one object as last seen; None if it does not exist."""
        return self._items.get((namespace, name))

    def list(self, namespace: str = "") -> Sequence[T]:
        """Return all objects, or those of one namespace, ordered by namespace and name."""
        items, names = self._items, self._names
        if namespace:
            start, end = (
                bisect_left(names, (namespace, "")),
                bisect_left(names, (namespace + "\0", "")),
            )
            names = names[start:end]
        return [items[name] for name in names]

    def add_index(self, index_name: str, index: Index[T]) -> None:
        """Maintain an index of the values that `index` returns for an object; an existing name keeps its index."""
        if index_name in self._indexes:
            return
        values: dict[str, list[Name]] = {}
        self._indexes[index_name] = (index, values)
        for name in self._names:
            for value in index(self._items[name]):
                _enter(values, value, name)

    def indexed(self, index_name: str, value: str) -> Sequence[T]:
        """Return the objects whose index has `value`, ordered by namespace and name."""
        names = self._indexes[index_name][1].get(value)
        items = self._items
        return [items[name] for name in names] if names else ()

    def subscribe(self, listener: MirrorListener[T]) -> Callable[[], None]:
        """Call `listener(None, object)` for each object now, then for each change; return a call that ends it."""
        for item in self.list():
            listener(None, item)
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def put(self, item: T) -> None:
        """Add or replace an object and call the listeners."""
        name = name_of(item)
        before = self._items.get(name)
        if before is None:
            insort(self._names, name)
        self._items[name] = item
        self._reindex(name, before, item)
        self._tell(before, item)

    def remove(self, namespace: str, name: str) -> None:
        """Remove an object, if it exists, and call the listeners."""
        key = (namespace, name)
        before = self._items.pop(key, None)
        if before is None:
            return
        del self._names[bisect_left(self._names, key)]
        self._reindex(key, before, None)
        self._tell(before, None)

    def replace(self, items: Iterable[T]) -> None:
        """Replace the content by `items`, calling listeners only for differences, and mark the mirror as synced."""
        wanted = {name_of(item): item for item in items}
        for name in [name for name in self._names if name not in wanted]:
            self.remove(*name)
        for name, item in wanted.items():
            before = self._items.get(name)
            if before is None or version_of(before) != version_of(item):
                self.put(item)
        self._synced.set()

    def _tell(self, before: T | None, after: T | None) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(before, after)
            except Exception:  # the other listeners must still get the change
                log.exception("a mirror's listener failed")

    def _reindex(self, name: Name, before: T | None, after: T | None) -> None:
        for index, values in self._indexes.values():
            old = index(before) if before is not None else ()
            new = index(after) if after is not None else ()
            if old == new:
                continue
            for value in old:
                _leave(values, value, name)
            for value in new:
                _enter(values, value, name)


def _enter(values: dict[str, list[Name]], value: str, name: Name) -> None:
    names = values.setdefault(value, [])
    at = bisect_left(names, name)
    if at == len(names) or names[at] != name:  # an index function may return a value twice
        names.insert(at, name)


def _leave(values: dict[str, list[Name]], value: str, name: Name) -> None:
    names = values.get(value, [])
    at = bisect_left(names, name)
    if at < len(names) and names[at] == name:
        del names[at]
        if not names:
            del values[value]
