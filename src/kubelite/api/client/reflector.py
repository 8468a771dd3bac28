"""Keeps a mirror in sync with a server: lists, then watches, and lists again when its resource version has expired."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from kubelite.api.client.decoding import mirror_decoder
from kubelite.api.client.https import typed_error
from kubelite.api.client.mirror import ObjectMirror, name_of, version_of
from kubelite.api.errors import APIError, Expired, NotFound
from kubelite.api.kinds.meta import ListMeta, Status
from kubelite.backoff import backoff_seconds
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

T = TypeVar("T")

PAGE_ITEMS = 500
WATCH_SECONDS_MIN = 300
DELAY_SECONDS_MIN = 0.8
DELAY_SECONDS_MAX = 30.0


class Page(msgspec.Struct):
    """A list or one page of it, with raw items."""

    metadata: ListMeta = ListMeta()
    items: list[msgspec.Raw] | None = None


class Event(msgspec.Struct):
    """One event of a watch, with a raw object."""

    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


_page_decoder = msgspec.json.Decoder(Page)
_event_decoder = msgspec.json.Decoder(Event)


class Source(Protocol):
    """A source of lists and watches; both raise APIError."""

    async def page(self, limit: int, continue_token: str) -> bytes:
        """Return the JSON of a page of the list; limit 0 means all items."""
        ...

    def watch(self, resource_version: str, timeout_seconds: int) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a watch, with bookmarks."""
        ...


async def list_all(source: Source) -> tuple[list[msgspec.Raw], str]:
    """Return all items, consistent at one resource version, and that version; raises APIError.

    If the continue token expires between pages, the list is read again in one request.
    """
    items: list[msgspec.Raw] = []
    limit, token = PAGE_ITEMS, ""
    while True:
        try:
            page = _page_decoder.decode(await source.page(limit, token))
        except Expired:
            if not token:
                raise
            items, limit, token = [], 0, ""
            continue
        items += page.items or []
        token = page.metadata.continue_
        if not token:
            return items, page.metadata.resourceVersion


class Reflector(Generic[T]):
    """Feeds one mirror from a source."""

    def __init__(
        self,
        source: Source,
        type_: Any,
        mirror: ObjectMirror[T],
        randomness: Randomness,
    ) -> None:
        """`type_` is a Kind, `ObjectMetadata`, or dict."""
        self._source = source
        self._type = type_
        self._decode = mirror_decoder(type_)
        self._mirror = mirror
        self._randomness = randomness
        self._version = ""  # resource version of the mirror; "": list again
        self._failures = 0

    async def run(self) -> None:
        """Keep the mirror in sync forever, with back-off after errors and empty watches."""
        while True:
            try:
                if await self.step():
                    continue
            except Expired:
                self._version = ""
            except NotFound as error:  # not served now; it may be served again
                log.debug("cannot list or watch", extra={"reason": error.message})
                self._version = ""
                self._mirror.replace(())
            except APIError as error:
                level = logging.DEBUG if error.code >= 500 else logging.WARNING
                log.log(
                    level,
                    "cannot list or watch, trying again",
                    extra={"kind": self._type.__name__, "reason": error.message},
                )
            # Back off also if a server ends each watch at once or expires a list at once.
            await asyncio.sleep(self.next_delay())

    async def step(self) -> bool:
        """List if needed, then watch until the watch ends; return whether it delivered an event. Raises APIError."""
        heard = False
        if not self._version:
            await self._list()
        seconds = int(self._randomness.uniform(WATCH_SECONDS_MIN, 2 * WATCH_SECONDS_MIN))
        async with aclosing(self._source.watch(self._version, seconds)) as lines:
            async for line in lines:
                if line:
                    self._apply(_event_decoder.decode(line))
                    self._failures = 0
                    heard = True
        return heard

    def next_delay(self) -> float:
        """Return the back-off in seconds, doubling with each call; jitter spreads the retries of many clients."""
        delay = backoff_seconds(self._failures, DELAY_SECONDS_MIN, DELAY_SECONDS_MAX)
        self._failures += 1
        return delay * self._randomness.uniform(1.0, 2.0)

    async def _list(self) -> None:
        items, version = await list_all(self._source)
        self._mirror.replace([self._decode(item) for item in items])
        self._version = version

    def _apply(self, event: Event) -> None:
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object, type=Status)
            raise typed_error(status, status.code)
        item = self._decode(event.object)
        if event.type == "DELETED":
            self._mirror.remove(*name_of(item))
        elif event.type != "BOOKMARK":
            self._mirror.put(item)
        self._version = version_of(item)
