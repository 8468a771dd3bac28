"""Reconciles the objects that the cluster requires: the default Service, namespaces, roles.

Deleted ones are recreated. A failure, mostly caused by an object of a user, is reported by an event on that object, a
log line and the component status, and retried.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from kubelite.api.client.events import WARNING, reference_to
from kubelite.api.client.protocol import Mirror
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.model import Kind
from kubelite.control.needs import Need, NeedKey, need_key
from kubelite.control.runtime import Context, Key, Watch

K = TypeVar("K", bound=Kind)


# Kinds of which users have many large objects: only those with the name of a required one are held in memory.
MANY: frozenset[type[Kind]] = frozenset({ConfigMap})


def selector_of(need: Need) -> str:
    """Return the field selector of the mirror that holds a required object; "" for a mirror of the whole kind."""
    return f"metadata.name={need.name}" if need.kind in MANY else ""


class Mirrored:
    """Reads through the mirrors of a controller."""

    def __init__(self, context: Context, needs: Iterable[Need]) -> None:
        self._mirrors: dict[type[Kind], Mirror[Any]] = {}
        self._named: dict[NeedKey, Mirror[Any]] = {}
        for need in needs:
            if selector := selector_of(need):
                self._named[need.key] = context.mirror(need.kind, field_selector=selector)
            else:
                self._mirrors[need.kind] = context.mirror(need.kind)

    def get(self, kind: type[K], name: str, namespace: str = "") -> K | None:
        """Return one object, or None."""
        named = self._named.get(need_key(kind, name, namespace))
        mirror: Mirror[K] = self._mirrors[kind] if named is None else named
        return mirror.get(name, namespace)

    def list(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind, or those of one namespace."""
        mirror: Mirror[K] = self._mirrors[kind]
        return mirror.list(namespace)


class SystemObjectsController:
    """Reconciles the required objects; a key is kind and [namespace/]name."""

    name = "system-objects"
    identity = "system:apiserver"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._queue = context.queue
        self._system = context.options.system
        self._followed = {
            (need.kind, selector_of(need)): None for need in self._system.needs.values()
        }
        self._lookup = Mirrored(context, self._system.needs.values())
        self._told: dict[NeedKey, str] = {}
        context.ends.append(self._system.subscribe(lambda key: self._queue.add(Key(*key))))
        for key in self._system.needs:
            self._queue.add(Key(*key))

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch every kind of a required object."""
        return tuple(
            Watch(kind, self._keys_of(kind), field_selector=selector)
            for kind, selector in self._followed
        )

    def _keys_of(self, kind: type[Kind]) -> Callable[[Any], Iterator[Key]]:
        def keys(item: Any) -> Iterator[Key]:
            key = need_key(kind, item.metadata.name, item.metadata.namespace)
            if key in self._system.needs:
                yield Key(*key)
            elif kind is Service:  # a deleted Service may have had the address of a required one
                yield from (Key(*one) for one in self._system.problems if one[0] == "Service")

        return keys

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one required object. Return the seconds after which to retry, or None."""
        again_seconds = await self._system.ensure(
            (key.namespace, key.name), self._client, self._lookup
        )
        self._tell((key.namespace, key.name))
        return again_seconds

    def _tell(self, key: NeedKey) -> None:
        """Record a new problem as an event on the object whose owner can correct it."""
        problem = self._system.problems.get(key)
        if problem is None:
            self._told.pop(key, None)
        elif problem.about is not None and self._told.get(key) != problem.reason:
            self._told[key] = problem.reason
            message = f"The cluster needs {' '.join(key)}: {problem.reason}"
            self._events.event(reference_to(problem.about), WARNING, problem.event, message)
