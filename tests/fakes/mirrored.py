"""A client whose mirrors are filled by the test."""

from typing import Any, TypeVar, cast

from kubelite.api.client.mirror import ObjectMirror
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.model import Kind

K = TypeVar("K", bound=Kind)


class MirroringClient:
    """Hands out one mirror per kind, whatever the selectors, synced from the start; all else of a client is missing."""

    def __init__(self) -> None:
        self._mirrors: dict[type[Kind], ObjectMirror[Any]] = {}

    def mirror(self, kind: type[K], _namespace: str = "", **_selectors: str) -> ObjectMirror[K]:
        """Return the mirror of a kind."""
        if kind not in self._mirrors:
            self._mirrors[kind] = ObjectMirror()
            self._mirrors[kind].replace([])
        return self._mirrors[kind]

    def put(self, *items: Kind) -> None:
        """Create or update objects."""
        for item in items:
            self.mirror(type(item)).put(item)

    def as_client(self) -> Client:
        """Be what components ask for."""
        return cast(Client, self)
