"""Clients of a cluster that are used from any loop: those of the API, carried out in the loop of the cluster."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from kubelite.api.client.call import Call
from kubelite.api.client.calls import TypedCalls
from kubelite.api.client.local import LocalClient
from kubelite.api.client.protocol import Index, Mirror, MirrorListener, ServedResources
from kubelite.api.kinds.model import Kind
from kubelite.testing.loop import Door

T = TypeVar("T")


class ClusterClient(TypedCalls):
    """Reads and writes objects under one identity, typed or as dicts; all calls raise `kubelite.api.errors.APIError`.

    Listeners are called in the loop of the cluster.
    """

    def __init__(self, door: Door, client: LocalClient) -> None:
        self._door = door
        self._client = client

    @property
    def served(self) -> ServedResources:
        """The resources that the server serves."""
        return self._client.served

    async def send(self, call: Call) -> bytes:
        """Carry out a call; return the JSON of its answer."""
        return await self._door.run(self._client.send(call))

    async def listed(self, call: Call, type_: Any) -> list[Any]:
        """Return the objects of a list as `type_`: a Kind, or dict."""
        return await self._door.run(self._client.listed(call, type_))

    def opened(self, call: Call, type_: Any) -> Mirror[Any]:
        """Return a mirror; raises NotFound, and Forbidden if the caller may not list and watch the objects."""
        return _DoorMirror(self._door, self._door.call(lambda: self._client.opened(call, type_)))

    def follow(
        self, kind: type[Kind], name: str, namespace: str, changed: Callable[[], None]
    ) -> Callable[[], None]:
        """Call `changed` after each change of one object; return a call that ends it. Raises Forbidden."""
        end = self._door.call(lambda: self._client.follow(kind, name, namespace, changed))
        return lambda: self._door.call(end)

    def on_return(self, returned: Callable[[], None]) -> Callable[[], None]:
        """Never call `returned`, as the server is always there."""
        return self._client.on_return(returned)


class _DoorMirror:
    """A mirror that is used from any loop."""

    def __init__(self, door: Door, mirror: Mirror[T]) -> None:
        self._door = door
        self._mirror: Mirror[Any] = mirror

    async def synced(self) -> None:
        """Wait until the first complete list has arrived."""
        await self._door.run(self._mirror.synced())

    def get(self, name: str, namespace: str = "") -> Any:
        """Return one object as last seen; None if it does not exist."""
        return self._door.call(lambda: self._mirror.get(name, namespace))

    def list(self, namespace: str = "") -> Sequence[Any]:
        """Return all objects, or those of one namespace, ordered by namespace and name."""
        return self._door.call(lambda: tuple(self._mirror.list(namespace)))

    def add_index(self, index_name: str, index: Index[Any]) -> None:
        """Maintain an index of the values that `index` returns for an object; an existing name keeps its index."""
        self._door.call(lambda: self._mirror.add_index(index_name, index))

    def indexed(self, index_name: str, value: str) -> Sequence[Any]:
        """Return the objects whose index has `value`, ordered by namespace and name."""
        return self._door.call(lambda: tuple(self._mirror.indexed(index_name, value)))

    def subscribe(self, listener: MirrorListener[Any]) -> Callable[[], None]:
        """Call `listener(None, object)` for each object now, then for each change; return a call that ends it."""
        end = self._door.call(lambda: self._mirror.subscribe(listener))
        return lambda: self._door.call(end)

    def close(self) -> None:
        """Give the mirror back."""
        self._door.call(self._mirror.close)
