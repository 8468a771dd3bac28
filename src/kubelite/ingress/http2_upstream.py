"""Connections to endpoints that speak HTTP/2 (h2c, gRPC): many requests share one."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubelite.grpc import frames
from kubelite.grpc.frames import ErrorCode
from kubelite.grpc.hpack import Header
from kubelite.ingress.endpoints import BackendTLS
from kubelite.ingress.http2 import FlowStream, Http2, encode
from kubelite.ingress.http2_wire import response_of, trailers_of
from kubelite.ingress.upstream import CONNECT_SECONDS, IDLE_SECONDS, FramedPeer
from kubelite.ingress.wire import HEAD_END, Field, Malformed, fields_of
from kubelite.limits import INGRESS_RESPONSE_HEAD

if TYPE_CHECKING:
    from kubelite.ingress.backend_tls import Secured

OWN_FIELDS = frozenset((b"host", b"connection", b"transfer-encoding", b"upgrade", b"te"))
STREAM_NUMBERS_MAX = 1 << 30  # beyond which a connection is used no more


class UpstreamStream(FlowStream):
    """One request to an endpoint; for its exchange it is the connection."""

    __slots__ = ("_connection", "_held", "_is_paused", "_waits", "address", "has_begun", "peer")
    is_framed = True

    def __init__(self, connection: "Http2Upstream", number: int) -> None:
        super().__init__(number, connection.new_window())
        self._connection = connection
        self._held = bytearray()
        self._waits: list[Field] | None = None  # the trailers behind what is held
        self._is_paused = False
        self.has_begun = False  # the final head of the response has come
        self.address = connection.address
        self.peer: FramedPeer | None = None

    # What the exchange calls

    def begin(self, head: bytes, *, has_body: bool) -> None:
        """Send a head of HTTP/1.1 as the fields of HTTP/2."""
        line, _, lines = head.partition(b"\r\n")
        method, target, _ = line.split(b" ")
        fields = fields_of(lines.removesuffix(HEAD_END[2:]))
        host = next((value for name, value in fields if name.lower() == b"host"), b"")
        scheme = b"https" if self._connection.is_secured else b"http"
        own = (
            (b":method", method),
            (b":scheme", scheme),
            (b":path", target),
            (b":authority", host),
            (b"te", b"trailers"),  # servers of gRPC ask for it
        )
        kept = [field for field in fields if field[0].lower() not in OWN_FIELDS]
        self._connection.send_fields(self.number, encode((*own, *kept)), is_end=not has_body)
        self.is_out_ended = self.is_out_sent = not has_body

    def write(self, data: bytes) -> None:
        """Send a part of the body."""
        if not self._connection.is_closed:
            self._connection.send_content(self, data)

    def finish(self, end: bytes, trailers: Sequence[Field]) -> None:  # noqa: ARG002 - of HTTP/1.1
        """Send the end of the request."""
        if not self._connection.is_closed:
            self._connection.send_content(self, b"", is_end=True, trailers=trailers)

    def keep(self, now: float) -> None:
        """Leave the connection to others."""
        self.peer = None
        if self._connection.streams.get(self.number) is self:
            self._connection.reset(self, ErrorCode.CANCEL)
        self._connection.idle_since = now

    def pause_reading(self) -> None:
        """Hold what comes, of which the endpoint sends no more than the window."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Hand over what was held."""
        self._is_paused = False
        if self._held:
            data = bytes(self._held)
            self._held.clear()
            self._pass_on(data)
        if self._waits is not None and not self._held and not self._is_paused:
            self._end(self._waits)

    def abort(self) -> None:
        """Give the request up."""
        self.peer = None
        self._connection.credit(None, len(self._held))
        self._held.clear()
        self._connection.reset(self, ErrorCode.CANCEL)

    # What the connection tells

    def take(self, data: bytes) -> None:
        """Take a part of the response."""
        if self._is_paused or self._held:
            self._held += data
        else:
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        self._connection.credit(self, len(data))
        if self.peer is not None:
            self.peer.response_data(data)

    def ended(self, trailers: list[Field]) -> None:
        """The response is complete."""
        self._connection.forget(self)
        if self._held or self._is_paused:
            self._waits = trailers
        else:
            self._end(trailers)

    def _end(self, trailers: list[Field]) -> None:
        self._waits = None
        if not self.is_out_sent:  # the endpoint does not want the rest of the request
            self._connection.cancel(self.number)
        if self.peer is not None:
            self.peer.response_finished(trailers)
        self._connection.stream_over()

    def lost(self, *, is_refused: bool) -> None:
        """The stream ended before its response; `is_refused`: the endpoint has done nothing with it."""
        peer, self.peer = self.peer, None
        if peer is None:
            return
        if is_refused:
            peer.request_refused()
        else:
            peer.response_ended()

    # What the flow of content tells

    def hold_out(self) -> None:
        """Read no more of the request."""
        if self.peer is not None:
            self.peer.pause_request()

    def release_out(self) -> None:
        """Read on."""
        if self.peer is not None:
            self.peer.resume_request()


