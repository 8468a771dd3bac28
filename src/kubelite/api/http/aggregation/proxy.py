"""Passes requests on to the server of an APIService, and its answers back.

Bytes are written as they come, in both directions. Where the answer's end is known by its framing, both connections
stay open: the client's, and the other server's for the next request of any caller.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from aiohttp import web
from msgspec import Struct

from kubelite.api.errors import BadRequest, ServiceUnavailable, Timeout, TooManyRequests
from kubelite.api.http.aggregation.connections import Connections, has_unread
from kubelite.api.http.aggregation.contexts import BadAuthorities, ClientContexts
from kubelite.api.http.aggregation.identity import Unsendable, identity_headers, is_replaced
from kubelite.api.http.body_end import LENGTH, BodyEnd
from kubelite.api.http.connection import Connection
from kubelite.api.http.delegation import Registration, ServiceKey
from kubelite.api.http.dialer import Backend, Connected
from kubelite.api.http.dispatch import Asked, timeout_seconds
from kubelite.api.http.relay import (
    BUFFER_BYTES,
    Head,
    answer_head,
    is_upgrade,
    read_head,
    request_head,
    send_body,
    splice,
    take_over,
    taken,
    upgrade_head,
)
from kubelite.api.http.request import split_target
from kubelite.api.http.respond import Reply, text_reply
from kubelite.api.http.service_endpoints import Endpoint, NoEndpoint, ServiceEndpoints
from kubelite.api.http.wire import (
    Disconnected,
    Sent,
    continue_if_expected,
    drain,
    stays_open,
    transport_of,
)
from kubelite.limits import (
    AGGREGATED_DISCOVERY_SECONDS,
    AGGREGATED_REQUESTS,
    BACKEND_HEAD_SECONDS,
    BACKEND_PAGE_SECONDS,
    REQUEST_SECONDS,
)
from kubelite.serving.closing import close_within_bounds
from kubelite.tasks import TaskSet

UNAVAILABLE = "service unavailable"
UNREACHABLE = "error trying to reach service: "
REDIRECTED = "the backend attempted to redirect this request, which is not permitted"
SWITCHING = 101
EXPIRED = "context deadline exceeded"
BROKEN = "net/http: HTTP/1.x transport connection broken"
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # a header's name (RFC 9110, 5.1)
# These may be sent once more, on another connection, when the first was closed before its answer began.
REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class Failed(Exception):
    """There is no answer to pass on; the message says why, in Kubernetes' words."""

    def __init__(self, reason: str, status: int = 503) -> None:
        super().__init__(reason)
        self.status = status


class Exchange(Struct):
    """A request whose answer has begun."""

    backend: Backend
    connected: Connected
    head: Head
    sending: asyncio.Task[None] | None  # of the request's body

    @property
    def is_sent(self) -> bool:
        """Whether the request is sent to its end."""
        return self.sending is None or self.sending.done()


