"""Events are forgotten an hour after they were last written, by one timer for all of them."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from kubelite.api.machinery.times import parse_time
from kubelite.api.registry.objects import decode
from kubelite.clock import Clock
from kubelite.store.protocol import Change, Delete, RevisionMismatch, Store, StoreUnavailable
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

EVENTS = "/events.core/"
LIFETIME_SECONDS = 3600.0
TOGETHER_MAX = 500
RETRY_SECONDS = 30.0  # when the store cannot write

Due = tuple[float, str, int]  # when (POSIX seconds), key, revision


class EventExpiry:
    """Removes old Events. All live equally long, so that the order of writing is the order of expiry."""

    def __init__(self, store: Store, *, clock: Clock, tasks: TaskSet) -> None:
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._queue: deque[Due] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._unsubscribe: Callable[[], None] | None = None

    @property
    def waiting(self) -> int:
        """How many writes of Events are remembered."""
        return len(self._queue)

    def start(self) -> None:
        """Take stock of the Events there are, and follow the new ones."""
        self._queue.extend(sorted(self._present()))
        self._unsubscribe = self._store.subscribe(EVENTS, self._changed)
        self._set_timer()

    def stop(self) -> None:
        """Expire nothing more."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _present(self) -> list[Due]:
        found = []
        for entry in self._store.list(EVENTS).entries:
            written = last_written(decode.decode(entry.value))
            start = written.timestamp() if written else self._clock.now().timestamp()
            found.append((start + LIFETIME_SECONDS, entry.key, entry.revision))
        return found

    def _changed(self, changes: Sequence[Change]) -> None:
        due = self._clock.now().timestamp() + LIFETIME_SECONDS
        for change in changes:
            if not change.deleted:
                self._queue.append((due, change.key, change.revision))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None or not self._queue:
            return
        delay_seconds = max(self._queue[0][0] - self._clock.now().timestamp(), 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay_seconds, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._tasks.start(self._expire(), name="event expiry")

    async def _expire(self) -> None:
        now = self._clock.now().timestamp()
        while self._queue and self._queue[0][0] <= now and self._unsubscribe is not None:
            due = self._take(now)
            try:
                if due:
                    await self._store.commit(*(Delete(key, revision) for _, key, revision in due))
            except RevisionMismatch:
                self._queue.extendleft(reversed(due))  # one of them was just written: look again
            except StoreUnavailable as error:
                self._queue.extendleft(reversed(due))
                log.warning("cannot expire events: %s", error)
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(RETRY_SECONDS, self._fire)
                return
        self._set_timer()

    def _take(self, now: float) -> list[Due]:
        """Take what is due and has not been written again since."""
        due: list[Due] = []
        while self._queue and self._queue[0][0] <= now and len(due) < TOGETHER_MAX:
            one = self._queue.popleft()
            entry = self._store.get(one[1])
            if entry is not None and entry.revision == one[2]:
                due.append(one)
        return due


def last_written(event: dict[str, object]) -> datetime | None:
    """Return when an Event was last written, as far as it says."""
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
