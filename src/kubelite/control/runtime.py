"""Runs controllers: maps changes to keys, enqueues the keys, and calls `reconcile` for each.

A controller's watches map a mirror's change to keys and enqueue them; the controller's workers take keys and call
`reconcile`. Workers start once every mirror that the controllers asked for is synced. Retries with back-off, log
fields and metrics live here, so that a controller is a decision and a few writes.

A change that touches many keys is spread: the first FAN_OUT steps run in the mirror's listener, the rest in slices
between which the event loop gets a turn.

All controllers read the mirrors of one identity, so that each object is held once; each writes under its own identity.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from kubelite.api.client.events import EventRecorder
from kubelite.api.client.mirror import name_of
from kubelite.api.client.protocol import (
    Client,
    Mirror,
    MirrorListener,
    ResourceClient,
    ServedResource,
    ServedResources,
)
from kubelite.api.errors import APIError, Conflict, NotFound
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.api.kinds.resource_names import built_in
from kubelite.clock import Clock
from kubelite.control.options import Options
from kubelite.limits import FAN_OUT
from kubelite.metrics import LOOP_LAG, REGISTRY
from kubelite.offload import Offload
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet
from kubelite.workqueue import QueueClosed, WorkQueue

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Kind)

WORKERS_DEFAULT = 4
ORDINARY_MAX = 5  # successive ordinary failures of a key that are logged at debug level only
RECONCILES = REGISTRY.counter(
    "controller_reconcile_total", "Reconciles by outcome.", ("controller", "result")
)
RECONCILE_SECONDS = REGISTRY.histogram(
    "controller_reconcile_time_seconds", "How long a reconcile took.", ("controller",)
)


class Key(NamedTuple):
    """Namespace and name of an object to reconcile; carries no event."""

    namespace: str
    name: str


class Unretryable(Exception):
    """A retry cannot succeed until something changes, so the key is not requeued."""


def own_key(item: Any) -> tuple[Key, ...]:
    """Return the key of the object itself."""
    return (Key(item.metadata.namespace, item.metadata.name),)


class Watch(Generic[K]):
    """A kind that a controller watches, and the keys that a change of one of its objects enqueues.

    `keys` maps the old and the new object to the keys to enqueue. Each item it yields counts as one step, so a
    function that scans many objects yields None for each that does not concern it. It may be called several times for
    one change. `where(before, after)`, if given, returns whether the change matters; before is None for a new object,
    after for a deleted one.
    """

    def __init__(
        self,
        kind: type[K],
        keys: Callable[[K], Iterable[Key | None]] = own_key,
        where: Callable[[K | None, K | None], bool] | None = None,
        *,
        field_selector: str = "",
        only_metadata: bool = False,
    ) -> None:
        """Only what `field_selector` selects is held, and with `only_metadata` only the metadata of a built-in kind."""
        self.kind = kind
        self.field_selector = field_selector
        self.only_metadata = only_metadata
        self.keys = keys
        self.where = where


class Context:
    """The dependencies of a controller."""

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
        offload: Offload,
    ) -> None:
        self.client = client  # writes, under the controller's own identity
        self.offload = offload  # runs plans over many objects off the loop
        self.clock = clock
        self.randomness = randomness
        self.events = events
        self.queue = queue
        self.options = options
        # By kind or resource: the mirrors to sync before the start, and to close at the end.
        self.wanted: dict[object, Mirror[Any]] = {}
        self.ends: list[Callable[[], None]] = []  # unsubscribe from the mirrors
        self._mirrors = mirrors

    def mirror(self, kind: type[K], *, field_selector: str = "") -> Mirror[K]:
        """Return the mirror of a kind; call it before the start, so that it is synced before the first reconcile."""
        key = (kind, field_selector)
        if key not in self.wanted:
            self.wanted[key] = self._mirrors.mirror(kind, field_selector=field_selector)
        mirror: Mirror[K] = self.wanted[key]
        return mirror

    def metadata(self, kind: type[Kind]) -> Mirror[ObjectMetadata]:
        """Return the mirror of a built-in kind's metadata; call it before the start, as `mirror`."""
        if kind not in self.wanted:
            name = built_in(kind.gvk)
            assert name is not None, f"{kind.__name__} is not built in"
            self.wanted[kind] = self._mirrors.resource(*name).metadata_mirror()
        return self.wanted[kind]

    def follow(self, kind: type[K], listener: MirrorListener[K]) -> None:
        """Call `listener` for each change of a kind, before the keys of the change are enqueued."""
        self.ends.append(self.mirror(kind).subscribe(listener))

    @property
    def mirrors(self) -> Client:
        """The client of all mirrors, for those of resources that come and go; the controller closes them."""
        return self._mirrors

    @property
    def resources(self) -> ServedResources:
        """The resources served now."""
        return self.options.resources or self._mirrors.served

    def metadata_mirror(self, resource: ServedResource) -> Mirror[ObjectMetadata]:
        """Return a mirror of any resource's metadata; the caller waits for `synced` and closes it. Raises NotFound."""
        return self._mirrors.resource(*name_of_served(resource)).metadata_mirror()

    def client_of(self, resource: ServedResource) -> ResourceClient:
        """Return a client of any resource, under the controller's own identity."""
        return self.client.resource(*name_of_served(resource))


def name_of_served(resource: ServedResource) -> tuple[str, str, str]:
    """Return group, version and plural, which name a resource in a client."""
    return resource.group, resource.version, resource.resource


