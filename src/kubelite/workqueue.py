"""The queue of keys that every reconciling component uses.

It holds keys, not events, and is

- FIFO: keys are processed in the order in which they were enqueued,
- deduplicating: a key that is enqueued many times before it is processed is processed once,
- serial per key: a key never has two workers; a key enqueued while it is processed is processed again afterwards,
- delayed: a key can be enqueued for later, and a failed key is requeued with exponential back-off,
- rate limited: a key that is requeued again and again though nothing changed waits longer between two turns.

Time is the running loop's `time()`, so virtual time works. Nothing is polled.
The semantics are those of client-go's `util/workqueue`; the rate limit of idle turns is kubelite's own.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from kubelite.backoff import backoff_seconds
from kubelite.limits import IDLE_TURNS, QUEUE_KEYS
from kubelite.metrics import REGISTRY, Distribution, Value

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

RETRY_FIRST_SECONDS = 0.005
RETRY_MAX_SECONDS = 1000.0
IDLE_FIRST_SECONDS = 0.1  # between two idle turns past the limit, doubling to the maximum
IDLE_MAX_SECONDS = 60.0
IDLE_GAP_SECONDS = (
    1.0  # a longer gap between turns ends a run, unless the queue itself made the gap
)
IDLE_LOG_SECONDS = 60.0
STALE_MAX = 64  # stale heap entries kept, besides one a delayed key, before the heap is rebuilt


# Names, units and buckets are client-go's.
_BUCKETS_SECONDS = tuple(10e-9 * 10**power for power in range(10))
_NAME = ("name",)
DEPTH = REGISTRY.gauge("workqueue_depth", "Keys that wait to be worked on.", _NAME)
ADDS = REGISTRY.counter("workqueue_adds_total", "Keys that were enqueued.", _NAME)
QUEUE_SECONDS = REGISTRY.histogram(
    "workqueue_queue_duration_seconds", "How long a key waited.", _NAME, _BUCKETS_SECONDS
)
WORK_SECONDS = REGISTRY.histogram(
    "workqueue_work_duration_seconds", "How long the work on a key took.", _NAME, _BUCKETS_SECONDS
)
RETRIES = REGISTRY.counter("workqueue_retries_total", "Keys that failed and came back.", _NAME)
UNFINISHED = REGISTRY.gauge(
    "workqueue_unfinished_work_seconds", "How long all work under way has taken so far.", _NAME
)
LONGEST = REGISTRY.gauge(
    "workqueue_longest_running_processor_seconds",
    "How long the longest work under way has taken so far.",
    _NAME,
)


class _Meters:
    """The metrics of all queues of one name. Those of queues without a name are not exported."""

    def __init__(self, name: str) -> None:
        self.queues: WeakSet[WorkQueue[Any]] = WeakSet()
        if not name:
            self.adds, self.retries = Value(), Value()
            self.queue_seconds = Distribution(_BUCKETS_SECONDS)
            self.work_seconds = Distribution(_BUCKETS_SECONDS)
            return
        self.adds = ADDS.labelled(name)
        self.retries = RETRIES.labelled(name)
        self.queue_seconds = QUEUE_SECONDS.labelled(name)
        self.work_seconds = WORK_SECONDS.labelled(name)
        DEPTH.computed(lambda: sum(map(len, self.queues)), name)
        UNFINISHED.computed(lambda: sum(map(sum, self._under_way())), name)
        LONGEST.computed(lambda: max(map(max, filter(None, self._under_way())), default=0.0), name)

    def _under_way(self) -> list[list[float]]:
        return [queue.under_way_seconds() for queue in self.queues]


_METERS: dict[str, _Meters] = {}


class QueueFull(Exception):
    """The queue holds `limit` keys, more than a cluster can have objects, and takes no further one."""


class QueueClosed(Exception):
    """The queue was closed, so it returns no further key."""


class _IdleRun:
    """A run of idle turns of one key: it was processed though nothing had changed, each time soon after the last."""

    __slots__ = ("last", "turns")

    def __init__(self, last: float) -> None:
        self.turns = 1
        self.last = last  # loop time of the last turn

    @property
    def pause_seconds(self) -> float:
        """Return the seconds between the last idle turn and the next; 0 below the limit."""
        excess = self.turns - IDLE_TURNS.value
        if excess < 0:
            return 0.0
        return backoff_seconds(excess, IDLE_FIRST_SECONDS, IDLE_MAX_SECONDS)


class WorkQueue(Generic[K]):
    """A deduplicating FIFO of keys with delays; a key has at most one worker at a time."""

    def __init__(
        self,
        *,
        name: str = "",
        retry_first_seconds: float = RETRY_FIRST_SECONDS,
        retry_max_seconds: float = RETRY_MAX_SECONDS,
        limit: int = QUEUE_KEYS.value,
    ) -> None:
        """`name` labels log lines and metrics; queues of one name are counted together. `limit` is in keys."""
        self._name = name
        if name not in _METERS:
            _METERS[name] = _Meters(name)
        self._meters = _METERS[name]
        self._meters.queues.add(self)
        self._retry_first_seconds = retry_first_seconds
        self._retry_max_seconds = retry_max_seconds
        self._limit = limit
        self._ready: deque[K] = (
            deque()
        )  # keys in FIFO order; each is in `_dirty`, none in `_processing`
        self._dirty: dict[K, float] = {}  # keys to process, with the loop time of their enqueuing
        # Keys in flight, with the loop time of their start; those also in `_dirty` are processed again.
        self._processing: dict[K, float] = {}
        self._due: dict[K, float] = {}  # loop time at which a delayed key becomes ready
        self._heap: list[
            tuple[float, int, K]
        ] = []  # delayed keys; entries that disagree with `_due` are stale
        self._sequence = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0  # loop time at which the timer fires; uvloop's handles do not tell
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._failures: dict[K, int] = {}
        self._changed: set[K] = set()  # queued or processed keys for which something changed
        self._idle: dict[K, _IdleRun] = {}
        self._idle_swept = 0.0
        self._idle_logged = -IDLE_LOG_SECONDS
        self._closed = False

    def __len__(self) -> int:
        """Return how many keys are ready; neither delayed keys nor those in flight count."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Return whether no key is ready or in flight; delayed keys may remain."""
        return not self._ready and not self._processing

    @property
    def delayed(self) -> int:
        """Return how many keys are delayed."""
        return len(self._due)

    def add(self, key: K) -> None:
        """Enqueue `key` because its object changed, unless it is queued already. Raises QueueFull.

        A reconcile that enqueues keys though nothing changed calls `again`. A closed queue drops the key.
        """
        if self._closed:
            return
        if key not in self._dirty:
            self._make_room(key)
            self._mark(key)
        self._changed.add(key)

    def again(self, key: K) -> None:
        """Enqueue `key` though nothing changed, subject to the rate limit of idle turns. Raises QueueFull."""
        if self._closed or key in self._dirty:
            return
        run = self._idle.get(key)
        if run is not None and run.pause_seconds:
            self.add_after(key, IDLE_FIRST_SECONDS)  # or when the pause since its last turn ends
            return
        self._make_room(key)
        self._mark(key)

    def _make_room(self, key: K) -> None:
        if len(self._dirty) >= self._limit:
            QUEUE_KEYS.reached()
            raise QueueFull(f"cannot add {key!r}: {self._limit} keys wait")

    def _mark(self, key: K) -> None:
        if key in self._dirty:
            return
        self._meters.adds.value += 1
        self._dirty[key] = asyncio.get_running_loop().time()
        if key not in self._processing:
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: K, delay_seconds: float) -> None:
        """Enqueue `key` after a delay; of several delays the earliest end counts. Raises QueueFull.

        A delay of 0 or less enqueues at once. A run of idle turns may lengthen the delay.
        """
        if self._closed:
            return
        if delay_seconds <= 0:
            self.again(key)
            return
        due = asyncio.get_running_loop().time() + delay_seconds
        run = self._idle.get(key)
        if run is not None:
            due = max(due, run.last + run.pause_seconds)
        if self._due.get(key, due + 1) <= due:
            return
        if len(self._due) >= self._limit:
            QUEUE_KEYS.reached()
            raise QueueFull(f"cannot delay {key!r}: {self._limit} keys wait")
        self._due[key] = due
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
        if len(self._heap) > 2 * len(self._due) + STALE_MAX:
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)
        self._set_timer()

    def retry(self, key: K) -> float:
        """Requeue a failed key with exponential back-off. Return the delay in seconds. Raises QueueFull."""
        self._meters.retries.value += 1
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_seconds = backoff_seconds(
            failures, self._retry_first_seconds, self._retry_max_seconds
        )
        self.add_after(key, delay_seconds)
        return delay_seconds

    def forget(self, key: K) -> None:
        """Reset the back-off of `key`, which succeeded."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Return how often `key` was retried since it last succeeded."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """Wait for the next key and take it; the worker must call `done` with it. Raises QueueClosed."""
        while not self._ready:
            if self._closed:
                raise QueueClosed
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # This worker was woken for a key but is cancelled, so pass the wake-up on to another.
                if waiter.done() and not waiter.cancelled() and self._ready:
                    self._wake_one()
                raise
        key = self._ready.popleft()
        now = asyncio.get_running_loop().time()
        self._meters.queue_seconds.observe(now - self._dirty.pop(key))
        self._processing[key] = now
        if key in self._changed:
            self._changed.discard(key)
            self._idle.pop(key, None)
        else:
            self._count_idle(key)
        return key

    def _count_idle(self, key: K) -> None:
        """Count an idle turn; log a warning, at most one a minute, for a run past the limit."""
        now = asyncio.get_running_loop().time()
        if now - self._idle_swept > 2 * IDLE_MAX_SECONDS:
            self._idle_swept = now
            self._idle = {one: run for one, run in self._idle.items() if _lasts(run, now)}
        run = self._idle.get(key)
        if run is None or not _lasts(run, now):
            self._idle[key] = _IdleRun(now)
            return
        run.turns += 1
        run.last = now
        if run.turns > IDLE_TURNS.value:
            IDLE_TURNS.reached()
            if now - self._idle_logged >= IDLE_LOG_SECONDS:
                self._idle_logged = now
                log.warning(
                    "a key is reconciled again and again though nothing changes; slowing it down",
                    extra={"queue": self._name, "key": key, "pause_seconds": run.pause_seconds},
                )

    def done(self, key: K) -> None:
        """End the processing of `key`; if it was enqueued meanwhile it is ready again."""
        if (since := self._processing.pop(key, None)) is not None:
            self._meters.work_seconds.observe(asyncio.get_running_loop().time() - since)
        if key in self._dirty:
            self._ready.append(key)
            self._wake_one()

    def under_way_seconds(self) -> list[float]:
        """Return for each key in flight its processing time in seconds; nothing once the loop has ended."""
        if not self._processing:
            return []
        try:
            now = asyncio.get_running_loop().time()
        except RuntimeError:  # the loop has ended, and all work with it
            return []
        return [now - since for since in self._processing.values()]

    def close(self) -> None:
        """Drop all keys and let every `get` raise QueueClosed."""
        self._closed = True
        self._ready.clear()
        self._dirty.clear()
        self._changed.clear()
        self._due.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiters:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _set_timer(self) -> None:
        """Set the timer to the earliest due time, or stop it if no key is delayed."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        if self._timer is not None:
            if self._heap and self._rings_at == self._heap[0][0]:
                return
            self._timer.cancel()
            self._timer = None
        if self._heap:
            self._rings_at = self._heap[0][0]
            self._timer = asyncio.get_running_loop().call_at(self._rings_at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                self._mark(key)  # regardless of the limit, which `add_after` has checked
        self._set_timer()


def _lasts(run: _IdleRun, now: float) -> bool:
    """Return whether a turn now continues the run: it comes within the gap, or about when the queue's pause ends."""
    return now - run.last <= max(IDLE_GAP_SECONDS, 1.5 * run.pause_seconds)
