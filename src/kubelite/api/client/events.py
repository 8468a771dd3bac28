"""Tells users what happened to an object, by events.

Recording never waits and never fails its caller: events are queued and written in the background. Like client-go, the
same event again only raises the count of the one that exists; more than ten different messages of one kind about one
object within ten minutes become one combined event; and an object that causes many is cut off after a burst of 25 until
a token, one every five minutes, comes back.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import TypeVar

from msgspec import Struct

from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.core.events import Event, EventSource
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.limits import EVENTS_KNOWN, EVENTS_WAITING
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


class _Group:
    """The different messages of one kind about one object."""

    __slots__ = ("last", "messages")

    def __init__(self, last: float) -> None:
        self.last = last
        self.messages: set[str] = set()


class _Bucket(Struct):
    tokens: float
    filled: float


def reference_to(item: Kind, field_path: str = "") -> ObjectReference:
    """Return a reference to an object."""
    meta: ObjectMeta = item.metadata  # type: ignore[attr-defined]  # every object that is stored has metadata
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
    ) -> None:
        """Record what happened; `event_type` is NORMAL or WARNING, `reason` one CamelCase word."""
        reference = about if isinstance(about, ObjectReference) else reference_to(about)
        now = self._clock.now()
        if not self._allowed(reference, now.timestamp()):
            return
        message = self._combined(reference, event_type, reason, message, now.timestamp())
        if len(self._queue) >= EVENTS_WAITING.value:
            EVENTS_WAITING.reached()
            log.warning("event dropped", extra={"reason": reason, "about": reference.name})
            return
        date = format_time(now)
        suffix = self._randomness.token_bytes(8).hex()
        self._queue.append(
            Event(
                metadata=ObjectMeta(
                    name=f"{reference.name[:230]}.{suffix}",
                    namespace=reference.namespace or "default",
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
        """Stop; events that are not written yet are lost."""
        await self._tasks.stop()

    def _allowed(self, reference: ObjectReference, now: float) -> bool:
        """Take a token of the object's bucket."""
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
        """Return the message, or that of its group when there are too many different ones."""
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

    async def _write_all(self) -> None:
        try:
            while self._queue:
                await self._write(self._queue.popleft())
        finally:
            self._writing = False

    async def _write(self, event: Event) -> None:
        key = _identity(event)
        known = self._written.get(key)
        try:
            written = None
            if known is not None:
                written = await self._count_again(known, event)
            if written is None:
                written = await self._client.create(event)
        except APIError as error:
            # Also in a namespace that is going away, where nothing can be created.
            log.debug("event not written", extra={"reason": event.reason, "error": error.message})
            return
        self._written[key] = written
        self._written.move_to_end(key)
        if len(self._written) > EVENTS_KNOWN.value:
            EVENTS_KNOWN.reached()
            self._written.popitem(last=False)

    async def _count_again(self, known: Event, event: Event) -> Event | None:
        """Raise the count of an event that was written before; return None if it has expired meanwhile."""
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
    """Return what is known of `key`, or make it; what was used longest ago is forgotten."""
    if (value := memory.get(key)) is None:
        value = memory[key] = make()
        if len(memory) > EVENTS_KNOWN.value:
            EVENTS_KNOWN.reached()
            memory.popitem(last=False)
    memory.move_to_end(key)
    return value