class Controller(Protocol):
    """Reconciles one aspect of the cluster, a key at a time."""

    workers: int  # how many keys are reconciled concurrently

    def watches(self) -> Sequence[Watch[Any]]:
        """Return the kinds to watch and their keys; called once, before the start."""
        ...

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one object. Return the seconds after which to requeue it, or None.

        Raises Unretryable to stop retries; any other exception is retried with back-off.
        """
        ...


class ControllerEntry(NamedTuple):
    """A controller to run."""

    name: str  # in log lines, metrics and events
    identity: str  # the service account it acts as; "" for the identity of the mirrors
    make: Callable[[Context], Controller]


class Runtime:
    """Owns the controllers' queues, workers and recorders.

    `client_for(identity)` returns the client of a service account, for writes. All controllers read the mirrors of
    `mirrors`.
    """

    def __init__(
        self,
        controllers: Sequence[ControllerEntry],
        *,
        client_for: Callable[[str], Client],
        mirrors: Client,
        clock: Clock,
        randomness: Randomness,
        options: Options,
        offload: Offload,
    ) -> None:
        self._entries = controllers
        self._offload = offload
        self._client_for = client_for
        self._mirrors = mirrors
        self._clock = clock
        self._randomness = randomness
        self._options = options
        self._tasks = TaskSet()
        self._running: list[_Running] = []

    @property
    def idle(self) -> bool:
        """Return whether no controller has a key ready or in flight; delayed keys may remain."""
        return all(running.is_idle for running in self._running)

    async def start(self) -> None:
        """Build all controllers and subscribe them to their mirrors; once these are synced, start the workers."""
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
                offload=self._offload,
            )
            running = _Running(name, make(context), context)
            self._running.append(running)
            running.connect()
        for running in self._running:
            for mirror in tuple(running.context.wanted.values()):
                await mirror.synced()
        for running in self._running:
            self._tasks.supervise(running.spread, name=f"{running.name}-spread")
            for number in range(running.controller.workers):
                self._tasks.supervise(running.work, name=f"{running.name}-{number}")

    async def stop(self) -> None:
        """Unsubscribe, cancel all workers and close the event recorders."""
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
        # Changes to spread, by number of the watch and name of the object: the watch, the oldest state, the newest.
        self._wide: dict[tuple[int, str, str], tuple[Watch[Any], Any, Any]] = {}
        self._is_wide = asyncio.Event()
        self._reconciles = 0
        self._succeeded = RECONCILES.labelled(name, "success")
        self._failed = RECONCILES.labelled(name, "error")
        self._seconds = RECONCILE_SECONDS.labelled(name)

    @property
    def is_idle(self) -> bool:
        """Return whether no key is ready or in flight, and no change is being spread."""
        return self.context.queue.idle and not self._wide

    def connect(self) -> None:
        for number, watch in enumerate(self.controller.watches()):
            listener = self._listener(number, watch)
            self.context.ends.append(self._mirror(watch).subscribe(listener))

    def _mirror(self, watch: Watch[Any]) -> Mirror[Any]:
        if watch.only_metadata:
            return self.context.metadata(watch.kind)
        return self.context.mirror(watch.kind, field_selector=watch.field_selector)

    def disconnect(self) -> None:
        for end in self.context.ends:
            end()
        for mirror in self.context.wanted.values():
            mirror.close()
        self.context.wanted.clear()
        self.context.queue.close()

    def _listener(self, number: int, watch: Watch[K]) -> Callable[[K | None, K | None], None]:
        where, add, limit = watch.where, self.context.queue.add, FAN_OUT.value

        def listen(before: K | None, after: K | None) -> None:
            if where is not None and not where(before, after):
                return
            for step, key in enumerate(_keys(watch, before, after)):
                if step >= limit:
                    self._spread_later(number, watch, before, after)
                    return
                if key is not None:
                    add(key)

        return listen

    def _spread_later(
        self, number: int, watch: Watch[K], before: K | None, after: K | None
    ) -> None:
        """Note a change that touches more keys than one turn of the loop takes; changes of one object are merged."""
        FAN_OUT.reached()
        item = after if after is not None else before
        assert item is not None
        name = (number, *name_of(item))
        earlier = self._wide.pop(name, None)
        self._wide[name] = (watch, before if earlier is None else earlier[1], after)
        self._is_wide.set()

    async def spread(self) -> None:
        """Enqueue the keys of noted changes, FAN_OUT steps a turn of the loop."""
        while True:
            await self._is_wide.wait()
            while self._wide:
                name, change = next(iter(self._wide.items()))
                for step, key in enumerate(_keys(*change), 1):
                    if key is not None:
                        self.context.queue.add(key)
                    if step % FAN_OUT.value == 0:
                        await asyncio.sleep(0)
                # A later change of the object, noted meanwhile, is now the last and has its own turn.
                if self._wide[name] is change:
                    del self._wide[name]
            self._is_wide.clear()

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
            # A reconcile that finds nothing to do never yields, so a thousand in a row would block the loop.
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
            is_ordinary = _is_ordinary(error) and queue.failures(key) < ORDINARY_MAX
            delay_seconds = queue.retry(key)
            log.log(
                logging.DEBUG if is_ordinary else logging.WARNING,
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


def _is_ordinary(error: APIError) -> bool:
    """Return whether an error can come from a concurrent write or deletion, which a retry settles."""
    ending = any(cause.reason == "NamespaceTerminating" for cause in error.causes)
    return ending or isinstance(error, Conflict | NotFound)


def _keys(watch: Watch[K], before: K | None, after: K | None) -> Iterator[Key | None]:
    """Yield the keys of a change, and None for a step without one."""
    if after is not None:
        yield from watch.keys(after)
    if before is not None:
        yield from watch.keys(before)
