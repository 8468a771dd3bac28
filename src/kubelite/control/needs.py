"""The objects that the cluster cannot do without, and how far each is from what it should be.

One mechanism brings them there: all at once before the API serves, then key by key, whenever one of them changes. What
cannot be had is noted as a problem and retried; it never fails the caller, so it keeps no server from starting.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import AlreadyExists, APIError, Conflict, NotFound
from kubelite.api.kinds.model import Kind
from kubelite.backoff import backoff_seconds
from kubelite.tasks import all_to_their_end

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Kind)

NeedKey = tuple[str, str]  # kind, and [namespace/]name
RETRY_FIRST_SECONDS = 0.05
RETRY_MAX_SECONDS = 60.0
PATIENCE = 3  # failures before a write that came between is a problem
REASON_MAX = 300  # characters of a problem: what an error says may be long
TOLD_MAX = 5  # problems in the status


class Reader(Protocol):
    """Reads typed objects from memory."""

    def get(self, kind: type[K], name: str, namespace: str = "") -> K | None:
        """Return one object."""
        ...

    def list(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind, or those of one namespace."""
        ...


def unchanged(stored: Any) -> Any:
    """Return a stored object as it should be: as it is."""
    return stored


class Need(Struct, frozen=True):
    """An object that must be there. All functions are pure."""

    kind: type[Any]
    name: str
    make: Callable[[], Any]  # what to create
    namespace: str = ""
    revise: Callable[[Any], Any] = unchanged  # returns a stored one as it should be
    must_replace: Callable[[Any], bool] = lambda _: False  # no update leads from a stored one to it
    complaint: Callable[[Any], str] = lambda _: ""  # what of a stored one only its owner may mend
    rival: Callable[[Reader], Kind | None] = lambda _: (
        None
    )  # what has the place of one that is refused
    stage: int = 0  # those of an earlier stage are created first

    @property
    def key(self) -> NeedKey:
        """The key under which it is reconciled."""
        return need_key(self.kind, self.name, self.namespace)


class Problem(Struct, frozen=True):
    """Why an object is missing or wrong."""

    reason: str
    about: Kind | None = None  # the object whose owner can mend it
    event: str = "SystemObjectUnavailable"


def need_key(kind: type[Kind], name: str, namespace: str = "") -> NeedKey:
    """Return the key of an object."""
    return kind.gvk.kind, f"{namespace}/{name}" if namespace else name


class SystemObjects:
    """All needs, with what is wrong now."""

    def __init__(self, needs: Iterable[Need] = ()) -> None:
        self.needs = {need.key: need for need in needs}
        self.problems: dict[NeedKey, Problem] = {}
        self._failures: dict[NeedKey, int] = {}
        self._right: dict[NeedKey, str] = {}  # resource versions that need no second look
        self._listeners: list[Callable[[NeedKey], None]] = []

    @property
    def problem(self) -> str:
        """What is wrong, for a status; empty if nothing is."""
        lines = [
            f"{kind} {name}: {problem.reason}" for (kind, name), problem in self.problems.items()
        ]
        more = [f"and {len(lines) - TOLD_MAX} more"] if len(lines) > TOLD_MAX else []
        return "; ".join([*lines[:TOLD_MAX], *more])

    def subscribe(self, listener: Callable[[NeedKey], None]) -> Callable[[], None]:
        """Call `listener` with the key of each need that `changed` names; return the call that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def changed(self, *keys: NeedKey) -> None:
        """Have objects reconciled because what is wanted of them changed."""
        for key in keys:
            self._right.pop(key, None)
            for listener in self._listeners:
                listener(key)

    async def ensure_all(self, client: Client, lookup: Reader) -> None:
        """Bring all objects to what they should be; failures are noted as problems."""
        for stage in sorted({need.stage for need in self.needs.values()}):
            keys = [key for key, need in self.needs.items() if need.stage == stage]
            await all_to_their_end(*(self.ensure(key, client, lookup, patience=0) for key in keys))

    async def ensure(
        self, key: NeedKey, client: Client, lookup: Reader, *, patience: int = 1
    ) -> float | None:
        """Bring one object to what it should be; return the seconds after which to try again, or None.

        The first `patience` failures are no problem yet: what a deleted object held is free a moment after it is gone.
        """
        need = self.needs[key]
        stored = lookup.get(need.kind, need.name, need.namespace)
        if stored is not None:
            if self._right.get(key) == stored.metadata.resourceVersion:
                return None
            if stored.metadata.deletionTimestamp is not None:
                return None  # it is created anew when it is gone
        try:
            await _write(need, stored, client)
        except (AlreadyExists, Conflict, NotFound) as error:
            # A neighbour's write came between; one that goes on for long is a problem all the same.
            return self._failed(key, Problem(error.message[:REASON_MAX]), PATIENCE)
        except APIError as error:
            return self._failed(key, _explained(need, error, lookup), patience)
        stored = lookup.get(need.kind, need.name, need.namespace)
        if stored is not None and (complaint := need.complaint(stored)):
            event = "SystemObjectInconsistent"
            self._note(key, Problem(complaint, stored, event))
            self._right[key] = stored.metadata.resourceVersion
            return None  # retrying does not help: its owner has to act
        self._note(key, None)
        if stored is not None:
            self._right[key] = stored.metadata.resourceVersion
        return None

    def _failed(self, key: NeedKey, problem: Problem, patience: int) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_seconds = backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
        if failures >= patience:
            self._note(key, problem)
        return delay_seconds

    def _note(self, key: NeedKey, problem: Problem | None) -> None:
        """Remember and log a change of what is wrong; the same problem again is no news."""
        before = self.problems.get(key)
        if problem is None:
            self._failures.pop(key, None)
            if self.problems.pop(key, None) is not None:
                log.info("system object is right again", extra={"object": " ".join(key)})
            return
        self.problems[key] = problem
        if before is None or before.reason != problem.reason:
            log.warning(
                "system object is missing or wrong",
                extra={"object": " ".join(key), "reason": problem.reason},
            )


async def _write(need: Need, stored: Any, client: Client) -> None:
    if stored is not None and need.must_replace(stored):
        await client.delete(need.kind, need.name, need.namespace, uid=stored.metadata.uid)
        stored = None
    if stored is None:
        await client.create(need.make())
    elif (revised := need.revise(stored)) != stored:
        await client.update(revised)


def _explained(need: Need, error: APIError, lookup: Reader) -> Problem:
    rival = need.rival(lookup)
    if rival is None:
        return Problem(error.message[:REASON_MAX])
    kind, name = need_key(type(rival), rival.metadata.name, rival.metadata.namespace)  # type: ignore[attr-defined]  # every object that is stored has metadata
    return Problem(f"{kind} {name} has its place: {error.message}"[:REASON_MAX], rival)
