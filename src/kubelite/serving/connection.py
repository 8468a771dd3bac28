"""An HTTP connection with deadlines and with bounds on the memory it can make the process hold.

aiohttp's parser keeps a head, as text and as bytes, from its first byte to the end of the request. It bounds each
field and their number but not their sum, so bytes are counted before they reach the parser. A connection holds at
most `REQUEST_HEAD` of a head, `PIPELINED` queued requests, twice `BODY_BUFFER_BYTES` of an unread body, and one read of
the socket (256 KB). Bytes beyond `HELD_ALWAYS` are charged to the budgets of its address and of the listener.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from multidict import CIMultiDict, CIMultiDictProxy

from kubelite.limits import (
    HEAD_SECONDS,
    IDLE_SECONDS,
    PIPELINED,
    REQUEST_FIELDS,
    REQUEST_HEAD,
    UNREAD_SECONDS,
)
from kubelite.serving.table import ConnectionTable, Slot, plain_address

log = logging.getLogger(__name__)

BODY_BUFFER_BYTES = 64 * 1024
FIELD_COST_BYTES = (
    300  # memory of the objects that the parser makes for a header field, however short
)
LINGERING_SECONDS = 2.0
RESET_DELAY_SECONDS = 0.5  # to let the client read the answer; as Go's server
HEAD_END = b"\r\n\r\n"
TOO_LARGE, BAD_REQUEST = "431 Request Header Fields Too Large", "400 Bad Request"
MISSING_HOST = "missing required Host header"


class Sent(web.StreamResponse):
    """A response that was already written; tells aiohttp its status and whether the connection stays open."""

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._keep_alive = keep_alive

    async def prepare(
        self,
        request: web.BaseRequest,  # noqa: ARG002 - the signature of aiohttp
    ) -> AbstractStreamWriter | None:
        """Write nothing."""
        return None

    async def write_eof(self, data: object = b"") -> None:
        """Write nothing."""


class HTTPConnection(RequestHandler):
    """aiohttp's protocol with bounds and deadlines, and with listeners for the loss of the connection."""

    def __init__(self, server: "ConnectionServer", slot: Slot) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            logger=log,
            keepalive_timeout=IDLE_SECONDS.value,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None and types it as a logger
            read_bufsize=BODY_BUFFER_BYTES,
            lingering_time=LINGERING_SECONDS,
        )
        self._parser = HttpRequestParser(
            self,
            loop,
            BODY_BUFFER_BYTES,
            max_line_size=REQUEST_HEAD.value,
            max_field_size=REQUEST_HEAD.value,
            max_headers=REQUEST_FIELDS.value,
            payload_exception=RequestPayloadError,
            auto_decompress=False,  # a decompression bomb would exceed the bounds
            max_msg_queue_size=PIPELINED.value,
        )
        # The parser also counts a request that was taken from its queue before the body was complete, so its count can
        # stay one too high. Therefore reading pauses one request before the parser's own limit.
        self._max_msg_queue_size = PIPELINED.value - 1
        self._msg_queue_resume_size = 1
        self.certificate: bytes | None = None
        self.remote_address = ""
        self.is_ascii = True  # False: header text may be invalid UTF-8
        self._slot = slot
        self._head_timer: asyncio.TimerHandle | None = None
        self._lost: set[Callable[[], None]] = set()
        self._counted_requests = 0
        self._body: StreamReader | None = None  # of the last request parsed; None without one
        self._head_bytes = 0  # of the head that is still incomplete
        self._silent_bytes = 0  # of chunk framing and trailers since the last body data
        self._heads_cost = 0  # estimated memory of the heads, in bytes

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a request: none is queued or in flight."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record the client's certificate (DER) and address; start the deadline of the first head."""
        super().connection_made(transport)
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self.certificate = tls.getpeercert(True)
        peer = transport.get_extra_info("peername")
        self.remote_address = plain_address(str(peer[0])) if peer else ""
        self._start_head_timer()  # a client that sends nothing is subject to the deadline too
        self._slot.is_idle = lambda: self.is_idle
        self._slot.close = self.abort
        if not self._slot.is_open:  # another connection took the place during the handshake
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Release the slot and call the listeners."""
        self._stop_head_timer()
        super().connection_lost(exc)
        self._slot.release()
        self._body = None
        listeners, self._lost = self._lost, set()
        for listener in listeners:
            listener()

    def abort(self) -> None:
        """Close at once, without flushing the write buffer or a TLS closing handshake."""
        if self.transport is not None:
            self.transport.abort()
        self.force_close()

    def on_lost(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when the connection is lost; return the function that unsubscribes it."""
        self._lost.add(listener)
        return lambda: self._lost.discard(listener)

    def take_tail(self) -> bytes:
        """Take the bytes that followed an upgrade request; a second call returns b""."""
        tail, self._message_tail = self._message_tail, b""
        return bytes(tail)

    def data_received(self, data: bytes) -> None:
        """Parse within the bounds, else close; a head that is too large gets 431 if no answer is pending."""
        while True:
            room = REQUEST_HEAD.value - self._head_bytes
            if len(data) <= room or self._is_in_body or self._upgraded or self._buffer_paused:
                self._parse(data)
                return
            # The data exceeds the limit of a head, so the head must end within the bytes left of it.
            requests = self._request_count
            self._parse(data[:room])
            if self._force_close or self._close:
                return
            if self._request_count == requests:
                self._refuse_head()
                return
            data = data[room:]

    @property
    def _is_in_body(self) -> bool:
        return self._body is not None and not self._body.is_eof()

    def _parse(self, data: bytes) -> None:
        if self._upgraded:
            super().data_received(data)
            self._charge()
            return
        requests = self._request_count
        if (
            requests != self._counted_requests
        ):  # aiohttp parsed a request from the bytes behind an upgrade
            self._note_last_body()
        body = self._body if self._is_in_body else None
        body_bytes = body.total_bytes if body is not None else 0
        is_idle = self.is_idle
        if is_idle and not self._head_bytes:
            self._heads_cost = 0
        if self.is_ascii and not data.isascii():
            self.is_ascii = False
        super().data_received(data)
        new = self._request_count - requests
        if new:
            self._stop_head_timer()
            self._note_last_body()
            if body is not None and not body.is_eof():
                # The parser dropped the body after an error, so its reader would wait for ever.
                body.set_exception(RequestPayloadError("the body is malformed"))
        if body is not None and not new:
            self._count_body(body, len(data), body.total_bytes - body_bytes, data)
        else:
            self._count_head(data, new)
            if self._head_bytes and is_idle and not new and self._head_timer is None:
                self._start_head_timer()
        self._charge()

    def _note_last_body(self) -> None:
        self._counted_requests = self._request_count
        self._silent_bytes = 0
        if self._messages:
            body = self._messages[-1][1]
            self._body = None if body is EMPTY_PAYLOAD else body

    def _count_head(self, data: bytes, new: int) -> None:
        """Count data that contained heads or parts of them; `new` heads are now complete."""
        lines = min(data.count(b"\n"), REQUEST_FIELDS.value * (new + 1))
        self._heads_cost += 2 * len(data) + FIELD_COST_BYTES * lines
        if self._upgraded or self._buffer_paused:
            self._head_bytes = 0  # unparsed bytes are bounded by one read of the socket
        elif new:
            body_bytes = self._body.total_bytes if self._body is not None else 0
            self._head_bytes = 0 if self._is_in_body else _rest(data, body_bytes)
        else:
            self._head_bytes += len(data)

    def _count_body(self, body: StreamReader, size: int, grown: int, data: bytes) -> None:
        """Count `size` bytes that continued a body, `grown` of them content."""
        if body.is_eof():
            self._head_bytes = min(size - grown, _rest(data, 0))
        self._silent_bytes = 0 if grown or body.is_eof() else self._silent_bytes + size
        if self._silent_bytes > REQUEST_HEAD.value:
            REQUEST_HEAD.reached()
            self._drop("trailers are too large")

    def _charge(self) -> None:
        held = self._heads_cost + len(self._message_tail) + self._silent_bytes
        if self._body is not None:
            held += self._body._size  # noqa: SLF001 - aiohttp does not say how much is unread
        if not self._slot.hold(held):
            self._drop("too much is held for its address, or for all")

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Release the charge of an answered request, except for its head, which aiohttp keeps until the next one.

        Waits until the client has read the answer if the transport is paused.
        """
        if self._slot.charged_bytes and not self._messages:
            self._drop_unread(request)
            fields = request.raw_headers
            size = sum(len(name) + len(value) for name, value in fields) + len(request.raw_path)
            self._heads_cost = 2 * (size + self._head_bytes) + FIELD_COST_BYTES * len(fields)
            self._charge()
        finishing = super().finish_response(request, resp, start_time)
        return self._taken(finishing) if self._paused else finishing

    async def _taken(
        self, finishing: Coroutine[Any, Any, tuple[web.StreamResponse, bool]]
    ) -> tuple[web.StreamResponse, bool]:
        """Wait until the client has read its answer: without back-pressure unread answers would pile up."""
        response, is_lost = await finishing
        deadline = self._loop.call_later(UNREAD_SECONDS.value, self._answer_is_late)
        try:
            await self._drain_helper()
        except ConnectionError:
            is_lost = True
        finally:
            deadline.cancel()
        return response, is_lost

    def _answer_is_late(self) -> None:
        UNREAD_SECONDS.reached()
        self.abort()

    def _drop_unread(self, request: web.BaseRequest) -> None:
        content = request.content
        if content.is_eof() and content.exception() is None:
            content.read_nowait()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request as Go's server does, and log it at debug level, without a traceback."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        line, detail = refusal_of(exc)
        log.debug("not a request", extra={"client": self.remote_address, "reason": str(exc)})
        if self.transport is not None:
            self.transport.write(refusal(line, detail))
        return Sent(int(line[:3]), keep_alive=False)

    def _refuse_head(self) -> None:
        REQUEST_HEAD.reached()
        if not self.is_idle or self.transport is None:
            self._drop("the head is too large")
            return
        log.debug("head is too large", extra={"client": self.remote_address})
        self.transport.write(refusal(TOO_LARGE))
        self.close()
        # Closing with unread bytes resets the connection, so wait for the client to read the answer.
        self._loop.call_later(RESET_DELAY_SECONDS, self.abort)

    def _drop(self, reason: str) -> None:
        log.debug("connection dropped", extra={"client": self.remote_address, "reason": reason})
        if not self._force_close:
            self.abort()

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(HEAD_SECONDS.value, self._head_is_late)

    def _head_is_late(self) -> None:
        HEAD_SECONDS.reached()
        self.abort()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class ConnectionServer(web.Server):
    """Makes the protocol of each connection that the table admitted."""

    def __init__(
        self,
        answer: Callable[[Any], Awaitable[web.StreamResponse]],
        table: ConnectionTable,
        *,
        connection: type[HTTPConnection] = HTTPConnection,
        handler_cancellation: bool = False,
    ) -> None:
        """With `handler_cancellation` a disconnect cancels the handler."""
        super().__init__(
            answer, request_factory=self._request, handler_cancellation=handler_cancellation
        )
        self.table = table
        self._connection = connection

    def connect(self, slot: Slot) -> HTTPConnection:
        """Return the protocol of a new connection."""
        return self._connection(self, slot)

    def __call__(self) -> NoReturn:
        """Not used, since a connection needs its slot: call `connect`."""
        raise NotImplementedError

    def _request(
        self,
        message: Any,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        """Make a request whose headers can be encoded: invalid UTF-8 is replaced, as in Go's JSON."""
        if not protocol.is_ascii:  # type: ignore[attr-defined]  # made by `connect`
            message = message._replace(headers=encodable(message.headers))
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)


