"""What the verbs answer."""

from collections.abc import Sequence
from functools import cached_property

from msgspec import Struct


class Written(Struct, frozen=True):
    """What a create, update or patch answers."""

    body: bytes
    created: bool = False
    warnings: tuple[str, ...] = ()


class Listed(Struct, frozen=True, dict=True):
    """What a list answers, before it is put together."""

    items: Sequence[bytes]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None

    @cached_property
    def size_bytes(self) -> int:
        """How long all items are together."""
        return sum(map(len, self.items))


class Deleted(Struct, frozen=True):
    """What a delete answers: the object while it goes, or a Status (or the object) once it is gone."""

    body: bytes
    finished: bool
    warnings: tuple[str, ...] = ()
