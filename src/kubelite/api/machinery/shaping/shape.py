"""The form of the objects of one resource in one version."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from kubelite.api.errors import Cause
from kubelite.api.machinery.schema import Schema


class Inspection:
    """One validation: what it warns of, and how long it may take."""

    __slots__ = ("patience", "warnings")

    def __init__(self, patience: int | None = None) -> None:
        """After `patience` units of the cost of expressions `TooPatient` is raised; None: never."""
        self.patience = patience
        self.warnings: list[str] = []


class TooPatient(Exception):
    """A validation takes longer than it may here, and is to be done elsewhere."""


class Shape(Protocol):
    """How objects of one resource in one version get and keep their form."""

    @property
    def schema(self) -> Schema:
        """The tree that patches, server-side apply and managed fields read; compiled on first use."""
        ...

    def receive(self, body: dict[str, Any]) -> tuple[str, ...]:
        """Give the body of a client its form in place, and return the paths of its unknown fields, which are dropped.

        Raises:
            BadRequest: A value has a type that no object of the kind can have; `body` is then partly shaped.
            RequestEntityTooLarge: The defaults of list elements would take too much memory.
        """
        ...

    def complete(self, item: dict[str, Any]) -> None:
        """Give its form, in place, to an object that the server or admission changed; raises as `receive`."""
        ...

    def cost(self, object_bytes: int) -> int:
        """Return the cost of `receive`, and of `causes` beyond that of rules, for `kubelite.offload`."""
        ...

    def complete_status(self, item: dict[str, Any]) -> None:
        """Add to a status, which a strategy has just set, the fields that are always encoded."""
        ...

    def causes(
        self,
        item: Mapping[str, Any],
        old: Mapping[str, Any] | None,
        subresource: str = "",
        inspection: Inspection | None = None,
    ) -> Sequence[Cause]:
        """Return why an object does not satisfy its schema; values that did not change since `old` are not blamed.

        A write of the subresource status is blamed for the status alone. Raises TooPatient.
        """
        ...
