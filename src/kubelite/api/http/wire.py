"""HTTP/1.1 answers, written straight to the transport.

aiohttp parses requests. Answers are framed here: one write of head and body costs a quarter of aiohttp's response
objects, and all watchers of a resource share one framed chunk.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from kubelite.api.errors import APIError
from kubelite.clock import Clock
from kubelite.serving.connection import Sent

__all__ = ["Sent"]  # re-exported: what every handler here returns

LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# About 1 ms of the loop, in TLS. Under TLS a transport may hold one slice more than its write buffer reports.
SLICE_BYTES = 512 * 1024
BUFFERED_BYTES_MAX = (
    64 * 1024
)  # high-water mark: at most this much is buffered when the next slice is written
SENDING_SECONDS = 60.0  # upstream cuts off an answer that takes longer, too

REASON_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {
    422: "Unprocessable Entity"
}
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

Headers = Iterable[tuple[str, str]]


class Pieces:
    """A body that is joined as it is written, so that the stored bytes of a list are not copied before.

    Its content is `head`, the items with `separator` between them, and `tail`.
    """

    __slots__ = ("_size", "head", "items", "separator", "tail")

    def __init__(
        self,
        head: bytes,
        items: Sequence[bytes],
        tail: bytes,
        items_bytes: int | None = None,
        separator: bytes = b",",
    ) -> None:
        """`items_bytes` is the total size of the items; None: it is summed up here."""
        if items_bytes is None:
            items_bytes = sum(map(len, items))
        self.head = head
        self.items = items
        self.tail = tail
        self.separator = separator
        between = max(0, len(items) - 1) * len(separator)
        self._size = len(head) + items_bytes + between + len(tail)

    def __len__(self) -> int:
        return self._size

    def whole(self, start: bytes = b"") -> bytes:
        """Return the body in one piece, preceded by `start`."""
        return b"".join((start, self.head, self.separator.join(self.items), self.tail))

    def slices(self) -> Iterator[bytes]:
        """Yield the body in parts of about SLICE_BYTES; an item is never split, so a long one makes a longer part."""
        items, lead, separator = self.items, self.head, self.separator
        start, size = 0, 0
        for end, item in enumerate(items, 1):
            size += len(item) + 1
            if size >= SLICE_BYTES and end < len(items):
                yield lead + separator.join(items[start:end])
                lead, start, size = separator, end, 0
        yield b"".join((lead, separator.join(items[start:]), self.tail))


Body = bytes | Pieces


def whole(body: Body, start: bytes = b"") -> bytes:
    """Return a body in one piece, preceded by `start`."""
    return start + body if isinstance(body, bytes) else body.whole(start)


def slices(body: Body) -> Iterator[bytes | memoryview]:
    """Yield a body in parts of about SLICE_BYTES."""
    if isinstance(body, Pieces):
        yield from body.slices()
        return
    view = memoryview(body)
    for offset in range(0, len(body), SLICE_BYTES):
        yield view[offset : offset + SLICE_BYTES]


class Disconnected(Exception):
    """The client disconnected before the answer was written."""


class Dates:
    """The Date header, formatted once a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = float("-inf")
        self._value = ""

    def now(self, loop_time: float) -> str:
        """Return the current date as an IMF-fixdate (RFC 9110)."""
        if loop_time >= self._until:
            date = self._clock.now()
            self._until = loop_time + 1 - date.microsecond / 1e6
            self._value = (
                f"{WEEKDAYS[date.weekday()]}, {date.day:02} {MONTHS[date.month - 1]} {date.year} "
                f"{date.hour:02}:{date.minute:02}:{date.second:02} GMT"
            )
        return self._value


