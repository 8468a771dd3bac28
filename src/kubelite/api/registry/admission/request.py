"""The request of admission plugins, and the protocols of mutating and validating plugins.

A plugin gets its dependencies (typed look-ups over the store, a clock) in its constructor. A mutating plugin changes
`request.object` in place; a validating one raises `Forbidden`, `Invalid` or another API error. The mutating plugins run
first, in the order of their list; then defaults are filled in and the object is validated; then the validating plugins
run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import APIError
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.options import DeletionOptions, WriteOptions
from kubelite.api.registry.reservation import Reservation
from kubelite.api.registry.resource import Resource
from kubelite.store.protocol import Check


class Verb(StrEnum):
    """The operation as admission names it."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    CONNECT = "CONNECT"


class Invocations:
    """Which webhooks, or which policies, were invoked for a request, and which of them have to be invoked again."""

    __slots__ = ("_last_output", "_reinvocable", "_repetition", "_seen")

    def __init__(self, repetition: "Repetition") -> None:
        self._repetition = repetition
        # Those that want to be invoked again if the object changes after them, and those after which it did.
        self._seen: set[str] = set()
        self._reinvocable: set[str] = set()
        self._last_output: bytes = b""  # the object after the last one of the first round

    def begin(self, output: bytes) -> None:
        """Begin a round with an object, encoded; in the second, other plugins may have changed it since the first."""
        if self._repetition.is_now and output != self._last_output:
            self._reinvocable |= self._seen

    def end(self, output: bytes) -> None:
        """End a round with an object, encoded."""
        self._last_output = output

    def includes(self, key: str) -> bool:
        """Return whether one is invoked in this round."""
        return not self._repetition.is_now or key in self._reinvocable

    def changed(self) -> None:
        """Note that the one invoked last changed the object."""
        self._repetition.again = True
        self._reinvocable |= self._seen

    def wants_again(self, key: str) -> None:
        """Note that one wants to be invoked again if the object changes from now on."""
        self._seen.add(key)


class Repetition:
    """The second round of the mutating plugins, which one that changed the object last makes necessary."""

    __slots__ = ("_invocations", "again", "is_now")

    def __init__(self) -> None:
        self.is_now = False  # the second round runs
        self.again = False  # a second round is needed
        self._invocations: dict[str, Invocations] = {}

    def of(self, plugin: str) -> Invocations:
        """Return the invocations of a plugin."""
        return self._invocations.setdefault(plugin, Invocations(self))


class AdmissionRequest:
    """One write that passes admission."""

    __slots__ = (
        "_annotations",
        "attributes",
        "caller",
        "checks",
        "dry_run",
        "form",
        "object",
        "old",
        "operation",
        "options",
        "repetition",
        "reservations",
        "resource",
        "served",
        "warnings",
    )

    def __init__(  # noqa: PLR0913 - what a request is made of
        self,
        *,
        allowed: Allowed,
        operation: Verb,
        resource: Resource,
        item: dict[str, Any] | None,
        old: dict[str, Any] | None,
        options: WriteOptions | DeletionOptions,
        dry_run: bool = False,
        served: Resource | None = None,
        form: Shape | None = None,
    ) -> None:
        """`served` is the row of the path, if that is another version of `resource`.

        `form` is that of a body that is not of the path's kind, such as an Eviction.
        """
        self.caller = allowed.caller
        self.attributes = allowed.attributes  # verb, subresource, namespace and name are here
        self._annotations = allowed.annotations
        self.operation = operation
        self.resource = (
            resource  # of the stored object; a subresource's body may be of another kind
        )
        self.served = served or resource
        self.object = item  # None: a deletion
        self.old = old  # None: a creation; never change it
        self.options = options
        self.dry_run = dry_run
        self.form = form
        self.warnings: list[str] = []
        self.reservations: list[Reservation] = []
        self.repetition = Repetition()
        self.checks: list[Check] = []  # preconditions that must still hold at the commit

    @property
    def kind(self) -> GroupVersionKind:
        """The kind of the objects of the path, such as Scale."""
        subresource = self.served.subresources.get(self.attributes.subresource)
        return self.served.kind if subresource is None else subresource.kind

    @property
    def is_projected(self) -> bool:
        """Whether the path shows the object in another form, such as a Scale."""
        subresource = self.served.subresources.get(self.attributes.subresource)
        return subresource is not None and subresource.projection is not None

    def add_warning(self, text: str) -> None:
        """Add a warning to the response, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def annotate(self, name: str, value: str) -> None:
        """Add an annotation to the audit event of the request, if it is audited; the first value of a name stays."""
        if self._annotations is not None:
            self._annotations.setdefault(name, value)

    def reserve(self, reservation: Reservation) -> None:
        """Add `reservation` to the commit."""
        self.reservations.append(reservation)


@contextmanager
def passing_on_warnings(request: AdmissionRequest) -> Iterator[None]:
    """Add the warnings of a request to an error that rejects it."""
    try:
        yield
    except APIError as error:
        error.warnings = (*error.warnings, *request.warnings)
        raise


class JudgesConnections:
    """A plugin that is also asked about connections, such as an exec; others see objects alone."""

    __slots__ = ()


@runtime_checkable
class Mutating(Protocol):
    """A plugin that changes objects."""

    @property
    def name(self) -> str:
        """The name Kubernetes gives the plugin."""
        ...

    async def mutate(self, request: AdmissionRequest) -> None:
        """Change `request.object` in place, or raise an API error to reject it."""
        ...


@runtime_checkable
class Validating(Protocol):
    """A plugin that rejects objects."""

    @property
    def name(self) -> str:
        """The name Kubernetes gives the plugin."""
        ...

    async def validate(self, request: AdmissionRequest) -> None:
        """Raise an API error to reject the request; must not change the object."""
        ...
