"""Deletes Events `EVENT_SECONDS` after their last write, with one timer for all of them."""

import asyncio
import heapq
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from kubelite.api.machinery.times import parse_time
from kubelite.api.registry.objects import decode
from kubelite.clock import Clock
from kubelite.limits import EVENT_SECONDS
from kubelite.store.protocol import (
    Change,
    Delete,
    Entry,
    RevisionMismatch,
    Store,
    StoreUnavailable,
)
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

EVENTS = "/events.core/"
TOGETHER_MAX = 500
RETRY_SECONDS = 30.0  # when the store cannot write
STALE_MAX = 64  # stale heap entries tolerated before a rebuild, besides one per Event

Due = tuple[float, str]  # POSIX seconds at which to check an Event, and its key


class EventExpiry:
    """Deletes old Events; the heap has one entry per Event, however often the Event is written."""

    def __init__(self, store: Store, *, clock: Clock, tasks: TaskSet) -> None:
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._dates: dict[str, float] = {}  # POSIX seconds at which each Event expires, by key
        self._heap: list[Due] = []  # has for each key of `_dates` an entry that is not later
        self._timer: asyncio.TimerHandle | None = None
        self._unsubscribe: Callable[[], None] | None = None

    @property
    def waiting(self) -> int:
        """The number of heap entries."""
        return len(self._heap)

    def start(self) -> None:
        """Read the stored Events, subscribe to changes and set the timer."""
        now = self._clock.now().timestamp()
        for entry in self._store.list(EVENTS).entries:
            written = last_written(decode.decode(entry.value))
            # A client may write a date in the future, so count from now at the latest.
            start = min(written.timestamp(), now) if written else now
            self._dates[entry.key] = start + EVENT_SECONDS.value
        self._rebuild()
        self._unsubscribe = self._store.subscribe(EVENTS, self._changed)
        self._set_timer()

    def stop(self) -> None:
        """End the subscription and the timer."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _changed(self, changes: Sequence[Change]) -> None:
        due = self._clock.now().timestamp() + EVENT_SECONDS.value
        for change in changes:
            if change.deleted:
                self._dates.pop(change.key, None)
            else:
                if change.key not in self._dates:
                    heapq.heappush(self._heap, (due, change.key))
                self._dates[change.key] = due
        if len(self._heap) > 2 * len(self._dates) + STALE_MAX:
            self._rebuild()
        self._set_timer()

    def _rebuild(self) -> None:
        self._heap = [(due, key) for key, due in self._dates.items()]
        heapq.heapify(self._heap)

    def _set_timer(self) -> None:
        if self._timer is not None or not self._heap:
            return
        delay_seconds = max(self._heap[0][0] - self._clock.now().timestamp(), 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay_seconds, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._tasks.start(self._expire(), name="event expiry")

    async def _expire(self) -> None:
        now = self._clock.now().timestamp()
        while self._heap and self._heap[0][0] <= now and self._unsubscribe is not None:
            due = self._take(now)
            try:
                if due:
                    await self._store.commit(*(Delete(entry.key, entry.revision) for entry in due))
            except RevisionMismatch:
                self._put_back(due)  # one of them was just written, so check again
            except StoreUnavailable as error:
                self._put_back(due)
                log.warning("cannot expire events: %s", error)
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(RETRY_SECONDS, self._fire)
                return
        self._set_timer()

    def _take(self, now: float) -> list[Entry]:
        """Pop up to `TOGETHER_MAX` Events that are due; push a new entry for an Event written since."""
        due: list[Entry] = []
        while self._heap and self._heap[0][0] <= now and len(due) < TOGETHER_MAX:
            _, key = heapq.heappop(self._heap)
            date = self._dates.get(key)
            if date is None:
                continue
            if date > now:
                heapq.heappush(self._heap, (date, key))
            elif (entry := self._store.get(key)) is not None:
                EVENT_SECONDS.reached()
                due.append(entry)
            else:
                del self._dates[key]
        return due

    def _put_back(self, due: Sequence[Entry]) -> None:
        for entry in due:
            if entry.key in self._dates:
                heapq.heappush(self._heap, (self._dates[entry.key], entry.key))


def last_written(event: dict[str, object]) -> datetime | None:
    """Return the date of an Event's last occurrence or creation; None if it has no valid date."""
    metadata = event["metadata"]
    assert isinstance(metadata, dict)
    series = event.get("series")
    last = series.get("lastObservedTime") if isinstance(series, dict) else None
    for text in (last, event.get("lastTimestamp"), metadata.get("creationTimestamp")):
        if isinstance(text, str) and text:
            try:
                return parse_time(text)
            except ValueError:
                continue
    return None