class Http2Upstream(Http2):
    """One connection to an endpoint."""

    def __init__(self, pool: "StreamPool", address: str, *, is_secured: bool) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(pool.buffer, INGRESS_RESPONSE_HEAD, loop.time())
        self._pool = pool
        self._is_leaving = False  # no further streams
        self.address = address
        self.is_secured = is_secured
        self.idle_since = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what this side speaks."""
        super().connection_made(transport)
        self.greet(frames.PREFACE, 0)

    @property
    def has_room(self) -> bool:
        """Whether another stream can be opened."""
        return (
            not self.is_closed
            and not self._is_leaving
            and len(self.streams) < self.peer_streams_max
            and self.last_number < STREAM_NUMBERS_MAX
        )

    def new_stream(self) -> UpstreamStream:
        """Open a stream."""
        stream = UpstreamStream(self, self.last_number + 2 if self.last_number else 1)
        self.open(stream)
        return stream

    def cancel(self, number: int) -> None:
        """Say that a stream that is forgotten needs no answer."""
        self.write(
            frames.pack_frame(frames.RST_STREAM, 0, number, frames.pack_number(ErrorCode.CANCEL))
        )

    def leave(self) -> None:
        """Open no further streams, and close after the last one."""
        self._is_leaving = True
        self.stream_over()

    def stream_over(self) -> None:
        """Close if this was the last stream of a connection that is to go."""
        if self._is_leaving and not self.streams and not self.is_closed:
            self.close()

    # What the connection tells

    def spend_reset(self) -> None:
        """Count nothing: the endpoint did not begin the streams that it resets."""

    def take_headers(self, number: int, fields: list[Header], *, is_end: bool) -> None:
        """Take the head or the trailers of a response. Raises ConnectionViolation."""
        stream = self.stream_of(number)
        if not isinstance(stream, UpstreamStream):
            return
        try:
            if stream.has_begun:
                if not is_end:
                    raise Malformed("trailers that do not end the response")
                stream.ended(trailers_of(fields))
                return
            response = response_of(fields)
            if response.status < 200 and not is_end:
                return
        except Malformed:
            self.reset(stream, ErrorCode.PROTOCOL_ERROR)
            return
        stream.has_begun = True
        if is_end:
            self.forget(stream)
            if not stream.is_out_sent:
                self.cancel(number)
        if stream.peer is not None:
            stream.peer.framed_response(response, is_done=is_end)
        self.stream_over()

    def take_data(self, stream: FlowStream, data: bytes, *, is_end: bool) -> None:
        """Take a part of a response."""
        assert isinstance(stream, UpstreamStream)
        if not stream.has_begun:
            self.credit(None, len(data))
            self.reset(stream, ErrorCode.PROTOCOL_ERROR)
            return
        stream.take(data)
        if is_end and self.streams.get(stream.number) is stream:
            stream.ended([])

    def take_reset(self, stream: FlowStream, code: int) -> None:
        """Tell the exchange of a stream."""
        assert isinstance(stream, UpstreamStream)
        stream.lost(is_refused=code == ErrorCode.REFUSED_STREAM)
        self.stream_over()

    def take_goaway(self, last_number: int) -> None:
        """Open no further streams; those that are not processed end."""
        self._is_leaving = True
        for stream in [one for one in self.streams.values() if one.number > last_number]:
            self.forget(stream)
            self.take_reset(stream, ErrorCode.REFUSED_STREAM)
        self.stream_over()

    def ended(self) -> None:
        """Leave the pool."""
        self._pool.lost(self)


class StreamPool:
    """The connections to all endpoints of one speech."""

    def __init__(self, buffer: memoryview, tls: BackendTLS | None = None) -> None:
        self.buffer = buffer
        self._tls = tls
        self._secured: Secured | None = None
        self._connections: dict[str, list[Http2Upstream]] = {}
        self._connecting: dict[str, asyncio.Future[Http2Upstream]] = {}

    def use(self, addresses: frozenset[str]) -> None:
        """Keep connections to these endpoints only; streams in flight end as they do."""
        for address in self._connections.keys() - addresses:
            for connection in tuple(self._connections[address]):
                connection.leave()

    def take(self, address: str) -> UpstreamStream | None:
        """Return a stream of a connection that there is."""
        for connection in self._connections.get(address, ()):
            if connection.has_room:
                return connection.new_stream()
        return None

    async def connect(self, address: str) -> UpstreamStream:
        """Return a stream of a new connection, which those who ask meanwhile share. Raises OSError, TimeoutError."""
        while (under_way := self._connecting.get(address)) is not None:
            connection = await asyncio.shield(under_way)
            if connection.has_room:
                return connection.new_stream()
        future = asyncio.get_running_loop().create_future()
        self._connecting[address] = future
        try:
            connection = await self._open(address)
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else OSError("cancelled"))
            future.exception()  # nobody may have waited
            raise
        finally:
            del self._connecting[address]
        future.set_result(connection)
        self._connections.setdefault(address, []).append(connection)
        return connection.new_stream()

    async def _open(self, address: str) -> Http2Upstream:
        tls = self._tls

        def make() -> Http2Upstream:
            return Http2Upstream(self, address, is_secured=tls is not None)

        async with asyncio.timeout(CONNECT_SECONDS):
            if tls is not None:
                if self._secured is None:
                    # Only endpoints with TLS need the rest.
                    from kubelite.ingress.backend_tls import Secured

                    self._secured = Secured(tls, "h2")
                return await self._secured.connect(make, address)
            host, _, port = address.rpartition(":")
            loop = asyncio.get_running_loop()
            return (await loop.create_connection(make, host.strip("[]"), int(port)))[1]

    def lost(self, connection: Http2Upstream) -> None:
        """Forget a connection that has ended."""
        kept = self._connections.get(connection.address, [])
        if connection in kept:
            kept.remove(connection)
            if not kept:
                del self._connections[connection.address]

    def sweep(self, now: float) -> None:
        """Close connections that were not used for long."""
        for kept in tuple(self._connections.values()):
            for connection in tuple(kept):
                if not connection.streams and now - connection.idle_since > IDLE_SECONDS:
                    connection.close()

    def close(self) -> None:
        """End all connections."""
        for kept in tuple(self._connections.values()):
            for connection in tuple(kept):
                connection.abort()
