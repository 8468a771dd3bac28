"""The results of the verbs."""

from collections.abc import Sequence
from functools import cached_property

from msgspec import Struct


class Written(Struct, frozen=True):
    """The result of a create, update or patch."""

    body: bytes
    created: bool = False
    warnings: tuple[str, ...] = ()


class Listed(Struct, frozen=True, dict=True):
    """The result of a list: encoded items, not yet joined into one body."""

    items: Sequence[bytes]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None

    @cached_property
    def size_bytes(self) -> int:
        """The bytes of all items together."""
        return sum(map(len, self.items))


class Deleted(Struct, frozen=True):
    """The result of a delete: the object while its deletion is pending, a Status (or the object) once it is removed."""

    body: bytes
    finished: bool
    warnings: tuple[str, ...] = ()
