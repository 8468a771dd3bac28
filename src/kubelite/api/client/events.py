"""Records Events about objects.

Recording never waits and never fails its caller: events are enqueued and written in the background. As in client-go, a
repeated event increments the count of the stored one. Ten or more different messages of one type and reason about one
object, each within ten minutes of the last, become one combined event. A token bucket per object (burst 25, one token
every five minutes) limits the rate; events beyond it are dropped.

While the API does not answer events wait, the newest ones within a bound, and are written when it is back.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from datetime import timedelta
from typing import TypeVar

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import (
    AlreadyExists,
    APIError,
    NotFound,
    ServiceUnavailable,
    Unauthorized,
    is_no_answer,
)
from kubelite.api.kinds.core.events import Event, EventSource
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.times import format_time
from kubelite.backoff import backoff_seconds
from kubelite.clock import Clock
from kubelite.limits import EVENTS_HELD, EVENTS_KNOWN, EVENTS_WAITING
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

H = TypeVar("H", bound=Hashable)
V = TypeVar("V")

NORMAL = "Normal"
WARNING = "Warning"

SIMILAR_LIMIT = 10
SIMILAR_WINDOW = timedelta(minutes=10)
BURST = 25.0
TOKENS_PER_SECOND = 1 / 300
MESSAGE_LIMIT = 1024
TRIES_MAX = 12  # as client-go
RETRY_FIRST_SECONDS = 1.0
RETRY_MAX_SECONDS = 30.0


class _Group:
    """The different messages of one type and reason about one object, and the POSIX time of the last."""

    __slots__ = ("last", "messages")

    def __init__(self, last: float) -> None:
        self.last = last
        self.messages: set[str] = set()


class _Bucket(Struct):
    tokens: float
    filled: float


def reference_to(item: Kind, field_path: str = "") -> ObjectReference:
    """Return a reference to an object."""
    meta: ObjectMeta = item.metadata  # type: ignore[attr-defined]  # every stored object has metadata
    return ObjectReference(
        apiVersion=item.apiVersion or item.gvk.api_version,
        kind=item.kind or item.gvk.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resourceVersion=meta.resourceVersion,
        fieldPath=field_path,
    )


class EventRecorder:
    """Records events of one component."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        randomness: Randomness,
        *,
        component: str,
        host: str = "",
    ) -> None:
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._source = EventSource(component=component, host=host)
        self._queue: deque[Event] = deque()
        self._tasks = TaskSet()
        self._writing = False
        self._tries = 0  # of the first event in the queue, while the API does not answer
        self._dropped = 0  # since the last one that was written
        self._written: OrderedDict[tuple[str, ...], Event] = OrderedDict()
        self._groups: OrderedDict[tuple[str, ...], _Group] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def event(
        self,
        about: Kind | ObjectReference,
        event_type: str,
        reason: str,
        message: str,
        *,
        action: str = "",
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Enqueue an event; `event_type` is NORMAL or WARNING, `reason` one CamelCase word.

        Drops the event beyond the rate limit of the object, and the oldest one beyond the limit of the queue.
        """
        reference = about if isinstance(about, ObjectReference) else reference_to(about)
        now = self._clock.now()
        if not self._allowed(reference, now.timestamp()):
            return
        message = self._combined(reference, event_type, reason, message, now.timestamp())
        self._make_room(1)
        date = format_time(now)
        suffix = self._randomness.token_bytes(8).hex()
        self._queue.append(
            Event(
                metadata=ObjectMeta(
                    name=f"{reference.name[:230]}.{suffix}",
                    namespace=reference.namespace or "default",
                    annotations=dict(annotations or {}),
                ),
                involvedObject=reference,
                type=event_type,
                reason=reason,
                message=message[:MESSAGE_LIMIT],
                action=action,
                source=self._source,
                reportingComponent=self._source.component,
                reportingInstance=self._source.host,
                count=1,
                firstTimestamp=date,
                lastTimestamp=date,
            )
        )
        if not self._writing:
            self._writing = True
            self._tasks.start(self._write_all(), name=f"events-{self._source.component}")

    async def close(self) -> None:
        """Stop the writing task; queued events are lost."""
        await self._tasks.stop()

    def _allowed(self, reference: ObjectReference, now: float) -> bool:
        """Take a token from the object's bucket; return False if it is empty."""
        bucket = _remember(
            self._buckets, reference.uid or reference.name, lambda: _Bucket(BURST, now)
        )
        bucket.tokens = min(
            BURST, bucket.tokens + max(0.0, now - bucket.filled) * TOKENS_PER_SECOND
        )
        bucket.filled = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _combined(
        self, reference: ObjectReference, event_type: str, reason: str, message: str, now: float
    ) -> str:
        """Return the message, marked as combined if its group has too many different ones."""
        key = (
            reference.kind,
            reference.namespace,
            reference.name,
            reference.uid,
            event_type,
            reason,
        )
        group = _remember(self._groups, key, lambda: _Group(now))
        if now - group.last > SIMILAR_WINDOW.total_seconds():
            group.messages.clear()
        group.last = now
        group.messages.add(message)
        if len(group.messages) < SIMILAR_LIMIT:
            return message
        group.messages.discard(min(group.messages - {message}, default=message))
        return f"(combined from similar events): {message}"

    def _make_room(self, adding: int) -> None:
        limit = EVENTS_WAITING if self._tries == 0 else EVENTS_HELD
        while len(self._queue) + adding > limit.value:
            limit.reached()
            self._queue.popleft()
            self._dropped += 1

    async def _write_all(self) -> None:
        try:
            while self._queue:
                event = self._queue.popleft()
                try:
                    await self._write(event)
                except APIError as error:
                    if self._is_held(error):
                        self._queue.appendleft(event)
                        await self._pause()
                        continue
                    # Expected in a terminating namespace, where nothing can be created.
                    what = {"reason": event.reason, "error": error.message}
                    log.debug("event not written", extra=what)
                self._tries = 0
                if self._dropped:
                    about = {"component": self._source.component, "count": self._dropped}
                    log.warning("events were dropped, the oldest first", extra=about)
                    self._dropped = 0
        finally:
            self._writing = False
            self._tries = 0

    def _is_held(self, error: APIError) -> bool:
        """Return whether to try an event again: not if a server that answers refuses it again and again."""
        if not is_no_answer(error):
            return False
        is_away = isinstance(error, ServiceUnavailable | Unauthorized)
        return is_away or self._tries < TRIES_MAX

    async def _pause(self) -> None:
        """Wait before the next try, at most until the server is back."""
        seconds = backoff_seconds(self._tries, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS)
        self._tries += 1
        self._make_room(0)
        returned = asyncio.Event()
        end = self._client.on_return(returned.set)
        try:
            async with asyncio.timeout(seconds * self._randomness.uniform(1.0, 2.0)):
                await returned.wait()
        except TimeoutError:
            return
        finally:
            end()

    async def _write(self, event: Event) -> None:
        """Write an event; raises APIError."""
        key = _identity(event)
        known = self._written.get(key)
        written = None
        if known is not None:
            written = await self._count_again(known, event)
        if written is None:
            try:
                written = await self._client.create(event)
            except AlreadyExists:  # by an earlier try, whose answer was lost
                return
        self._written[key] = written
        self._written.move_to_end(key)
        if len(self._written) > EVENTS_KNOWN.value:
            EVENTS_KNOWN.reached()
            self._written.popitem(last=False)

    async def _count_again(self, known: Event, event: Event) -> Event | None:
        """Increment the count of an event written before; return None if it has expired meanwhile."""
        try:
            return await self._client.patch(
                Event,
                known.metadata.name,
                {
                    "count": known.count + 1,
                    "lastTimestamp": event.lastTimestamp,
                    "message": event.message,
                },
                known.metadata.namespace,
            )
        except NotFound:
            return None


def _identity(event: Event) -> tuple[str, ...]:
    about = event.involvedObject
    message = event.message
    if message.startswith("(combined from similar events)"):
        message = "(combined)"
    return (
        about.kind,
        about.namespace,
        about.name,
        about.uid,
        about.fieldPath,
        event.type,
        event.reason,
        message,
    )


def _remember(memory: OrderedDict[H, V], key: H, make: Callable[[], V]) -> V:
    """Return the value of `key`, made if absent; beyond `EVENTS_KNOWN` evict the least recently used one."""
    if (value := memory.get(key)) is None:
        value = memory[key] = make()
        if len(memory) > EVENTS_KNOWN.value:
            EVENTS_KNOWN.reached()
            memory.popitem(last=False)
    memory.move_to_end(key)
    return value
