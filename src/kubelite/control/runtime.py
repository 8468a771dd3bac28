"""Runs controllers: what changes becomes keys, keys become reconciles.

A mirror's change is turned into keys by the controller's watches and put on its queue; a few workers a controller take
keys and call `reconcile`. Workers start when every mirror the controllers asked for has its first complete list.
Retries, their delays, log fields and metrics live here, so that a controller is a decision and a few writes.

All controllers read from the mirrors of one identity, so that each object is held once; each writes under its own.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from kubelite.api.client.events import EventRecorder
from kubelite.api.client.protocol import Client, Mirror
from kubelite.api.errors import APIError, Conflict
from kubelite.api.kinds.model import Kind
from kubelite.clock import Clock
from kubelite.control.options import Options
from kubelite.metrics import LOOP_LAG, REGISTRY
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet
from kubelite.workqueue import QueueClosed, WorkQueue

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Kind)

WORKERS_DEFAULT = 4
RECONCILES = REGISTRY.counter(
    "controller_reconcile_total", "Reconciles by outcome.", ("controller", "result")
)
RECONCILE_SECONDS = REGISTRY.histogram(
    "controller_reconcile_time_seconds", "How long a reconcile took.", ("controller",)
)
QUEUE_DEPTH = REGISTRY.gauge("workqueue_depth", "Keys that wait to be worked on.", ("name",))


class Key(NamedTuple):
    """Which object to look at; it never says what happened."""

    namespace: str
    name: str


class Unretryable(Exception):
    """Trying again will not help until something changes."""


def own_key(item: Any) -> tuple[Key, ...]:
    """Return the key of the object itself."""
    return (Key(item.metadata.namespace, item.metadata.name),)


class Watch(Generic[K]):
    """Which objects concern a controller, and which keys a change of one touches.

    `keys` is asked for the object before and after a change, and all of them are looked at. `where(before, after)`, if
    given, leaves out changes that mean nothing.
    """

    def __init__(
        self,
        kind: type[K],
        keys: Callable[[K], Iterable[Key]] = own_key,
        where: Callable[[K | None, K | None], bool] | None = None,
    ) -> None:
        self.kind = kind
        self.keys = keys
        self.where = where


class Context:
    """What a controller is given to work with."""

    def __init__(
        self,
        *,
        client: Client,
        mirrors: Client,
        clock: Clock,
        randomness: Randomness,
        events: EventRecorder,
        queue: WorkQueue[Key],
        options: Options,
    ) -> None:
        self.client = client  # writes, under the controller's own identity
        self.clock = clock
        self.randomness = randomness
        self.events = events
        self.queue = queue
        self.options = options
        self.wanted: list[Mirror[Any]] = []
        self._mirrors = mirrors

    def mirror(self, kind: type[K]) -> Mirror[K]:
        """Return the mirror of a kind; it is synced before the first reconcile."""
        mirror = self._mirrors.mirror(kind)
        if mirror not in self.wanted:
            self.wanted.append(mirror)
        return mirror

    def dynamic_mirror(self, group: str, version: str, resource: str) -> Mirror[Any]:
        """Return a mirror of any resource's metadata; who asks waits for `synced`."""
        return self._mirrors.dynamic_mirror(group, version, resource)


class Controller(Protocol):
    """Brings one aspect of the cluster to what is wanted, a key at a time."""

    workers: int  # how many keys are worked on at once

    def watches(self) -> Sequence[Watch[Any]]:
        """Return what concerns the controller."""
        ...

    async def reconcile(self, key: Key) -> float | None:
        """Look at what is, decide, write; return in how many seconds to look again, or None.

        Raises Unretryable, or anything else to be called again after a delay.
        """
        ...


class Entry(NamedTuple):
    """A line of the list of controllers."""

    name: str  # in log lines, metrics and events
    identity: str  # the service account it acts as; empty: that of the mirrors
    make: Callable[[Context], Controller]