class AggregatedProxy:
    """Serves the requests for delegated group versions."""

    def __init__(
        self, endpoints: ServiceEndpoints, contexts: ClientContexts, connections: Connections
    ) -> None:
        self._endpoints = endpoints
        self._contexts = contexts
        self._connections = connections
        self._tasks = TaskSet()
        self._running: dict[ServiceKey, int] = {}

    async def serve(
        self, asked: Asked, registration: Registration, *, is_long_running: bool
    ) -> Sent | Reply:
        """Pass a request on. The caller has authorized it. Raises APIError and Disconnected."""
        try:
            if not registration.is_available:
                raise Failed(UNAVAILABLE)
            with self._counted(registration):
                return await self._serve(asked, registration, is_long_running)
        except Failed as failed:
            return text_reply(f"{failed}\n", failed.status)

    @contextmanager
    def _counted(self, registration: Registration) -> Iterator[None]:
        key = registration.service
        assert key is not None, "it is delegated"
        running = self._running.get(key, 0)
        if running >= AGGREGATED_REQUESTS.value:
            AGGREGATED_REQUESTS.reached()
            raise TooManyRequests(
                f"too many requests to the server of {registration.name}", retry_after_seconds=1
            )
        self._running[key] = running + 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]

    async def _serve(
        self, asked: Asked, registration: Registration, is_long_running: bool
    ) -> Sent | Reply:
        backend = await self.backend(registration)
        request = asked.request
        upgrade = is_upgrade(request)
        head = _head(asked, backend, upgrade=upgrade)
        if upgrade:
            return await self._upgrade(request, backend, head)
        if is_long_running:
            async with _head_in_time():
                exchange = await self._begin(request, backend, head)
            return await self._finish(asked, exchange)
        is_discovery = not asked.target.is_resource
        seconds = (
            AGGREGATED_DISCOVERY_SECONDS.value if is_discovery else timeout_seconds(asked.query)
        )
        return await self._within(seconds, asked, backend, head)

    async def backend(
        self, registration: Registration, endpoint: Endpoint | None = None
    ) -> Backend:
        """Return where the server of an APIService is reached, at one endpoint if it is given. Raises Failed."""
        key = registration.service
        assert key is not None, "it is delegated"
        try:
            tls = await self._contexts.find(registration)
        except BadAuthorities as error:
            raise Failed(str(error), 500) from error
        try:
            place = endpoint or self._endpoints.resolve(key.namespace, key.name, key.port)
        except NoEndpoint as error:
            raise Failed(UNAVAILABLE) from error
        return Backend(
            host=place.host,
            port=place.port,
            tls=tls,
            node=place.node,
            server_name=key.server_name,
            is_external=place.is_external,
        )

    async def _within(
        self, seconds: float, asked: Asked, backend: Backend, head: bytes
    ) -> Sent | Reply:
        """Answer within some seconds; an answer that has begun is cut off after them."""
        exchange: Exchange | None = None
        try:
            async with asyncio.timeout(seconds):
                exchange = await self._begin(asked.request, backend, head)
                return await self._finish(asked, exchange)
        except TimeoutError as error:
            if exchange is not None:
                transport_of(asked.request).abort()
                raise Disconnected from error
            if not asked.target.is_resource:
                AGGREGATED_DISCOVERY_SECONDS.reached()
                raise Failed(UNREACHABLE + EXPIRED) from error
            REQUEST_SECONDS.reached()
            raise Timeout("request did not complete within the allotted timeout") from error

    async def _begin(self, request: web.BaseRequest, backend: Backend, head: bytes) -> Exchange:
        """Send a request until its answer begins. Raises Failed and Disconnected."""
        while True:
            transport_of(request)  # raises Disconnected
            connected = self._connections.take(backend)
            is_reused = connected is not None
            if connected is None:
                connected = await self._dial(backend)
            try:
                return await self._begin_on(connected, request, backend, head)
            except (EOFError, ConnectionError) as error:
                if is_reused and request.method in REPEATABLE and not request.can_read_body:
                    continue  # the other server closed it meanwhile
                raise Failed(f"{UNREACHABLE}{str(error) or 'EOF'}") from error
            except (ValueError, OSError) as error:
                raise Failed(f"{UNREACHABLE}{error}") from error

    async def _begin_on(
        self, connected: Connected, request: web.BaseRequest, backend: Backend, head: bytes
    ) -> Exchange:
        reader, writer = connected
        forget = _abort_with(request, writer)
        sending: asyncio.Task[None] | None = None
        try:
            writer.write(head)
            if request.can_read_body and not is_upgrade(request):
                await continue_if_expected(request)
                sending = self._tasks.start(send_body(request, writer), name="aggregated body")
            answer = await read_head(reader)
            _check_framing(answer)
            if answer.status == SWITCHING and not is_upgrade(request):
                raise ValueError("an upgrade that was not asked for")
        except BaseException:
            writer.transport.abort()
            if sending is not None:
                sending.cancel()
            raise
        finally:
            forget()
        return Exchange(backend, connected, answer, sending)

    async def _dial(self, backend: Backend) -> Connected:
        try:
            return await self._connections.dial(backend)
        except (ServiceUnavailable, BadRequest) as error:
            raise Failed(UNREACHABLE + error.message.removeprefix(UNREACHABLE)) from error

    async def _finish(self, asked: Asked, exchange: Exchange) -> Sent | Reply:
        """Write the answer to the client. Raises Disconnected."""
        if 300 <= exchange.head.status <= 399 and exchange.head.get("location"):
            _drop(exchange)  # the caller's credentials go nowhere else
            raise Failed(REDIRECTED, 502)
        try:
            sent, is_complete = await self._write(asked, exchange)
        except BaseException:
            _drop(exchange)
            raise
        if is_complete and exchange.is_sent and _stays_open(exchange.head):
            self._connections.keep(exchange.backend, exchange.connected)
        else:
            _drop(exchange)
        return sent

    async def _write(self, asked: Asked, exchange: Exchange) -> tuple[Sent, bool]:
        """Return also whether the answer ended where its framing says, with nothing behind it."""
        request, head = asked.request, exchange.head
        reader, writer = exchange.connected
        transport = transport_of(request)
        forget = _abort_with(request, writer)
        body = BodyEnd(request.method, head.status, head.headers)
        closes = not (body.is_framed and stays_open(request) and request.version >= (1, 1))
        start = answer_head(head, asked.headers, closes=closes)
        is_clean = True
        try:
            if not body.ended and has_unread(exchange.connected):  # one write for a short answer
                data = await reader.read(BUFFER_BYTES)
                part = body.take(data)
                is_clean = len(part) == len(data)
                start += part
            transport.write(start)
            while not body.ended and (data := await reader.read(BUFFER_BYTES)):
                part = body.take(data)
                is_clean = len(part) == len(data)
                transport.write(part)
                await taken(drain(request))
        except ConnectionError as error:
            raise Disconnected from error
        finally:
            forget()
        is_complete = body.ended and is_clean
        keeps = not closes and body.ended and exchange.is_sent and stays_open(request)
        if body.is_framed and not body.ended:
            transport.abort()  # the client must not take it for whole
            raise Disconnected
        return Sent(head.status, keep_alive=keeps), is_complete

    async def _upgrade(self, request: web.BaseRequest, backend: Backend, head: bytes) -> Sent:
        """Relay the handshake and then everything, both ways, until either side ends."""
        connected = await self._dial(backend)
        try:
            async with _head_in_time():
                exchange = await self._begin_on(connected, request, backend, head)
        except (ValueError, OSError, EOFError) as error:
            raise Failed(f"{UNREACHABLE}{str(error) or 'EOF'}") from error
        answer = exchange.head
        reader, writer = connected
        forget = _abort_with(request, writer)
        try:
            if answer.status >= 400:
                return await _refused(request, exchange)
            if answer.status != SWITCHING:
                raise Failed(f"invalid upgrade response: status code {answer.status}")
            transport = transport_of(request)
            transport.write(upgrade_head(answer))
            client = take_over(request, transport)
            await splice(client, (reader, writer), self._tasks)
        finally:
            forget()
            close_within_bounds(writer.transport)
        return Sent(SWITCHING, keep_alive=False)


