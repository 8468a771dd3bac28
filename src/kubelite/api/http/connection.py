"""One client connection: who is behind it, how long it may take, and who wants to know when it is lost."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from kubelite.api.auth.caller import Credentials

HEAD_TIMEOUT_SECONDS = 32.0  # as the API server of Kubernetes
IDLE_TIMEOUT_SECONDS = 120.0
LINE_BYTES_MAX = 64 * 1024  # long label selectors and continue tokens ride in the request line
FIELD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 128
BODY_BUFFER_BYTES = 64 * 1024


class Connection(RequestHandler):
    """aiohttp's protocol with a deadline for request heads and listeners for the end."""

    def __init__(self, server: "ConnectionServer", *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=IDLE_TIMEOUT_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None and types it as a logger
            max_line_size=LINE_BYTES_MAX,
            max_field_size=FIELD_BYTES_MAX,
            max_headers=HEADERS_MAX,
            read_bufsize=BODY_BUFFER_BYTES,
            auto_decompress=False,  # a small body must not become a huge one
            lingering_time=2.0,
        )
        self.certificate: bytes | None = None
        self.remote_address = ""
        self._bearer: tuple[str, Credentials] | None = None
        self._anonymous: Credentials | None = None
        self._head_timer: asyncio.TimerHandle | None = None
        self._lost: set[Callable[[], None]] = set()
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the client's certificate; close at once when there are too many connections."""
        super().connection_made(transport)
        if (tls := transport.get_extra_info("ssl_object")) is not None:
            self.certificate = tls.getpeercert(True)
        peer = transport.get_extra_info("peername")
        self.remote_address = str(peer[0]) if peer else ""
        self._start_head_timer()  # a client that never says anything must not stay either
        self._server.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever listens."""
        self._stop_head_timer()
        super().connection_lost(exc)
        self._server.closed(self)
        listeners, self._lost = self._lost, set()
        for listener in listeners:
            listener()

    def data_received(self, data: bytes) -> None:
        """Parse; start the clock of a head that is not complete, so that trickled heads hold no connection."""
        heads = self._request_count
        super().data_received(data)
        if self._request_count != heads:
            self._stop_head_timer()
        elif self._waiter is not None and not self._waiter.done() and self._head_timer is None:
            self._start_head_timer()

    def on_lost(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` when the connection is lost; return the call that ends that."""
        self._lost.add(listener)
        return lambda: self._lost.discard(listener)

    def take_tail(self) -> bytes:
        """Return, once, the bytes that came behind a request to switch protocols."""
        tail, self._message_tail = self._message_tail, b""
        return bytes(tail)

    def credentials(self, authorization: str) -> Credentials:
        """Return what a request on this connection brings; equal requests get the same object."""
        if not authorization:
            if self._anonymous is None:
                self._anonymous = Credentials(
                    certificate=self.certificate, remote_address=self.remote_address
                )
            return self._anonymous
        if self._bearer is None or self._bearer[0] != authorization:
            scheme, _, token = authorization.partition(" ")
            self._bearer = (
                authorization,
                Credentials(
                    certificate=self.certificate,
                    bearer_token=token.strip() if scheme.lower() == "bearer" else "",
                    remote_address=self.remote_address,
                ),
            )
        return self._bearer[1]

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(HEAD_TIMEOUT_SECONDS, self.force_close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class ConnectionServer(web.Server):
    """Makes a `Connection` for each client and bounds their number."""

    def __init__(self, answer: Any, *, connections_max: int) -> None:
        super().__init__(answer)
        self._connections_max = connections_max
        self.open_connections: set[Connection] = set()

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self, loop=self._loop)

    def opened(self, connection: Connection) -> None:
        """Count a connection; one too many is closed."""
        self.open_connections.add(connection)
        if len(self.open_connections) > self._connections_max:
            connection.force_close()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self.open_connections.discard(connection)