def head(request: web.BaseRequest, status: int, headers: Headers) -> bytes:
    """Return status line and headers, with a Connection header where it is not HTTP's default."""
    lines = [f"HTTP/1.1 {status} {REASON_PHRASES.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if not stays_open(request):
        lines.append("Connection: close")
    elif request.version < (1, 1):
        lines.append("Connection: keep-alive")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


async def send(
    request: web.BaseRequest, status: int, headers: list[tuple[str, str]], body: Body
) -> Sent:
    """Write an answer with back-pressure. Raises Disconnected.

    A client that takes longer than SENDING_SECONDS to read it is cut off. Content-Length is added to `headers`, except
    for statuses 204 and 304.
    """
    transport = transport_of(request)
    if status != HTTPStatus.NOT_MODIFIED and status != HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(len(body))))
    start = head(request, status, headers)
    if request.method == "HEAD" or not body:
        transport.write(start)
    elif len(body) <= SLICE_BYTES:
        transport.write(whole(body, start))  # copying is cheaper than another write
        await _taken(transport, len(body))
    else:
        transport.write(start)
        await _write_slices(request, transport, body)
    return Sent(status, keep_alive=stays_open(request))


def stays_open(request: web.BaseRequest) -> bool:
    """Return whether the connection stays open: not if the body of the request failed, as its end is unknown."""
    return bool(request.keep_alive) and request.content.exception() is None


async def _write_slices(request: web.BaseRequest, transport: asyncio.Transport, body: Body) -> None:
    """Write a long body in slices, a turn of the loop each, so that TLS encryption does not block the loop."""
    deadline = asyncio.get_running_loop().call_later(SENDING_SECONDS, transport.abort)
    transport.set_write_buffer_limits(BUFFERED_BYTES_MAX)
    is_first = True
    try:
        for part in slices(body):
            if not is_first:
                await asyncio.sleep(0)
            is_first = False
            transport_of(request).write(part)
            await drained(transport)
    finally:
        deadline.cancel()


async def _taken(transport: asyncio.Transport, size: int) -> None:
    """Wait until the transport accepts more; abort it after SENDING_SECONDS."""
    if size > BUFFERED_BYTES_MAX:
        transport.set_write_buffer_limits(BUFFERED_BYTES_MAX)
    if not is_paused(transport):
        return
    deadline = asyncio.get_running_loop().call_later(SENDING_SECONDS, transport.abort)
    try:
        await drained(transport)
    finally:
        deadline.cancel()


def transport_of(request: web.BaseRequest) -> asyncio.Transport:
    """Return the transport of a request. Raises Disconnected if it is closing."""
    transport = request.transport
    if transport is None or transport.is_closing():
        raise Disconnected
    return transport


async def drain(request: web.BaseRequest) -> None:
    """Wait until the transport of a request accepts more. Raises Disconnected."""
    await drained(transport_of(request))


async def drained(transport: asyncio.Transport) -> None:
    """Wait until a transport is not paused. Raises Disconnected if the connection is lost."""
    protocol = _protocol_of(transport)
    if protocol is None:
        raise Disconnected
    try:
        await protocol._drain_helper()  # noqa: SLF001 - there is no other way to wait, nor in asyncio's streams
    except ConnectionError as error:
        # The awaited future holds the error and the frames of its traceback hold the future: the cycle would keep
        # the buffers of the connection until a full collection.
        error.__traceback__ = None
        raise Disconnected from None


def is_paused(transport: asyncio.Transport) -> bool:
    """Return whether a transport is paused: its write buffer is above the high-water mark."""
    protocol = _protocol_of(transport)
    return protocol is not None and bool(protocol._paused)  # noqa: SLF001 - as above


def _protocol_of(transport: asyncio.Transport) -> Any:
    """Return the protocol of a transport; None if the connection is lost, which TLS of asyncio tells by failing."""
    try:
        return transport.get_protocol()  # None on uvloop
    except AttributeError:  # a transport that was closed twice
        return None


def chunk(data: bytes) -> bytes:
    """Frame data for the chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def continue_if_expected(request: web.BaseRequest) -> None:
    """Send 100 Continue if the client expects it (RFC 9110). Raises ExpectationFailed for another expectation."""
    expected = request.headers.get("Expect", "")
    if expected.lower() == "100-continue":
        transport_of(request).write(CONTINUE)
    elif expected:
        raise ExpectationFailed(f"cannot meet the expectation {expected!r}")


class ExpectationFailed(APIError):
    """The client sent an Expect header other than 100-continue."""

    code, reason = 417, "ExpectationFailed"
