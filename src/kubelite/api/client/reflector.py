"""Keeps a mirror in sync with a server: lists, then watches, and lists again when its resource version is of no use.

A watch that ends is resumed at the last resource version that it showed, bookmarks included. The mirror lists again
after 410 Expired, after an answer that cannot be read, and when the server has not reached that version: an older state
was restored, and a watch from a revision to come would wait, then miss what differs. While the server is away the
mirror keeps what it has.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from kubelite.api.client.availability import Availability
from kubelite.api.client.decoding import Body, mirror_decoder
from kubelite.api.client.https import typed_error
from kubelite.api.client.link import Link
from kubelite.api.client.mirror import ObjectMirror, name_of, version_of
from kubelite.api.errors import APIError, Expired, InternalError, NotFound
from kubelite.api.kinds.meta import ListMeta, Status
from kubelite.backoff import backoff_seconds
from kubelite.log import Complaint
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

T = TypeVar("T")

PAGE_ITEMS = 500
WATCH_SECONDS_MIN = 300
DELAY_SECONDS_MIN = 0.8
DELAY_SECONDS_MAX = 30.0
PASSING_FAILURES = (
    3  # a server that restarts breaks off watches; the next tries find out what is wrong
)


class Page(msgspec.Struct):
    """A list or one page of it, with raw items."""

    metadata: ListMeta = ListMeta()
    items: list[msgspec.Raw] | None = None


class Event(msgspec.Struct):
    """One event of a watch, with a raw object."""

    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


_PROOF = (
    "newest revision"  # the turn of those that ask for it, so that one request serves all mirrors
)

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


def _raw(body: Body) -> Any:
    return body


async def list_all(source: Source, decode: Callable[[Body], Any] = _raw) -> tuple[list[Any], str]:
    """Return all items, consistent at one resource version, and that version; raises APIError.

    Each page is decoded as it arrives, so only one is held as JSON. If the continue token expires between pages, the
    list is read again in one request.
    """
    items: list[Any] = []
    limit, token = PAGE_ITEMS, ""
    while True:
        try:
            page = _page_of(await source.page(limit, token))
        except Expired:
            if not token:
                raise
            items, limit, token = [], 0, ""
            continue
        items += [_read(decode, item) for item in page.items or ()]
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
        *,
        link: Link | None = None,
        of: Hashable = None,
        may_vanish: bool = False,
    ) -> None:
        """`type_` is a Kind, `ObjectMetadata`, or dict; `of` names the resource, whose lists take turns.

        `may_vanish` says that the resource may not be served any more, which empties the mirror. The kinds that every
        server has do not vanish: a 404 for one comes from something between, and keeps the objects.
        """
        self._source = source
        self._type = type_
        self._decode = mirror_decoder(type_)
        self._mirror = mirror
        self._randomness = randomness
        self._link = link or Link(Availability("the server", randomness))
        self._of = of
        self._may_vanish = may_vanish
        self._version = ""  # resource version of the mirror; "": list again
        self._failures = 0
        self._complaint = Complaint()

    async def run(self) -> None:
        """Keep the mirror in sync forever, with back-off after errors and empty watches."""
        while True:
            try:
                if await self.step():
                    continue
            except Expired:
                self._version = ""
            except NotFound as error:
                if self._may_vanish:  # not served now; it may be served again
                    log.debug("cannot list or watch", extra={"reason": error.message})
                    self._version = ""
                    self._mirror.replace(())
                else:
                    self._complain(error)
            except APIError as error:
                self._complain(error)
                if error.code >= 500:
                    self._link.doubt()
            # Back off also if a server ends each watch at once or expires a list at once.
            await self._link.availability.pause(self.next_delay())

    async def step(self) -> bool:
        """List if needed, then watch until the watch ends; return whether it delivered an event. Raises APIError."""
        heard = False
        if self._version and not await self._is_reached():
            self._version = ""
        if not self._version:
            await self._list()
        seconds = int(self._randomness.uniform(WATCH_SECONDS_MIN, 2 * WATCH_SECONDS_MIN))
        async with aclosing(self._source.watch(self._version, seconds)) as lines:
            async for line in lines:
                if line:
                    self._apply(self._event_of(line))
                    self._failures = 0
                    if self._complaint.ends():
                        log.info("watching again", extra={"kind": self._type.__name__})
                    heard = True
        return heard

    def next_delay(self) -> float:
        """Return the back-off in seconds, doubling with each call; jitter spreads the retries of many clients."""
        delay = backoff_seconds(self._failures, DELAY_SECONDS_MIN, DELAY_SECONDS_MAX)
        self._failures += 1
        return delay * self._randomness.uniform(1.0, 2.0)

    async def _is_reached(self) -> bool:
        """Return whether the server has reached the mirror's version; the mirrors of a client share what they learn."""
        if self._link.has_reached(self._version):
            return True
        async with self._link.list_turn(_PROOF):
            if not self._link.has_reached(self._version):
                page = _page_of(await self._source.page(1, ""))
                self._link.shown(page.metadata.resourceVersion)
        if self._link.has_reached(self._version):
            return True
        log.warning(
            "the server has an older state than before, listing anew",
            extra={"kind": self._type.__name__, "resource_version": self._version},
        )
        return False

    async def _list(self) -> None:
        async with self._link.list_turn(self._of):
            items, version = await list_all(self._source, self._decode)
        self._mirror.replace(items)
        self._version = version
        self._link.shown(version)

    def _event_of(self, line: bytes) -> Event:
        try:
            return _event_decoder.decode(line)
        except msgspec.DecodeError as error:
            raise _unreadable(error) from error

    def _apply(self, event: Event) -> None:
        if event.type == "ERROR":
            status = _read(lambda body: msgspec.json.decode(body, type=Status), event.object)
            raise typed_error(status, status.code)
        try:
            item = _read(self._decode, event.object)
        except InternalError:
            self._version = ""  # the same event would come again
            raise
        if event.type == "DELETED":
            self._mirror.remove(*name_of(item))
        elif event.type != "BOOKMARK":
            self._mirror.put(item)
        self._version = version_of(item)
        self._link.shown(self._version)

    def _complain(self, error: APIError) -> None:
        """Log an error, once for each that differs; that the server is away was logged once for all mirrors."""
        is_passing = error.code >= 500 and self._failures < PASSING_FAILURES
        is_told = is_passing or self._link.availability.is_away
        if is_told or not self._complaint.is_new(error.message):
            log.debug("cannot list or watch", extra={"reason": error.message})
            return
        log.warning(
            "cannot list or watch, trying again",
            extra={"kind": self._type.__name__, "reason": error.message},
        )


def _page_of(body: bytes) -> Page:
    try:
        return _page_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise _unreadable(error) from error


def _read(decode: Callable[[Body], T], body: Body) -> T:
    try:
        return decode(body)
    except msgspec.DecodeError as error:
        raise _unreadable(error) from error


def _unreadable(error: msgspec.DecodeError) -> InternalError:
    return InternalError(f"cannot read the server's answer: {error}")