async def _refused(request: web.BaseRequest, exchange: Exchange) -> Sent:
    """Pass on the refusal of an upgrade, then close."""
    head = exchange.head
    body = BodyEnd(request.method, head.status, head.headers)
    transport = transport_of(request)
    transport.write(answer_head(head, ()))
    with suppress(TimeoutError):
        async with asyncio.timeout(BACKEND_PAGE_SECONDS.value):
            while not body.ended and (data := await exchange.connected[0].read(BUFFER_BYTES)):
                transport.write(body.take(data))
                await taken(drain(request))
    return Sent(head.status, keep_alive=False)


@asynccontextmanager
async def _head_in_time() -> AsyncIterator[None]:
    """Bound the time until a long-running answer begins. Raises Failed."""
    try:
        async with asyncio.timeout(BACKEND_HEAD_SECONDS.value):
            yield
    except TimeoutError as error:
        BACKEND_HEAD_SECONDS.reached()
        raise Failed(UNREACHABLE + EXPIRED) from error


def _head(asked: Asked, backend: Backend, *, upgrade: bool) -> bytes:
    path, query = split_target(asked.request.raw_path)
    try:
        headers = [
            *identity_headers(asked.caller),
            ("Audit-Id", asked.audit_id),
            ("X-Forwarded-Uri", path),
            ("X-Forwarded-Host", backend.authority),
            ("X-Forwarded-Proto", "https"),
        ]
        head = request_head(
            asked.request,
            backend,
            f"{path}?{query}" if query else path,
            headers,
            upgrade=upgrade,
            stays_open=True,
            drops=is_replaced,
        )
    except (Unsendable, UnicodeEncodeError) as error:
        raise Failed(f"{UNREACHABLE}{error}") from error
    if asked.request.version < (1, 1):  # the client cannot read chunks
        return head.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    return head


def _check_framing(head: Head) -> None:
    """Raise ValueError where client and proxy could see different ends of the body (RFC 9112, 6.3)."""
    if not all(TOKEN.fullmatch(name) for name, _ in head.headers):
        raise ValueError("malformed MIME header line")
    codings = [value for name, value in head.headers if name.lower() == "transfer-encoding"]
    lengths = {value for name, value in head.headers if name.lower() == "content-length"}
    if codings:
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise ValueError(f"{BROKEN}: unsupported transfer encoding")
        head.headers = [each for each in head.headers if each[0].lower() != "content-length"]
    elif len(lengths) > 1 or not all(map(LENGTH.fullmatch, lengths)):
        raise ValueError(f"{BROKEN}: bad Content-Length")


def _stays_open(head: Head) -> bool:
    return head.is_http_11 and "close" not in head.get("connection").lower()


def _drop(exchange: Exchange) -> None:
    if exchange.sending is not None:
        exchange.sending.cancel()
    close_within_bounds(exchange.connected[1].transport)


def _abort_with(request: web.BaseRequest, writer: asyncio.StreamWriter) -> Callable[[], None]:
    """End the other connection with the client's; return the call that forgets it."""
    connection: Connection = request.protocol  # type: ignore[assignment]  # made by ConnectionServer
    return connection.on_lost(writer.transport.abort)
