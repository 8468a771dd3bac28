"""The one interface to the form of objects, for built-in kinds and custom resources alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from kubelite.api.errors import Cause
from kubelite.api.machinery.schema import Schema


class Shape(Protocol):
    """How objects of one resource in one version get and keep their form."""

    @property
    def schema(self) -> Schema:
        """The types and merge rules of the fields, as patches, server-side apply and managed fields read them."""
        ...

    def receive(self, body: dict[str, Any]) -> tuple[str, ...]:
        """Give a client's body its form in place: types, pruning, defaults; return the paths of dropped fields.

        Raises:
            BadRequest: A value has the wrong type; `body` is then partly shaped.
            RequestEntityTooLarge: The defaults of list elements would take too much memory.
        """
        ...

    def complete(self, item: dict[str, Any]) -> None:
        """Give the form to an object that the server or admission changed; raises what `receive` raises."""
        ...

    def causes(self, item: dict[str, Any], old: dict[str, Any] | None) -> Sequence[Cause]:
        """Return why an object does not satisfy its schema; () for built-in kinds, whose rules check all.

        Values that are as in `old`, the object to be replaced, are not blamed.
        """
        ...
