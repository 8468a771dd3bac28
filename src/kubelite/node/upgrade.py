"""Takes an HTTP/1.1 connection over from aiohttp to speak SPDY on it, which aiohttp itself does not know."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from kubelite.api.errors import BadRequest
from kubelite.limits import UPGRADE_RECEIVED
from kubelite.node.spdy import SPDYConnection, SPDYViolation
from kubelite.serving.connection import Sent
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)


class _SPDYProtocol(asyncio.Protocol):
    """Feeds a SPDY connection from a transport, with back-pressure both ways."""

    def __init__(self, transport: asyncio.Transport, http: asyncio.Protocol) -> None:
        self._transport = transport
        self._http = http  # keeps the books of all connections
        self._is_served = False
        self._is_lost = False
        self._writable = asyncio.Event()
        self._writable.set()
        # One buffer for all that arrives: a client may send it byte by byte.
        self._arrived = bytearray()
        self._has_news = asyncio.Event()
        self._is_held = False

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        self._has_news.set()
        self._regulate()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        self._is_lost = True
        self._has_news.set()
        if self._is_served:
            self._http.connection_lost(exc)

    def served(self) -> None:
        """Report the end of the connection to the HTTP protocol, only now: it cancels the handler then."""
        self._is_served = True
        if self._is_lost:
            self._http.connection_lost(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionError("the client is gone")
        self._transport.write(data)
        await self._writable.wait()

    def hold(self, is_held: bool) -> None:
        self._is_held = is_held
        self._regulate()

    def _regulate(self) -> None:
        if self._transport.is_closing():
            return
        is_over = len(self._arrived) > UPGRADE_RECEIVED.value
        wants_pause = self._is_held or is_over
        if wants_pause and self._transport.is_reading():
            if is_over:
                UPGRADE_RECEIVED.reached()
            self._transport.pause_reading()
        elif not wants_pause and not self._transport.is_reading():
            self._transport.resume_reading()

    async def _next(self) -> bytes:
        """Return all that has arrived, nothing at the end."""
        while not self._arrived and not self._is_lost:
            self._has_news.clear()
            await self._has_news.wait()
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    async def feed(self, connection: SPDYConnection) -> None:
        """Feed the connection with received bytes until the client is gone."""
        try:
            while data := await self._next():
                await connection.feed(data)
                self._regulate()
        except SPDYViolation as error:
            log.info("SPDY connection ended: %s", error)
            self._transport.close()
        finally:
            connection.feed_end()


async def take_over(
    request: web.BaseRequest, protocol: str, serve: Callable[[SPDYConnection], Awaitable[None]]
) -> web.StreamResponse:
    """Switch a request's connection to SPDY, serve it to its end and close it; raises BadRequest.

    Args:
        request: The request that asks for ``Upgrade: SPDY/3.1``.
        protocol: The subprotocol, named in the response.
        serve: Called with the connection.
    """
    if not request.headers.get("Upgrade", "").upper().startswith("SPDY/3.1"):
        raise BadRequest("unable to upgrade: missing upgrade headers in request")
    transport = request.transport
    if transport is None:
        raise BadRequest("the client is gone")
    spoken = _SPDYProtocol(transport, request.protocol)
    connection = SPDYConnection(spoken.write, spoken.hold)
    transport.set_protocol(spoken)
    head = f"X-Stream-Protocol-Version: {protocol}\r\n" if protocol else ""
    head = f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{head}\r\n"
    transport.write(head.encode())
    if not transport.is_reading():
        transport.resume_reading()
    tasks = TaskSet()
    tasks.start(spoken.feed(connection), name="SPDY feed")
    try:
        await serve(connection)
    finally:
        transport.close()
        await tasks.stop()
        spoken.served()
    return Sent(101, keep_alive=False)
