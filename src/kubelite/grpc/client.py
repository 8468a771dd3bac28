"""Calls the methods of a gRPC server over one connection, which is made with the first call and after each loss.

A call that is given up, by its deadline or because its caller was cancelled, is cancelled at the server as well.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from kubelite.grpc import frames
from kubelite.grpc.connection import (
    CONNECTION_CREDIT_BYTES,
    STREAM_WINDOW_BYTES,
    Connection,
    Stream,
)
from kubelite.grpc.frames import ConnectionViolation, ErrorCode, pack_frame
from kubelite.grpc.hpack import Header, encode_headers
from kubelite.grpc.method import A, Method, Q
from kubelite.grpc.protobuf import Malformed, decode, encode
from kubelite.grpc.status import HTTP_CODES, Code, GrpcError, code_of, decode_message
from kubelite.limits import GRPC_HEADERS, GRPC_MESSAGE, Limit
from kubelite.offload import AtOnce, Offload

GIVEN_UP: Final = GrpcError(Code.CANCELLED, "context canceled")
BYTES_A_PASS: Final = (
    2  # of a message, which decode in the time of one pass over a byte, see `limits.INLINE_WORK`
)
MILLISECONDS_MAX: Final = 99_999_999  # the header has room for eight digits


class GrpcClient:
    """A client of the server on a Unix socket; calls share one connection and run side by side."""

    def __init__(
        self,
        socket: Path,
        message_limit: Limit = GRPC_MESSAGE,
        *,
        offload: Offload | None = None,
    ) -> None:
        """`message_limit` bounds a received message; `offload` decodes the large ones, by default on the loop."""
        self._socket = socket
        self._offload = offload or AtOnce()
        self._message_limit = message_limit
        self._connection: ClientConnection | None = None
        self._connecting = asyncio.Lock()
        self._is_closed = False

    async def unary(
        self,
        method: Method[Q, A],
        request: Q,
        *,
        timeout_seconds: float,
        metadata: Sequence[Header] = (),
    ) -> A:
        """Return the answer to a call. Raises GrpcError, also with DEADLINE_EXCEEDED after the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                stream = await self._begin(method, request, timeout_seconds, metadata)
                try:
                    data = await stream.receive()
                    if data is None:
                        raise _status(stream) or GrpcError(Code.INTERNAL, "there is no answer")
                    if await stream.receive() is not None:
                        raise GrpcError(Code.INTERNAL, "there is more than one answer")
                    _raise_status(stream)
                    return await self._decoded(method, data)
                finally:
                    _let_go(stream)
        except TimeoutError as error:
            raise GrpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from error

    async def stream(self, method: Method[Q, A], request: Q) -> AsyncGenerator[A, None]:
        """Yield the answers to a call as they come; raises GrpcError. Close the generator to give the call up."""
        stream = await self._begin(method, request)
        try:
            while (data := await stream.receive()) is not None:
                yield await self._decoded(method, data)
            _raise_status(stream)
        finally:
            _let_go(stream)

    async def _decoded(self, method: Method[Q, A], data: bytes) -> A:
        work = partial(decode, method.response, data)
        try:
            return await self._offload.run(len(data) // BYTES_A_PASS, work)
        except Malformed as error:
            text = f"grpc: failed to unmarshal the received message: {error}"
            raise GrpcError(Code.INTERNAL, text) from error

    async def connect(self) -> asyncio.Event:
        """Connect, unless that is done; return what is set once the connection is lost. Raises GrpcError."""
        return (await self._connected()).lost

    async def close(self) -> None:
        """Close the connection; calls in progress fail, and so do later ones."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()

    async def _begin(
        self,
        method: Method[Q, A],
        request: Q,
        timeout_seconds: float | None = None,
        metadata: Sequence[Header] = (),
    ) -> Stream:
        body = encode(request)
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method.path),
            (":authority", "localhost"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "kubelite"),
        ]
        if timeout_seconds is not None:
            milliseconds = min(max(1, int(timeout_seconds * 1000)), MILLISECONDS_MAX)
            headers.append(("grpc-timeout", f"{milliseconds}m"))
        headers += metadata
        connection = await self._connected()
        while len(connection.streams) >= connection.streams_max and connection.takes_calls:
            await connection.room()
        if not connection.takes_calls:
            connection = await self._connected()
        stream = connection.open_stream()
        head = pack_frame(
            frames.HEADERS, frames.END_HEADERS, stream.number, encode_headers(headers)
        )
        # At once: streams have to begin in the order of their numbers, and the body may have to wait.
        connection.write(head)
        try:
            await stream.send(body, end=True)
        except BaseException:
            _let_go(stream)
            raise
        return stream

    async def _connected(self) -> "ClientConnection":
        async with self._connecting:
            if self._is_closed:
                raise GrpcError(Code.CANCELLED, "grpc: the client connection is closing")
            connection = self._connection
            if connection is None or not connection.takes_calls:
                connection = self._connection = await self._connect()
            return connection

    async def _connect(self) -> "ClientConnection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(
                lambda: ClientConnection(self._message_limit), str(self._socket)
            )
        except OSError as error:
            reason = f"dial unix {self._socket}: connect: {(error.strerror or str(error)).lower()}"
            text = f'connection error: desc = "transport: Error while dialing: {reason}"'
            raise GrpcError(Code.UNAVAILABLE, text) from error
        return connection


class ClientConnection(Connection):
    """The client's end of a connection."""

    is_client = True

    def __init__(self, message_limit: Limit) -> None:
        super().__init__(message_limit)
        self._is_leaving = False  # the server takes no more calls
        self.lost = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def takes_calls(self) -> bool:
        """Whether a further call may begin."""
        is_used_up = self.last_number > frames.WINDOW_BYTES_MAX - 2
        return not (self.is_closed or self._is_leaving or is_used_up)

    def open_stream(self) -> Stream:
        """Return the stream of a new call; its headers are to be sent before anything else is."""
        if self.is_closed:
            raise GrpcError(Code.UNAVAILABLE, "the connection was closed")
        return self.new_stream(self.last_number + 2 if self.last_number else 1)

    async def room(self) -> None:
        """Wait until a call has ended, or the connection has."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def forget(self, stream: Stream) -> None:
        """Drop a stream that is over."""
        super().forget(stream)
        self._wake_waiting()
        if self._is_leaving and not self.streams:
            self.close()

    def _wake_waiting(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _greeting(self) -> bytes:
        settings = {
            frames.SETTING_ENABLE_PUSH: 0,
            frames.SETTING_WINDOW: STREAM_WINDOW_BYTES,
            frames.SETTING_HEADERS_MAX: GRPC_HEADERS.value,
        }
        more = frames.pack_number(CONNECTION_CREDIT_BYTES - frames.WINDOW_BYTES)
        return (
            frames.PREFACE
            + frames.pack_settings(settings)
            + pack_frame(frames.WINDOW_UPDATE, 0, 0, more)
        )

    def _take_headers(self, number: int, headers: list[Header], *, end: bool) -> None:
        stream = self._stream(number)
        if stream is None or stream.is_ended:
            return
        found = dict(headers)
        if stream.headers is None:
            if found.get(":status", "").startswith("1") and not end:
                return  # an interim answer
            stream.headers = found
        elif not end:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "trailers do not end their stream")
        if end:
            stream.trailers = found
            stream.end()
        stream.wake()

    def _take_goaway(self, last_number: int) -> None:
        self._is_leaving = True
        for stream in list(self.streams.values()):
            if stream.number > last_number:
                stream.fail(GrpcError(Code.UNAVAILABLE, "the server takes no more calls"))
        self._wake_waiting()
        if not self.streams:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()
        self._wake_waiting()


def _let_go(stream: Stream) -> None:
    """Cancel a call unless it is over, and free what it holds."""
    stream.reset(ErrorCode.CANCEL, GIVEN_UP)
    stream.drop()


def _raise_status(stream: Stream) -> None:
    if error := _status(stream):
        raise error


def _status(stream: Stream) -> GrpcError | None:
    """Return the failure that the server reports at the end of a call."""
    headers, trailers = stream.headers or {}, stream.trailers
    http = headers.get(":status", "")
    if "grpc-status" in trailers:
        code = code_of(trailers["grpc-status"])
        message = decode_message(trailers.get("grpc-message", ""))
        return GrpcError(code, message) if code != Code.OK else None
    if http != "200":
        code = HTTP_CODES.get(http, Code.UNKNOWN)
        return GrpcError(code, f"unexpected HTTP status code received from server: {http}")
    kind = headers.get("content-type", "")
    if not kind.startswith("application/grpc"):
        return GrpcError(Code.UNKNOWN, f'received unexpected content-type "{kind[:100]}"')
    return GrpcError(Code.INTERNAL, "server closed the stream without sending trailers")