def _rest(data: bytes, body_bytes: int) -> int:
    """Return how many bytes follow the last complete request; too few if a body contains HEAD_END."""
    rest = len(data) - (data.rfind(HEAD_END) + len(HEAD_END)) - body_bytes
    return rest if rest >= len(HEAD_END) else 0  # HEAD_END split over two reads leaves no rest


def encodable(headers: CIMultiDictProxy[str]) -> CIMultiDictProxy[str]:
    """Return headers with invalid UTF-8 replaced by U+FFFD."""
    if all(value.isascii() for value in headers.values()):
        return headers
    return CIMultiDictProxy(
        CIMultiDict(
            (name, value if value.isascii() else _replaced(value))
            for name, value in headers.items()
        )
    )


def _replaced(value: str) -> str:
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def refusal_of(error: HttpProcessingError) -> tuple[str, str]:
    """Return the status line and the detail ("" for none) of a parser's error."""
    if isinstance(error, LineTooLong):
        REQUEST_HEAD.reached()
        return TOO_LARGE, ""
    if "Too many headers" in error.message:
        REQUEST_FIELDS.reached()
        return TOO_LARGE, ""
    return BAD_REQUEST, MISSING_HOST if "Missing 'Host'" in error.message else ""


def refusal(line: str, detail: str = "") -> bytes:
    """Return the encoded answer to a malformed request; it repeats nothing that the client sent."""
    said = f"{line}: {detail}" if detail else line
    return (
        f"HTTP/1.1 {said}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{said}"
    ).encode()
