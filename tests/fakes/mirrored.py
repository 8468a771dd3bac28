"""A client whose mirrors are filled by the test."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from kubelite.api.client.protocol import Client, Index, MirrorListener
from kubelite.api.kinds.model import Kind

K = TypeVar("K", bound=Kind)


class FilledMirror(Generic[K]):
    """A mirror of what was put into it; synced from the start."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], K] = {}
        self._indices: dict[str, Index[K]] = {}
        self._listeners: list[MirrorListener[K]] = []

    def put(self, item: K) -> None:
        """Create or update."""
        metadata = cast(Any, item).metadata
        key = (metadata.namespace, metadata.name)
        before = self._objects.get(key)
        self._objects[key] = item
        for listener in list(self._listeners):
            listener(before, item)

    def remove(self, name: str, namespace: str = "") -> None:
        """Delete."""
        before = self._objects.pop((namespace, name))
        for listener in list(self._listeners):
            listener(before, None)

    async def synced(self) -> None:
        return

    def get(self, name: str, namespace: str = "") -> K | None:
        return self._objects.get((namespace, name))

    def list(self, namespace: str = "") -> Sequence[K]:
        return [self._objects[key] for key in sorted(self._objects) if namespace in ("", key[0])]

    def add_index(self, index_name: str, index: Index[K]) -> None:
        self._indices.setdefault(index_name, index)

    def indexed(self, index_name: str, value: str) -> Sequence[K]:
        index = self._indices[index_name]
        return [item for item in self.list() if value in index(item)]

    def subscribe(self, listener: MirrorListener[K]) -> Callable[[], None]:
        self._listeners.append(listener)
        for item in self.list():
            listener(None, item)
        return lambda: self._listeners.remove(listener)


class MirroringClient:
    """Hands out one mirror per kind, whatever the selectors; all else of a client is missing."""

    def __init__(self) -> None:
        self._mirrors: dict[type[Kind], FilledMirror[Any]] = {}

    def mirror(self, kind: type[K], namespace: str = "", **_selectors: str) -> FilledMirror[K]:
        return self._mirrors.setdefault(kind, FilledMirror[Any]())

    def put(self, *items: Kind) -> None:
        """Create or update objects."""
        for item in items:
            self.mirror(type(item)).put(item)

    def as_client(self) -> Client:
        """Be what components ask for."""
        return cast(Client, self)
