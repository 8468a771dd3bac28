"""What admission plugins are asked, and the two shapes a plugin has.

A plugin gets what it needs (typed lookups over the store, a clock) in its constructor. A mutating plugin
changes `request.object` in place; a validating one raises `Forbidden`, `Invalid` or another API error. Mutating
plugins run first, in the order of their list, then defaults are filled in and the object is checked, then the
validating ones run.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.registry.options import DeletionOptions, WriteOptions
from kubelite.api.registry.resources import Resource
from kubelite.store.protocol import Check, Operation


class Verb(StrEnum):
    """The operation as admission names it."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


class Reservation(Protocol):
    """Something that must hold or fall together with the write, such as quota or an allocated address.

    The operations join the commit of the object itself: all are applied or none. When one of them meets another
    revision than it expects, the whole write is tried again from admission on, with new reservations.
    """

    def operations(self) -> Sequence[Operation]:
        """Return what to commit beside the object; asked once, right before the commit."""
        ...

    def settled(self, *, committed: bool) -> None:
        """Learn, exactly once, whether the write happened; for a dry run it did not."""
        ...


class AdmissionRequest:
    """One write on its way to the store."""

    __slots__ = (
        "attributes",
        "caller",
        "checks",
        "dry_run",
        "object",
        "old",
        "operation",
        "options",
        "reservations",
        "resource",
        "warnings",
    )

    def __init__(
        self,
        *,
        caller: Caller,
        attributes: Attributes,
        operation: Verb,
        resource: Resource,
        item: dict[str, Any] | None,
        old: dict[str, Any] | None,
        options: WriteOptions | DeletionOptions,
        dry_run: bool = False,
    ) -> None:
        self.caller = caller
        self.attributes = attributes  # verb, subresource, namespace and name are here
        self.operation = operation
        self.resource = (
            resource  # of the stored object; a subresource's body may be of another kind
        )
        self.object = item  # None: a deletion
        self.old = old  # None: a creation; never change it
        self.options = options
        self.dry_run = dry_run
        self.warnings: list[str] = []
        self.reservations: list[Reservation] = []
        self.checks: list[
            Check
        ] = []  # what was looked at and must still be so when the write is committed

    def add_warning(self, text: str) -> None:
        """Tell the client something without refusing."""
        if text not in self.warnings:
            self.warnings.append(text)

    def annotate(self, name: str, value: str) -> None:
        """Add a fact to the audit event of the request, if it has one."""
        if isinstance(self.options, WriteOptions) and self.options.annotations is not None:
            self.options.annotations[name] = value

    def reserve(self, reservation: Reservation) -> None:
        """Let `reservation` take part in the commit."""
        self.reservations.append(reservation)


@runtime_checkable
class Mutating(Protocol):
    """A plugin that completes or changes objects."""

    @property
    def name(self) -> str:
        """The name Kubernetes gives the plugin."""
        ...

    async def mutate(self, request: AdmissionRequest) -> None:
        """Change `request.object` in place, or refuse by raising."""
        ...


@runtime_checkable
class Validating(Protocol):
    """A plugin that refuses objects."""

    @property
    def name(self) -> str:
        """The name Kubernetes gives the plugin."""
        ...

    async def validate(self, request: AdmissionRequest) -> None:
        """Refuse by raising an API error."""
        ...
