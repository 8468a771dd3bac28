"""One request and its response, passed between a client's connection and an endpoint's.

Nothing is buffered beyond what the transports hold: each side that is slow pauses the reading of the other one. A
request is sent to another endpoint only while no byte of an answer has come, and only if it may be repeated: it is
idempotent and had no body, or its connection was never made.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from kubelite.ingress.copies import Copy
from kubelite.ingress.endpoints import Endpoints
from kubelite.ingress.pages import page
from kubelite.ingress.routes import NewPath, Redirect, Route
from kubelite.ingress.upstream import Backward, Connections, Pool
from kubelite.ingress.wire import (
    HEAD_END,
    Body,
    EndlessBody,
    Field,
    FramedBody,
    LengthBody,
    Malformed,
    Request,
    Response,
    body_of,
    last_chunk,
    parse_response,
)
from kubelite.limits import INGRESS_RESPONSE_HEAD
from kubelite.tasks import TaskSet

TRIES_MAX = 3
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TUNNEL_IDLE_SECONDS = 3600.0
SWITCHING = 101
FINISHED = LengthBody(0)


class Client(Protocol):
    """The connection that a request came by."""

    forwarded: bytes  # the fields that tell of the client, each with its CRLF
    is_https: bool
    port: int  # of the node
    is_extra: bool  # whether the port is none of those of Ingresses
    address: str
    deadline: float  # on the loop's clock

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def feed_body(self) -> None:
        """Read the body, and hand over what came of it already."""

    def exchange_done(self, *, closes: bool) -> None: ...
    def abort(self) -> None: ...


class Routing(Protocol):
    """What an exchange needs of the proxy."""

    pool: Pool
    tasks: TaskSet
    https_port: int
    copies: int

    def now(self) -> float: ...
    def pool_of(self, endpoints: Endpoints) -> Connections: ...
    def find(self, request: Request, port: int, *, is_extra: bool) -> Route | None: ...
    def endpoints_of(self, route: Route) -> Endpoints | None: ...
    def copies_of(self, route: Route, head: bytes) -> list[Copy]: ...
    def count(self, exchange: "Exchange") -> None: ...


class Exchange:
    """See the module."""

    __slots__ = (
        "_address",
        "_body",
        "_client",
        "_client_is_slow",
        "_closes",
        "_copies",
        "_endpoints",
        "_has_sent_body",
        "_head",
        "_held",
        "_is_chunked",
        "_proxy",
        "_received_bytes",
        "_response",
        "_response_body",
        "_timer",
        "_tried",
        "_tries",
        "_upstream",
        "is_over",
        "is_tunnel",
        "request",
        "route",
        "sent_bytes",
        "started",
        "status",
    )

    def __init__(self, proxy: Routing, client: Client, request: Request) -> None:
        self._proxy = proxy
        self._client = client
        self.request = request
        self.route: Route | None = None
        self.started = proxy.now()
        self.status = 0
        self.sent_bytes = 0  # of the response's content
        self.is_over = False
        self.is_tunnel = False
        self._body: Body | None = self._body_of(request)
        self._has_sent_body = False
        self._received_bytes = 0  # of a body in chunks
        self._response: Response | None = None
        self._response_body: Body | None = None
        self._is_chunked = False  # whether the response is sent in chunks
        self._closes = not request.keeps_open
        self._held = b""  # an incomplete head of a response
        self._head = b""
        self._upstream: Backward | None = None
        self._endpoints: Endpoints | None = None
        self._tried: list[str] = []
        self._tries = 0
        self._address = ""
        self._client_is_slow = False
        self._copies: list[Copy] = []
        self._timer: asyncio.TimerHandle | None = None

    def _body_of(self, request: Request) -> Body | None:
        return body_of(request.length) if request.length else None

    @property
    def client_address(self) -> str:
        """The IP address of the client."""
        return self._client.address

    # The request

    def start(self) -> None:
        """Find the route and send the request on, or answer it."""
        request, proxy = self.request, self._proxy
        client = self._client
        route = self.route = proxy.find(request, client.port, is_extra=client.is_extra)
        if route is None:
            self._answer(404)
        elif route.redirects_to_https and not self._client.is_https:
            self._to_https()
        elif route.redirect is not None:
            self._redirect(route, route.redirect)
        elif 0 < route.body_bytes_max < request.length:
            self._answer(413)
        else:
            self._endpoints = proxy.endpoints_of(route)
            if self._endpoints is None:
                self._answer(500)
                return
            self._head = self._request_head(route)
            if route.total_seconds:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(route.total_seconds, self._out_of_time)
            if route.mirrors and not request.upgrade:
                self._copies = proxy.copies_of(route, self._copied_head())
            self._try()

    def _copied_head(self) -> bytes:
        """Return the head of a copy: its connection is for it alone."""
        return self._head[:-2] + b"Connection: close\r\n\r\n"

    def refuse(self, status: int) -> None:
        """Answer without a look at the routes."""
        self._answer(status)

    def _redirect(self, route: Route, redirect: Redirect) -> None:
        location = location_of(route, redirect, self.request, self._client)
        if location:
            self._answer(redirect.status, location)
        else:
            self._answer(400)

    def _to_https(self) -> None:
        host = self.request.host
        port = self._proxy.https_port
        if not host:
            self._answer(400)
            return
        authority = host if port == 443 else b"%b:%d" % (host, port)
        self._answer(308, b"https://%b%b" % (authority, self.request.target))

    def _request_head(self, route: Route) -> bytes:
        request, client = self.request, self._client
        target, host, fields = request.target, request.authority, request.fields
        if route.rewrite is not None:
            target = rewritten(target, route.rewrite.path, route.path)
            host = route.rewrite.host.encode() or host
        if route.request_edits is not None:
            fields = route.request_edits.apply(fields)
        parts = [b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (request.method, target, host)]
        parts += [b"%b: %b\r\n" % field for field in fields]
        parts.append(client.forwarded)
        parts.append(b"X-Forwarded-Host: %b\r\n" % request.authority)
        if request.length > 0:
            parts.append(b"Content-Length: %d\r\n" % request.length)
        elif request.length < 0:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif request.method in WITH_BODY:
            parts.append(b"Content-Length: 0\r\n")
        if request.upgrade:
            parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % request.upgrade)
        parts.append(b"\r\n")
        return b"".join(parts)

    def _try(self) -> None:
        assert self._endpoints is not None
        address = self._endpoints.choose(self._proxy.now(), self._tried)
        if not address or self._tries >= TRIES_MAX:
            self._answer(502 if self._tries else 503)
            return
        self._address = address
        self._tries += 1
        pool = self._proxy.pool_of(self._endpoints)
        upstream = pool.take(address) if self._tries == 1 else None
        if upstream is not None:
            self._connected(upstream)
            return
        self._tried.append(address)
        self._client.deadline = float("inf")  # connecting has its own
        self._proxy.tasks.start(self._connect(pool, address), name="ingress connect")

    async def _connect(self, pool: Connections, address: str) -> None:
        try:
            upstream = await pool.connect(address)
        except (OSError, TimeoutError):
            assert self._endpoints is not None
            self._endpoints.failed(address, self._proxy.now())
            if not self.is_over:
                self._try()
            return
        if self.is_over:
            upstream.keep(self._proxy.now())
        else:
            self._connected(upstream)

    def _connected(self, upstream: Backward) -> None:
        self._upstream = upstream
        upstream.peer = self
        upstream.begin(self._head, has_body=self._body is not None)
        self._extend()
        if self._body is not None:
            if self.request.expects_continue:
                self._send_continue()
                self.request.expects_continue = False
            self._client.feed_body()

    def _send_continue(self) -> None:
        self._client.write(CONTINUE)

    @property
    def takes_body(self) -> bool:
        """Whether the body of the request is to be read now."""
        return self._body is not None and self._upstream is not None

    def request_data(self, data: bytes) -> bytes:
        """Send data of the body on, and return what comes behind the body."""
        body, upstream, route = self._body, self._upstream, self.route
        assert body is not None
        assert upstream is not None
        assert route is not None
        try:
            content, rest = body.take(data)
        except Malformed:
            self._refuse(400)
            return b""
        self._extend()
        if content and not self._send_content(upstream, route, content):
            return b""
        if body.is_done:
            self._end_content(upstream, body)
        return rest

    def _send_content(self, upstream: Backward, route: Route, content: bytes) -> bool:
        """Send a part of the body to the backend; False if it is more than the route permits."""
        self._has_sent_body = True
        framed = content
        if self.request.length < 0:
            self._received_bytes += len(content)
            if 0 < route.body_bytes_max < self._received_bytes:
                self._refuse(413)
                return False
            framed = b"%x\r\n%b\r\n" % (len(content), content)
        upstream.write(content if upstream.is_framed else framed)
        for copy in self._copies:
            copy.content(framed)
        return True

    def _end_content(self, upstream: Backward, body: Body) -> None:
        end = b""
        if self.request.length < 0:
            self._has_sent_body = True
            end = last_chunk(body.trailers)
            for copy in self._copies:
                copy.content(end)
        upstream.finish(end, body.trailers)
        self._body = None

    def request_finished(self, trailers: Sequence[Field]) -> None:
        """The client, whose connection delimits bodies, has sent the whole one."""
        body, upstream = self._body, self._upstream
        assert isinstance(body, FramedBody)
        assert upstream is not None
        try:
            body.finish(trailers)
        except Malformed:
            self._refuse(400)
            return
        self._end_content(upstream, body)

    def tunnel_data(self, data: bytes) -> None:
        """Send what the client says after an upgrade."""
        self._client.deadline = self._proxy.now() + TUNNEL_IDLE_SECONDS
        if self._upstream is not None:
            self._upstream.write(data)

    def _refuse(self, status: int) -> None:
        """End the request for its body's sake: its backend gets no more of it."""
        if self._response is None:
            self._answer(status)
        else:
            self._cut()

    def pause_request(self) -> None:
        """Read no more from the client until the backend takes what it has."""
        self._client.pause_reading()

    def resume_request(self) -> None:
        """Read on."""
        if self.is_tunnel or self._body is not None:
            self._client.feed_body()

    # The response

    def response_data(self, data: bytes) -> None:
        """Send data of the backend on."""
        if self._response is None:
            self._read_head(data)
        elif self.is_tunnel:
            self._client.deadline = self._proxy.now() + TUNNEL_IDLE_SECONDS
            self._client.write(data)
        else:
            self._pass_on(data, b"")

    def _read_head(self, data: bytes) -> None:
        """Read the head, past interim ones, and begin to pass the response on once it is complete."""
        data, self._held = self._held + data, b""
        while True:
            end = data.find(HEAD_END)
            if end < 0 and len(data) <= INGRESS_RESPONSE_HEAD.value:
                self._held = data
                return
            if end < 0 or end > INGRESS_RESPONSE_HEAD.value:
                INGRESS_RESPONSE_HEAD.reached()
                self._failed(502)
                return
            try:
                response = parse_response(data[: end + 4], self.request.method)
            except Malformed:
                self._failed(502)
                return
            data = data[end + 4 :]
            if response.status >= 200 or response.status == SWITCHING:
                self._begin(response, data)
                return

    def _begin(self, response: Response, data: bytes) -> None:
        assert self._endpoints is not None
        self._response, self.status = response, response.status
        self._endpoints.answered(self._address)
        if response.status == SWITCHING:
            self._switch(response, data)
            return
        self._response_body = self._response_body or body_of(response.length)
        has_no_length = response.length is None or response.length < 0
        self._is_chunked = has_no_length and self.request.is_http_11
        if self._body is not None or (has_no_length and not self.request.is_http_11):
            self._closes = True  # the backend answers without having read the request, or the end is the body's
        self._pass_on(data, self._response_head(response))

    def _response_head(self, response: Response) -> bytes:
        parts = [b"HTTP/1.1 %d %b\r\n" % (response.status, response.reason)]
        fields = response.fields
        if self.route is not None and self.route.response_edits is not None:
            fields = self.route.response_edits.apply(fields)
        parts += [b"%b: %b\r\n" % field for field in fields]
        if self._is_chunked:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif response.is_empty and self.request.method != b"HEAD":
            parts.append(b"Content-Length: 0\r\n")
        if self._closes:
            parts.append(b"Connection: close\r\n")
        elif not self.request.is_http_11:
            parts.append(b"Connection: keep-alive\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def _pass_on(self, data: bytes, head: bytes) -> None:
        body = self._response_body
        assert body is not None
        try:
            content, rest = body.take(data) if data else (b"", b"")
        except Malformed:
            self._cut()
            return
        self._extend()
        self.sent_bytes += len(content)
        self._send(head, content, body)
        if body.is_done:
            self._finish(is_clean=not rest)

    def _send(self, head: bytes, content: bytes, body: Body) -> None:
        """Send a part of the response to the client; with the end if the body is done."""
        if self._is_chunked and content:
            content = b"%x\r\n%b\r\n" % (len(content), content)
        if body.is_done and self._is_chunked:
            content += last_chunk(body.trailers)
        if head or content:
            self._client.write(head + content)

    # Responses of backends whose connection delimits bodies

    def framed_response(self, response: Response, *, is_done: bool) -> None:
        """Begin to pass on a response whose body comes by `response_data`."""
        is_empty = self.request.method == b"HEAD" or response.status in (204, 304)
        left = -1 if response.length is None else response.length
        if response.status == SWITCHING or (is_done and left > 0 and not is_empty):
            self._failed(502)
            return
        response.is_empty = is_done and left < 0 and not is_empty
        body = FramedBody(0 if is_done or is_empty else left)
        body.is_done = is_done
        self._response_body, response.length = body, body.left
        self._begin(response, b"")

    def request_refused(self) -> None:
        """Ask again, also the same endpoint, unless a part of the body is gone."""
        self._upstream = None
        if self.is_over:
            return
        if self._response is not None or self._has_sent_body:
            self.response_ended()
            return
        if self._address in self._tried:
            self._tried.remove(self._address)
        self._try()

    def response_finished(self, trailers: Sequence[Field]) -> None:
        """The backend has sent the whole body."""
        body = self._response_body
        assert isinstance(body, FramedBody)
        try:
            body.finish(trailers)
        except Malformed:
            self._cut()
            return
        self._pass_on(b"", b"")

    def _switch(self, response: Response, data: bytes) -> None:
        if not self.request.upgrade or not response.upgrade:
            self._response = None
            self._failed(502)
            return
        self.is_tunnel = True
        lines = [b"HTTP/1.1 101 Switching Protocols\r\n"]
        lines += [b"%b: %b\r\n" % field for field in response.fields]
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % response.upgrade)
        self._client.write(b"".join(lines) + data)
        self._client.deadline = self._proxy.now() + TUNNEL_IDLE_SECONDS
        self._client.feed_body()

    def response_ended(self) -> None:
        """The backend's connection has ended."""
        self._upstream = None
        if self.is_over:
            return
        if self._response is None:
            self._retry()
        elif self.is_tunnel:
            self._over()
            self._client.exchange_done(closes=True)
        elif isinstance(self._response_body, EndlessBody):
            self._send(b"", b"", FINISHED)
            self._finish(is_clean=False)
        else:
            self._cut()

    def _retry(self) -> None:
        """The backend ended without an answer: ask another one, or answer 502."""
        assert self._endpoints is not None
        may_repeat = (
            self.request.method in IDEMPOTENT and not self._has_sent_body and not self._held
        )
        if not may_repeat:
            self._endpoints.failed(self._address, self._proxy.now())
            self._answer(502)
            return
        if self._address in self._tried:  # a new connection broke off, not one that was kept
            self._endpoints.failed(self._address, self._proxy.now())
        self._try()

    def _finish(self, *, is_clean: bool) -> None:
        upstream, response = self._upstream, self._response
        assert response is not None
        self._upstream = None
        if upstream is not None:
            if is_clean and response.keeps_open and self._body is None:
                upstream.keep(self._proxy.now())
            else:
                upstream.abort()
        closes = self._closes or self._body is not None
        self._over()
        self._client.exchange_done(closes=closes)

    # Ends

    def _extend(self) -> None:
        assert self.route is not None
        self._client.deadline = self._proxy.now() + self.route.read_seconds

    def _out_of_time(self) -> None:
        """The time for the whole exchange is over; it has a timer of its own, as it may be far below a second."""
        if self.is_over or self.is_tunnel:
            return
        if self._response is None:
            self._answer(504)
        else:
            self._cut()

    def late(self) -> None:
        """The deadline has passed."""
        if self._response is not None or self._client_is_slow:
            self._cut()
        else:
            self._answer(408 if self._body is not None else 504)

    def client_slow(self) -> None:
        """Read no more from the backend until the client takes what it has."""
        self._client_is_slow = True
        if self._upstream is not None:
            self._upstream.pause_reading()

    def client_ready(self) -> None:
        """Read on."""
        self._client_is_slow = False
        if self._upstream is not None:
            self._upstream.resume_reading()

    def client_lost(self) -> None:
        """The client is gone: so is its request."""
        if not self.is_over:
            self.status = self.status or 499
            self._over()
            self._drop_upstream()

    def _failed(self, status: int) -> None:
        if self._endpoints is not None:
            self._endpoints.failed(self._address, self._proxy.now())
        self._answer(status)

    def _answer(self, status: int, location: bytes = b"") -> None:
        """Answer with a page instead of the backend."""
        self._drop_upstream()
        self.status = status
        closes = self._closes or self._body is not None
        self._over()
        self._send_page(status, location, closes=closes)
        self._client.exchange_done(closes=closes)

    def _send_page(self, status: int, location: bytes, *, closes: bool) -> None:
        has_body = self.request.method != b"HEAD"
        self._client.write(page(status, closes=closes, has_body=has_body, location=location))

    def _cut(self) -> None:
        """End a response that cannot be completed: the client must see that it is cut off."""
        self._drop_upstream()
        self._over()
        self._client.abort()

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()

    def _over(self) -> None:
        self.is_over = True
        if self._timer is not None:
            self._timer.cancel()
        for copy in self._copies:
            copy.finish() if self._body is None else copy.abort()
        self._proxy.count(self)


def location_of(route: Route, redirect: Redirect, request: Request, client: Client) -> bytes:
    """Return where a redirect leads; b"" if neither it nor the request names a host."""
    scheme = redirect.scheme.encode() or (b"https" if client.is_https else b"http")
    host = redirect.host.encode() or request.host
    if not host:
        return b""
    port = redirect.port
    if not port and not redirect.scheme:
        port = client.port
    default = 443 if scheme == b"https" else 80
    authority = host if port in (0, default) else b"%b:%d" % (host, port)
    return b"%b://%b%b" % (scheme, authority, rewritten(request.target, redirect.path, route.path))


def rewritten(target: bytes, new: NewPath | None, matched: str) -> bytes:
    """Return a target with another path and the same query."""
    if new is None:
        return target
    path, question, query = target.partition(b"?")
    return new.apply(path, matched) + question + query