class Runtime:
    """Owns the controllers' queues, workers and recorders.

    `client_for(identity)` returns the client of a controller's service account; all read the mirrors of `mirrors`.
    """

    def __init__(
        self,
        controllers: Sequence[Entry],
        *,
        client_for: Callable[[str], Client],
        mirrors: Client,
        clock: Clock,
        randomness: Randomness,
        options: Options,
    ) -> None:
        self._entries = controllers
        self._client_for = client_for
        self._mirrors = mirrors
        self._clock = clock
        self._randomness = randomness
        self._options = options
        self._tasks = TaskSet()
        self._running: list[_Running] = []

    @property
    def idle(self) -> bool:
        """No controller has a key to work on now."""
        return all(running.context.queue.idle for running in self._running)

    async def start(self) -> None:
        """Build and connect all controllers, wait for their mirrors, start their workers."""
        for name, identity, make in self._entries:
            client = self._client_for(identity) if identity else self._mirrors
            queue: WorkQueue[Key] = WorkQueue(name=name)
            context = Context(
                client=client,
                mirrors=self._mirrors,
                clock=self._clock,
                randomness=self._randomness,
                events=EventRecorder(client, self._clock, self._randomness, component=name),
                queue=queue,
                options=self._options,
            )
            running = _Running(name, make(context), context)
            running.connect()
            self._running.append(running)
        for running in self._running:
            for mirror in running.context.wanted:
                await mirror.synced()
        for running in self._running:
            for number in range(running.controller.workers):
                self._tasks.supervise(running.work, name=f"{running.name}-{number}")

    async def stop(self) -> None:
        """End all work."""
        for running in self._running:
            running.disconnect()
        await self._tasks.stop()
        for running in self._running:
            await running.context.events.close()


class _Running:
    """One controller with its queue."""

    def __init__(self, name: str, controller: Controller, context: Context) -> None:
        self.name = name
        self.controller = controller
        self.context = context
        self._ends: list[Callable[[], None]] = []
        self._reconciles = 0
        self._succeeded = RECONCILES.labelled(name, "success")
        self._failed = RECONCILES.labelled(name, "error")
        self._seconds = RECONCILE_SECONDS.labelled(name)
        QUEUE_DEPTH.computed(lambda: len(context.queue), name)

    def connect(self) -> None:
        for watch in self.controller.watches():
            listener = _listener(self.context.queue, watch)
            self._ends.append(self.context.mirror(watch.kind).subscribe(listener))

    def disconnect(self) -> None:
        for end in self._ends:
            end()
        self.context.queue.close()

    async def work(self) -> None:
        """Reconcile keys until the queue closes."""
        queue = self.context.queue
        while True:
            try:
                key = await queue.get()
            except QueueClosed:
                return
            try:
                await self._reconcile(key)
            finally:
                queue.done(key)
            # Reconciles that find nothing to do never wait; without this a thousand of them would hold the loop.
            await asyncio.sleep(0)

    async def _reconcile(self, key: Key) -> None:
        self._reconciles += 1
        fields = {
            "controller": self.name,
            "key": f"{key.namespace}/{key.name}" if key.namespace else key.name,
            "reconcile": self._reconciles,
        }
        queue = self.context.queue
        loop = asyncio.get_running_loop()
        started = loop.time()
        LOOP_LAG.sample()
        try:
            again_seconds = await self.controller.reconcile(key)
        except Unretryable as reason:
            queue.forget(key)
            self._failed.increase()
            log.warning("reconcile given up", extra={**fields, "reason": str(reason)})
        except APIError as error:
            self._failed.increase()
            delay_seconds = queue.retry(key)
            # A conflict is a neighbour's write, not trouble.
            level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING
            log.log(
                level,
                "reconcile refused",
                extra={**fields, "reason": error.message, "retry_seconds": delay_seconds},
            )
        except Exception:
            self._failed.increase()
            log.exception("reconcile failed", extra={**fields, "retry_seconds": queue.retry(key)})
        else:
            self._succeeded.increase()
            queue.forget(key)
            if again_seconds is not None:
                queue.add_after(key, again_seconds)
        finally:
            self._seconds.observe(loop.time() - started)


def _listener(queue: WorkQueue[Key], watch: Watch[K]) -> Callable[[K | None, K | None], None]:
    keys_of, where = watch.keys, watch.where

    def listen(before: K | None, after: K | None) -> None:
        if where is not None and not where(before, after):
            return
        if after is not None:
            for key in keys_of(after):
                queue.add(key)
        if before is not None:
            for key in keys_of(before):
                queue.add(key)

    return listen
