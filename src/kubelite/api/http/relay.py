"""Passes a request on to a backend and its answer back, byte by byte.

The backend is asked to close after its answer, so an answer needs no framing of its own: its bytes, chunks included,
are written as they come, nothing is held back, and whoever reads slowly slows the sender down. An upgrade
(WebSocket, SPDY) turns both connections into a pipe after the 101.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from aiohttp import web
from msgspec import Struct

from kubelite.api.errors import BadRequest, ServiceUnavailable, TooManyRequests, internal_error
from kubelite.api.http.body_end import CHUNK_SIZE, BodyEnd
from kubelite.api.http.connection import Connection
from kubelite.api.http.dialer import Backend, Connected, Dialer
from kubelite.api.http.websocket import PROTOCOL_HEADER, offered_protocols
from kubelite.api.http.wire import (
    Disconnected,
    Sent,
    chunk,
    continue_if_expected,
    drain,
    transport_of,
)
from kubelite.limits import (
    BACKEND_HEAD_SECONDS,
    BACKEND_PAGE_SECONDS,
    RELAYED_STREAMS,
    STREAM_BUFFER,
    STREAM_IDLE_SECONDS,
)
from kubelite.serving.closing import close_within_bounds
from kubelite.serving.table import plain_address
from kubelite.tasks import TaskSet

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What proves who calls stays here: a backend must not be able to use it.
SECRET = frozenset({"authorization", "expect", "host"})
IMPERSONATION = "impersonate-"
# A body whose length a client could hide would be read as another request.
FRAMING = frozenset({"content-length"})
BUFFER_BYTES = STREAM_BUFFER.value
INTERIM_ANSWERS_MAX = 5  # as Go's client
BROKEN_LINE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
STATUS = re.compile(r"[1-9][0-9]{2}")


class Head(Struct):
    """Status line and headers of a backend's answer."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    is_http_11: bool = (
        True  # False: an earlier minor version, whose connections end with the answer
    )

    def get(self, wanted: str) -> str:
        """Return a header's first value."""
        return next((value for name, value in self.headers if name.lower() == wanted), "")


class Answered(Struct):
    """A backend that has begun to answer."""

    head: Head
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sending: asyncio.Task[None] | None
    ended: Callable[[], None]  # called once, by `close`


def is_upgrade(request: web.BaseRequest) -> bool:
    """Say whether a request asks to switch protocols."""
    tokens = request.headers.get("Connection", "").lower().split(",")
    return "Upgrade" in request.headers and any(token.strip() == "upgrade" for token in tokens)


class Relay:
    """Passes requests on."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._tasks = TaskSet()
        self._open = 0

    async def ask(
        self,
        request: web.BaseRequest,
        backend: Backend,
        target: str,
        more_headers: Iterable[tuple[str, str]] = (),
        *,
        upgrade: bool = False,
    ) -> Answered:
        """Send a request on and return the answer's head; raises ServiceUnavailable, TooManyRequests, Disconnected.

        Whoever called must `close` what is returned. A client that leaves ends the backend's connection.
        """
        if self._open >= RELAYED_STREAMS.value:
            RELAYED_STREAMS.reached()
            raise TooManyRequests("too many streams are relayed", retry_after_seconds=1)
        self._open += 1
        try:
            reader, writer = await self._dialer.dial(backend)
        except BaseException:
            self._open -= 1
            raise
        connection: Connection = request.protocol  # type: ignore[assignment]  # made by ConnectionServer
        forget = connection.on_lost(writer.transport.abort)

        def ended() -> None:
            forget()
            self._open -= 1

        sending: asyncio.Task[None] | None = None
        try:
            writer.write(request_head(request, backend, target, more_headers, upgrade=upgrade))
            if request.can_read_body and not upgrade:
                await continue_if_expected(request)
                sending = self._tasks.start(send_body(request, writer), name="proxied body")
            async with asyncio.timeout(BACKEND_HEAD_SECONDS.value):
                head = await read_head(reader)
        except BaseException as error:
            ended()
            writer.transport.abort()
            if sending is not None:
                sending.cancel()
            if isinstance(error, TimeoutError | OSError | EOFError | ValueError):
                raise ServiceUnavailable(
                    f"error trying to reach service: no answer from {backend.authority}"
                ) from error
            raise
        return Answered(head, reader, writer, sending, ended)

    async def pass_through(
        self,
        request: web.BaseRequest,
        answered: Answered,
        headers: Sequence[tuple[str, str]] = (),
        rewrite: Callable[[str, str], str] | None = None,
    ) -> Sent:
        """Write a backend's answer to the client; `rewrite` may change header values by their lower-case name."""
        try:
            transport = transport_of(request)
            head = answered.head
            transport.write(answer_head(head, headers, rewrite))
            body = BodyEnd(request.method, head.status, head.headers)
            while not body.ended and (data := await answered.reader.read(BUFFER_BYTES)):
                transport.write(body.take(data))
                await taken(drain(request))
        except ConnectionError as error:
            raise Disconnected from error
        finally:
            close(answered)
        return Sent(answered.head.status, keep_alive=False)

    async def upgrade(
        self,
        request: web.BaseRequest,
        backend: Backend,
        target: str,
        more_headers: Iterable[tuple[str, str]] = (),
    ) -> Sent:
        """Relay the handshake and then everything, both ways, until either side ends.

        Raises BadRequest for a request that is no upgrade. A refusal of the backend is passed on.
        """
        if not is_upgrade(request):
            raise BadRequest("Upgrade request required")
        answered = await self.ask(request, backend, target, more_headers, upgrade=True)
        if answered.head.status >= 400:
            with suppress(TimeoutError):
                async with asyncio.timeout(BACKEND_PAGE_SECONDS.value):
                    return await self.pass_through(request, answered)
            return Sent(answered.head.status, keep_alive=False)
        if answered.head.status != 101:
            close(answered)
            raise internal_error(f"invalid upgrade response: status code {answered.head.status}")
        try:
            transport = transport_of(request)
            transport.write(upgrade_head(answered.head))
            client = take_over(request, transport)
            await splice(client, (answered.reader, answered.writer), self._tasks)
        finally:
            close(answered)
        return Sent(101, keep_alive=False)


