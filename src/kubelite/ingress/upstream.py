"""Connections to endpoints: made, kept for the next request, and given up."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from kubelite.ingress.endpoints import BackendTLS
from kubelite.ingress.wire import Field, Response
from kubelite.limits import INGRESS_KEPT_PER_ENDPOINT

if TYPE_CHECKING:
    from kubelite.ingress.backend_tls import Secured

CONNECT_SECONDS = 3.0
IDLE_SECONDS = 50.0  # below the 60 s and more after which servers close idle connections
WRITE_HIGH_BYTES = 64 * 1024


class Peer(Protocol):
    """The exchange that uses a connection."""

    def response_data(self, data: bytes) -> None: ...
    def response_ended(self) -> None:
        """The connection has ended, whatever is still missing."""

    def pause_request(self) -> None: ...
    def resume_request(self) -> None: ...


class FramedPeer(Peer, Protocol):
    """An exchange whose connection delimits bodies itself."""

    def framed_response(self, response: Response, *, is_done: bool) -> None: ...
    def response_finished(self, trailers: Sequence[Field]) -> None: ...
    def request_refused(self) -> None:
        """The endpoint has done nothing with the request, so it may be sent again."""


class Backward(Protocol):
    """What carries one request to an endpoint, for its exchange."""

    is_framed: bool  # whether it delimits bodies itself
    peer: Any  # the exchange, a FramedPeer, while it has one

    def begin(self, head: bytes, *, has_body: bool) -> None: ...
    def write(self, data: bytes) -> None: ...
    def finish(self, end: bytes, trailers: Sequence[Field]) -> None: ...
    def keep(self, now: float) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...


class Connections(Protocol):
    """What has the connections to the endpoints that speak alike."""

    def use(self, addresses: frozenset[str]) -> None: ...
    def take(self, address: str) -> Backward | None: ...
    async def connect(self, address: str) -> Backward: ...
    def sweep(self, now: float) -> None: ...
    def close(self) -> None: ...


class Upstream(asyncio.BufferedProtocol):
    """One connection to an endpoint; it has a peer, or is kept."""

    __slots__ = ("_buffer", "_pool", "address", "idle_since", "peer", "transport", "was_used")
    is_framed = False  # whether the connection delimits bodies itself

    def __init__(self, pool: "Pool", address: str) -> None:
        self._pool = pool
        self._buffer = pool.buffer
        self.address = address
        self.peer: Peer | None = None
        self.transport: asyncio.Transport | None = None
        self.was_used = False  # by an earlier exchange: its end may have crossed the request
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self._pool.open += 1

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's
        """Return the buffer of all connections: what is read is copied before the next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand data to the exchange; a kept connection has nothing to say."""
        if self.peer is None:
            self.abort()
        else:
            self.peer.response_data(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """Close: a backend that ends its side has answered."""
        return False

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - the protocol's
        """Tell the exchange, or forget the kept connection."""
        self.transport = None
        if self.peer is not None:
            self.peer.response_ended()
        self._pool.lost(self)

    def pause_writing(self) -> None:
        """Stop reading the request."""
        if self.peer is not None:
            self.peer.pause_request()

    def resume_writing(self) -> None:
        """Read on."""
        if self.peer is not None:
            self.peer.resume_request()

    def begin(self, head: bytes, *, has_body: bool) -> None:  # noqa: ARG002 - of other connections
        """Send the head of a request."""
        if self.transport is not None:
            self.transport.write(head)

    def finish(self, end: bytes, trailers: Sequence[Field]) -> None:  # noqa: ARG002 - of other connections
        """Send the end of a request's body, as it is written in HTTP/1.1."""
        if end:
            self.write(end)

    def keep(self, now: float) -> None:
        """Keep the connection for another request."""
        self._pool.keep(self, now)

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.transport is not None:
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Write to the backend."""
        if self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        """End the connection at once."""
        if self.transport is not None:
            self.transport.abort()


class Pool:
    """The connections to all endpoints of one speech."""

    def __init__(self, buffer: memoryview, tls: BackendTLS | None = None) -> None:
        self.buffer = buffer
        self._tls = tls
        self._secured: Secured | None = None
        self._kept: dict[str, deque[Upstream]] = {}
        self._present: frozenset[str] = frozenset()
        self.open = 0

    def use(self, addresses: frozenset[str]) -> None:
        """Keep connections to these endpoints only; requests in flight end as they do."""
        self._present = addresses
        for address in self._kept.keys() - addresses:
            for kept in self._kept.pop(address):
                kept.abort()

    def take(self, address: str) -> Upstream | None:
        """Return a kept connection; the one used last, which is the least likely to be ended by its backend."""
        kept = self._kept.get(address)
        while kept:
            found = kept.pop()
            if found.transport is not None and not found.transport.is_closing():
                found.was_used = True
                return found
        return None

    async def connect(self, address: str) -> Upstream:
        """Return a new connection. Raises OSError, TimeoutError."""
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            if self._tls is not None:
                return await self._connect_secured(address, self._tls)
            _, protocol = await loop.create_connection(
                lambda: Upstream(self, address), host.strip("[]"), int(port)
            )
        return protocol

    async def _connect_secured(self, address: str, tls: BackendTLS) -> Upstream:
        if self._secured is None:
            # Only endpoints with TLS need the rest.
            from kubelite.ingress.backend_tls import Secured

            self._secured = Secured(tls, "http/1.1")
        return await self._secured.connect(lambda: Upstream(self, address), address)

    def keep(self, upstream: Upstream, now: float) -> None:
        """Keep a connection whose exchange is over."""
        upstream.peer = None
        transport = upstream.transport
        if transport is None:
            return
        kept = self._kept.setdefault(upstream.address, deque())
        if upstream.address not in self._present or len(kept) >= INGRESS_KEPT_PER_ENDPOINT.value:
            if not kept:
                del self._kept[upstream.address]
            transport.close()
            return
        upstream.idle_since = now
        transport.resume_reading()
        kept.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        """Forget a connection that has ended."""
        self.open -= 1
        kept = self._kept.get(upstream.address)
        if kept is not None and upstream.peer is None:
            try:
                kept.remove(upstream)
            except ValueError:
                return
            if not kept:
                del self._kept[upstream.address]

    def sweep(self, now: float) -> None:
        """Close connections that were kept for too long; the oldest are first in their queue."""
        for kept in tuple(self._kept.values()):
            while kept and now - kept[0].idle_since > IDLE_SECONDS:
                kept[0].idle_since = now  # it leaves the queue when it is lost
                upstream = kept.popleft()
                upstream.abort()

    def close(self) -> None:
        """End all kept connections."""
        self.use(frozenset())
