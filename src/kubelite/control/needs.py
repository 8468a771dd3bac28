"""The objects that the cluster requires, and what is wrong with each now.

One mechanism reconciles them: all at once before the API serves, then key by key, whenever one of them changes. A
failure is noted as a problem and retried. It is never raised, so it keeps no server from starting.
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
PATIENCE = 3  # failures after which a conflict counts as a problem
REASON_MAX = 300  # characters of a problem; an error's message may be long
TOLD_MAX = 5  # problems listed in the status


class Reader(Protocol):
    """Reads typed objects from memory."""

    def get(self, kind: type[K], name: str, namespace: str = "") -> K | None:
        """Return one object."""
        ...

    def list(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind, or those of one namespace."""
        ...


def unchanged(stored: Any) -> Any:
    """Return a stored object unchanged."""
    return stored


class Need(Struct, frozen=True):
    """An object that the cluster requires. All functions are pure."""

    kind: type[Any]
    name: str
    make: Callable[[], Any]  # returns the object to create
    namespace: str = ""
    revise: Callable[[Any], Any] = unchanged  # returns the stored object as it should be
    must_replace: Callable[[Any], bool] = lambda _: False  # no update can correct a stored one
    complaint: Callable[[Any], str] = lambda _: ""  # what only its owner may correct, or ""
    rival: Callable[[Reader], Kind | None] = lambda _: (
        None
    )  # the object that has the place of a rejected one
    stage: int = 0  # objects of an earlier stage are created first
    removed_if_by: str = (
        ""  # instead of being required, it is deleted if this field manager made it
    )

    @property
    def key(self) -> NeedKey:
        """Return the key under which the object is reconciled."""
        return need_key(self.kind, self.name, self.namespace)


class Problem(Struct, frozen=True):
    """Why an object is missing or wrong."""

    reason: str
    about: Kind | None = None  # the object whose owner can correct it
    event: str = "SystemObjectUnavailable"


def need_key(kind: type[Kind], name: str, namespace: str = "") -> NeedKey:
    """Return the key of an object."""
    return kind.gvk.kind, f"{namespace}/{name}" if namespace else name


class SystemObjects:
    """All required objects, and the problems there are now."""

    def __init__(self, needs: Iterable[Need] = ()) -> None:
        self.needs = {need.key: need for need in needs}
        self.problems: dict[NeedKey, Problem] = {}
        self._failures: dict[NeedKey, int] = {}
        self._right: dict[NeedKey, str] = {}  # resource versions already checked
        self._listeners: list[Callable[[NeedKey], None]] = []

    @property
    def problem(self) -> str:
        """Return all problems in one line, for a status; "" if there are none."""
        lines = [
            f"{kind} {name}: {problem.reason}" for (kind, name), problem in self.problems.items()
        ]
        more = [f"and {len(lines) - TOLD_MAX} more"] if len(lines) > TOLD_MAX else []
        return "; ".join([*lines[:TOLD_MAX], *more])

    def subscribe(self, listener: Callable[[NeedKey], None]) -> Callable[[], None]:
        """Call `listener` with each key given to `changed`; return a function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def changed(self, *keys: NeedKey) -> None:
        """Requeue objects whose wanted state has changed."""
        for key in keys:
            self._right.pop(key, None)
            for listener in self._listeners:
                listener(key)

    async def ensure_all(self, client: Client, lookup: Reader) -> None:
        """Reconcile all objects, stage by stage; failures are noted as problems."""
        for stage in sorted({need.stage for need in self.needs.values()}):
            keys = [key for key, need in self.needs.items() if need.stage == stage]
            await all_to_their_end(*(self.ensure(key, client, lookup, patience=0) for key in keys))

    async def ensure(
        self, key: NeedKey, client: Client, lookup: Reader, *, patience: int = 1
    ) -> float | None:
        """Reconcile one object; return the seconds after which to retry, or None.

        The first `patience` failures are not noted as a problem: what a deleted object held is free only a moment
        after it is gone.
        """
        need = self.needs[key]
        stored = lookup.get(need.kind, need.name, need.namespace)
        if need.removed_if_by and stored is None:
            self._note(key, None)
            return None
        if stored is not None:
            if self._right.get(key) == stored.metadata.resourceVersion:
                return None
            if stored.metadata.deletionTimestamp is not None:
                return None  # recreated once it is gone
        try:
            await _write(need, stored, client)
        except (AlreadyExists, Conflict, NotFound) as error:
            # Probably a concurrent write, which a retry settles. If it persists it is a problem.
            return self._failed(key, Problem(error.message[:REASON_MAX]), PATIENCE)
        except APIError as error:
            return self._failed(key, _explained(need, error, lookup), patience)
        stored = lookup.get(need.kind, need.name, need.namespace)
        if stored is not None and (complaint := need.complaint(stored)):
            event = "SystemObjectInconsistent"
            self._note(key, Problem(complaint, stored, event))
            self._right[key] = stored.metadata.resourceVersion
            return None  # a retry cannot help: the owner has to act
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
        """Record the problem of an object, or that there is none; log only changes."""
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
    if need.removed_if_by:
        await _remove(need, stored, client)
        return
    if stored is not None and need.must_replace(stored):
        await client.delete(need.kind, need.name, need.namespace, uid=stored.metadata.uid)
        stored = None
    if stored is None:
        await client.create(need.make())
    elif (revised := need.revise(stored)) != stored:
        await client.update(revised)


async def _remove(need: Need, stored: Any, client: Client) -> None:
    """Delete an object that a part made which is switched off; one that a user made under its name stays."""
    found = await client.get(need.kind, need.name, need.namespace)  # a mirror has no managers
    managers = {entry.manager for entry in found.metadata.managedFields}
    if need.removed_if_by in managers and found.metadata.uid == stored.metadata.uid:
        await client.delete(need.kind, need.name, need.namespace, uid=found.metadata.uid)


def _explained(need: Need, error: APIError, lookup: Reader) -> Problem:
    rival = need.rival(lookup)
    if rival is None:
        return Problem(error.message[:REASON_MAX])
    kind, name = need_key(type(rival), rival.metadata.name, rival.metadata.namespace)  # type: ignore[attr-defined]  # every object that is stored has metadata
    return Problem(f"{kind} {name} has its place: {error.message}"[:REASON_MAX], rival)
