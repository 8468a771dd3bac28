"""An HTTP connection with deadlines and with bounds on what it makes the process hold.

aiohttp's parser keeps a head, as text and as bytes, from its first byte to the end of the request; it bounds each
field and their number, but not the sum. So bytes are counted before the parser gets them. A connection holds at most
`REQUEST_HEAD` for a head, `PIPELINED` requests that wait, and twice `BODY_BUFFER_BYTES` of a body that is not read,
plus what one read of the socket brought (256 KB). What it holds beyond `HELD_ALWAYS` counts for its address and for
all.
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
from kubelite.serving.table import ConnectionTable, Slot

log = logging.getLogger(__name__)

BODY_BUFFER_BYTES = 64 * 1024
FIELD_COST_BYTES = 300  # objects the parser makes for a field, however short
LINGERING_SECONDS = 2.0
RESET_DELAY_SECONDS = 0.5  # as Go's server
HEAD_END = b"\r\n\r\n"
TOO_LARGE, BAD_REQUEST = "431 Request Header Fields Too Large", "400 Bad Request"
MISSING_HOST = "missing required Host header"


class Sent(web.StreamResponse):
    """Tells aiohttp that the answer has already been written, and whether the connection stays open."""

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
    """aiohttp's protocol within bounds, with listeners for its end."""

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
            auto_decompress=False,  # a small body must not become a huge one
            max_msg_queue_size=PIPELINED.value,
        )
        # The parser's own count may be one too high for as long as the connection lives: it counts a request that was
        # taken before its body was complete. So the socket is held one request earlier than the parser stops.
        self._max_msg_queue_size = PIPELINED.value - 1
        self._msg_queue_resume_size = 1
        self.certificate: bytes | None = None
        self.remote_address = ""
        self.is_ascii = True  # False: some text of a client may be no UTF-8
        self._slot = slot
        self._head_timer: asyncio.TimerHandle | None = None
        self._lost: set[Callable[[], None]] = set()
        self._counted_requests = 0
        self._body: StreamReader | None = None  # of the request read last
        self._head_bytes = 0  # of the head that is not complete yet
        self._silent_bytes = 0  # of a body's framing and trailers since its last data
        self._heads_cost = 0  # what heads hold in memory, estimated

    @property
    def is_idle(self) -> bool:
        """Whether all requests have been answered."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the client's certificate and address; start the clock of the first head."""
        super().connection_made(transport)
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self.certificate = tls.getpeercert(True)
        peer = transport.get_extra_info("peername")
        self.remote_address = str(peer[0]) if peer else ""
        self._start_head_timer()  # a client that never says anything must not stay either
        self._slot.is_idle = lambda: self.is_idle
        self._slot.close = self.abort
        if not self._slot.is_open:  # it was given to another during the handshake
            self.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever listens."""
        self._stop_head_timer()
        super().connection_lost(exc)
        self._slot.release()
        self._body = None
        listeners, self._lost = self._lost, set()
        for listener in listeners:
            listener()

    def abort(self) -> None:
        """Close at once, without waiting for what is to be written or for the client's farewell."""
        if self.transport is not None:
            self.transport.abort()
        self.force_close()

    def on_lost(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when the connection is lost; return the call that ends that."""
        self._lost.add(listener)
        return lambda: self._lost.discard(listener)

    def take_tail(self) -> bytes:
        """Return, once, the bytes that came behind a request to switch protocols."""
        tail, self._message_tail = self._message_tail, b""
        return bytes(tail)

    def data_received(self, data: bytes) -> None:
        """Parse within the bounds; a connection that breaks one is told so if it waits for an answer, and closed."""
        while True:
            room = REQUEST_HEAD.value - self._head_bytes
            if len(data) <= room or self._is_in_body or self._upgraded or self._buffer_paused:
                self._parse(data)
                return
            # More than a head may have: it must end within what is left.
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
        if requests != self._counted_requests:  # read from what stood behind a request to upgrade
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
                # The parser found an error in the body and has let go of it: who reads it must not wait for more.
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
        """Count data that began, continued or ended heads, of which `new` are complete now."""
        lines = min(data.count(b"\n"), REQUEST_FIELDS.value * (new + 1))
        self._heads_cost += 2 * len(data) + FIELD_COST_BYTES * lines
        if self._upgraded or self._buffer_paused:
            self._head_bytes = 0  # what is not parsed yet is bounded by what one read brings
        elif new:
            body_bytes = self._body.total_bytes if self._body is not None else 0
            self._head_bytes = 0 if self._is_in_body else _rest(data, body_bytes)
        else:
            self._head_bytes += len(data)

    def _count_body(self, body: StreamReader, size: int, grown: int, data: bytes) -> None:
        """Count data that continued a body, of which `grown` bytes were content."""
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
        """Give back what the request held; its head stays until the next one."""
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
        """Wait until the client has taken its answer: requests that are served unread would pile up answers."""
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
        """Answer what is no request as Go's server does; such a client is worth a debug line, not a traceback."""
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
        # To close with bytes unread would reset the connection before the client has the answer.
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
    """Makes a connection for each client that has a place."""

    def __init__(
        self,
        answer: Callable[[Any], Awaitable[web.StreamResponse]],
        table: ConnectionTable,
        *,
        connection: type[HTTPConnection] = HTTPConnection,
        handler_cancellation: bool = False,
    ) -> None:
        """With `handler_cancellation` the handler of a client that leaves is cancelled."""
        super().__init__(
            answer, request_factory=self._request, handler_cancellation=handler_cancellation
        )
        self.table = table
        self._connection = connection

    def connect(self, slot: Slot) -> HTTPConnection:
        """Return the protocol of a new connection."""
        return self._connection(self, slot)

    def __call__(self) -> NoReturn:
        """Not used: a connection needs its slot."""
        raise NotImplementedError

    def _request(
        self,
        message: Any,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        """Make a request whose headers are text that can be encoded: what is no UTF-8 is replaced, as in Go's JSON."""
        if not protocol.is_ascii:  # type: ignore[attr-defined]  # made by `connect`
            message = message._replace(headers=encodable(message.headers))
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop)


def _rest(data: bytes, body_bytes: int) -> int:
    """Return how much data stands behind the last complete request; too little when a body contains an end of head."""
    rest = len(data) - (data.rfind(HEAD_END) + len(HEAD_END)) - body_bytes
    return rest if rest >= len(HEAD_END) else 0  # an end that two reads brought is no rest


def encodable(headers: CIMultiDictProxy[str]) -> CIMultiDictProxy[str]:
    """Return headers with U+FFFD in the place of bytes that are no UTF-8."""
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
    """Return the status line and the detail that a parser's error stands for."""
    if isinstance(error, LineTooLong):
        REQUEST_HEAD.reached()
        return TOO_LARGE, ""
    if "Too many headers" in error.message:
        REQUEST_FIELDS.reached()
        return TOO_LARGE, ""
    return BAD_REQUEST, MISSING_HOST if "Missing 'Host'" in error.message else ""


def refusal(line: str, detail: str = "") -> bytes:
    """Return the answer to what is no request; nothing a client sent is repeated."""
    said = f"{line}: {detail}" if detail else line
    return (
        f"HTTP/1.1 {said}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{said}"
    ).encode()