def close(answered: Answered) -> None:
    """Drop the connection to a backend; called once."""
    answered.ended()
    if answered.sending is not None:
        answered.sending.cancel()
    close_within_bounds(answered.writer.transport)


async def body_parts(answered: Answered) -> AsyncIterator[bytes]:
    """Yield an answer's body as it comes, freed of chunks; raises ServiceUnavailable when it breaks off."""
    reader = answered.reader
    try:
        if answered.head.get("transfer-encoding").lower() == "chunked":
            while length := _chunk_size(await reader.readline()):
                while length:
                    part = await reader.read(min(length, BUFFER_BYTES))
                    if not part:
                        raise EOFError
                    length -= len(part)
                    yield part
                await reader.readline()
        else:
            body = BodyEnd("GET", answered.head.status, answered.head.headers)
            while not body.ended and (part := await reader.read(BUFFER_BYTES)):
                yield body.take(part)
    except (ValueError, EOFError, ConnectionError) as error:
        raise ServiceUnavailable("error trying to reach service: the answer broke off") from error


def _chunk_size(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if not CHUNK_SIZE.fullmatch(size):  # `int` would take a sign, and read without end
        raise ValueError("no chunk")
    return int(size, 16)


def request_head(
    request: web.BaseRequest,
    backend: Backend,
    target: str,
    more_headers: Iterable[tuple[str, str]],
    *,
    upgrade: bool,
    stays_open: bool = False,
    drops: Callable[[str], bool] = lambda _: False,
) -> bytes:
    """Return the head of the request to a backend: the client's without what concerns the client's connection.

    `drops` says of further header names, in lower case, that they are left out. With `stays_open` the backend is not
    asked to close.
    """
    lines = [f"{request.method} {target} HTTP/1.1", f"Host: {backend.authority}"]
    forwarded = []
    named = {
        token.strip().lower() for token in request.headers.get("Connection", "").split(",") if token
    }
    named -= FRAMING
    for name, value in request.headers.items():
        lowered = name.lower()
        if lowered == "x-forwarded-for":
            forwarded.append(value)
        elif lowered == "sec-websocket-protocol":
            continue  # below, without the client's token
        elif not (
            lowered in HOP_BY_HOP
            or lowered in SECRET
            or lowered in named
            or lowered.startswith(IMPERSONATION)
            or drops(lowered)
            or (lowered in FRAMING if upgrade else lowered.startswith("sec-websocket-"))
        ):
            lines.append(f"{name}: {value}")
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if peer:
        lines.append("X-Forwarded-For: " + ", ".join([*forwarded, plain_address(str(peer[0]))]))
    lines += [f"{name}: {value}" for name, value in more_headers]
    if upgrade:
        lines += ["Connection: Upgrade", f"Upgrade: {request.headers['Upgrade']}"]
        if protocols := offered_protocols(request):
            lines.append(f"{PROTOCOL_HEADER}: {', '.join(protocols)}")
    else:
        if not stays_open:
            lines.append("Connection: close")
        if request.can_read_body and request.content_length is None:
            lines.append("Transfer-Encoding: chunked")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def take_over(request: web.BaseRequest, transport: asyncio.Transport) -> Connected:
    """Take a client's connection from the HTTP protocol; bytes that came behind the request are not lost."""
    connection: Connection = request.protocol  # type: ignore[assignment]  # made by ConnectionServer
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=BUFFER_BYTES, loop=loop)
    protocol = TakenOver(reader, connection)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if tail := connection.take_tail():
        reader.feed_data(tail)
    transport.resume_reading()
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class TakenOver(asyncio.StreamReaderProtocol):
    """A client's connection that speaks HTTP no more."""

    def __init__(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        super().__init__(reader)
        self._connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the HTTP protocol too, which keeps the books."""
        super().connection_lost(exc)
        self._connection.connection_lost(exc)


async def splice(client: Connected, backend: Connected, tasks: TaskSet) -> None:
    """Copy both ways; when one direction ends, its other end is told, and both close when one side is gone."""
    client_reader, client_writer = client
    backend_reader, backend_writer = backend
    up = tasks.start(_copy(client_reader, backend_writer), name="splice to the backend")
    down = tasks.start(_copy(backend_reader, client_writer), name="splice to the client")
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if up.done() and not down.done():
            # The client is gone (HTTP clients do not half-close here): what the backend still says has no reader.
            down.cancel()
    finally:
        up.cancel()
        down.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        close_within_bounds(backend_writer.transport)
        close_within_bounds(client_writer.transport)


async def taken(draining: Awaitable[None]) -> None:
    """Wait until a peer takes what was written; raises ConnectionError when that takes `STREAM_IDLE_SECONDS`."""
    try:
        async with asyncio.timeout(STREAM_IDLE_SECONDS.value):
            await draining
    except TimeoutError as error:
        STREAM_IDLE_SECONDS.reached()
        raise ConnectionAbortedError("what was sent is not taken") from error


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(BUFFER_BYTES):
            writer.write(data)
            await taken(writer.drain())
    except OSError:  # also what TLS, or the network on the way, ends a connection with
        return


async def send_body(request: web.BaseRequest, writer: asyncio.StreamWriter) -> None:
    """Write the body of a request as it comes, in chunks if its length is not known; abort if it breaks off."""
    chunks = request.content_length is None
    try:
        while data := await request.content.readany():
            writer.write(chunk(data) if chunks else data)
            await writer.drain()
        if chunks:
            writer.write(b"0\r\n\r\n")
    except (ConnectionError, web.RequestPayloadError):
        writer.transport.abort()


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Read the head of an answer, past interim ones.

    Raises EOFError if the connection ended before the first byte, ValueError for what is no answer of HTTP.
    """
    for _ in range(INTERIM_ANSWERS_MAX + 1):
        try:
            raw = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                raise EOFError("EOF") from error
            raise ValueError("no HTTP answer") from error
        except asyncio.LimitOverrunError as error:
            raise ValueError("no HTTP answer") from error
        status_line, *lines = raw.decode("utf-8", "surrogateescape").split("\r\n")
        version, _, rest = status_line.partition(" ")
        code, _, reason = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not STATUS.fullmatch(code):
            raise ValueError("no HTTP answer")
        if BROKEN_LINE.search(raw):
            raise ValueError("a line that is broken would begin another at the client")
        headers = []
        for line in lines:
            name, separator, value = line.partition(":")
            if separator:
                headers.append((name, value.strip()))
        is_http_11 = version != "HTTP/1.0"
        head = Head(int(code), reason, headers, is_http_11)
        if head.status == 101 or head.status >= 200:  # other interim answers are for the proxy
            return head
    raise ValueError("too many interim answers")


def answer_head(
    head: Head,
    headers: Sequence[tuple[str, str]],
    rewrite: Callable[[str, str], str] | None = None,
    *,
    closes: bool = True,
) -> bytes:
    """Return the head of the answer to the client, `headers` in the place of the backend's of these names."""
    lines = [f"HTTP/1.1 {head.status} {head.reason}"]
    replaced = {name.lower() for name, _ in headers}
    for name, value in head.headers:
        lowered = name.lower()
        if lowered in replaced or (lowered in HOP_BY_HOP and lowered != "transfer-encoding"):
            continue
        lines.append(f"{name}: {rewrite(lowered, value) if rewrite else value}")
    lines += [f"{name}: {value}" for name, value in headers]
    if closes:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


def upgrade_head(head: Head) -> bytes:
    """Return the head of a 101 for the client: all that the backend says."""
    lines = [f"HTTP/1.1 {head.status} {head.reason}"]
    lines += [f"{name}: {value}" for name, value in head.headers]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
