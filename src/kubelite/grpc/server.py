"""Serves gRPC methods on a Unix socket that only root, or the process's own user, can open.

The clients are plugins of other parties, so connections and calls are bounded, and a client that reads nothing holds
back only its own calls.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from kubelite.grpc import frames
from kubelite.grpc.connection import (
    CONNECTION_CREDIT_BYTES,
    STREAM_WINDOW_BYTES,
    Connection,
    Stream,
)
from kubelite.grpc.frames import ConnectionViolation, ErrorCode, pack_frame
from kubelite.grpc.hpack import Header, encode_headers
from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Malformed, Message, Unencodable, decode, encode
from kubelite.grpc.status import Code, GrpcError, encode_message
from kubelite.limits import GRPC_CALLS, GRPC_CONNECTIONS, GRPC_HEADERS, GRPC_REQUEST
from kubelite.serving.unix_socket import listening
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

# Takes the request; returns the answer, or yields answers.
Handler = Callable[[Any], Awaitable[Message] | AsyncGenerator[Message, None]]
Handlers = Mapping[Method[Any, Any], Handler]
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_DIGITS_MAX = 8


class GrpcServer:
    """A server of some methods on one socket."""

    def __init__(self, socket: Path, handlers: Handlers | Callable[[], Handlers]) -> None:
        """A handler raises GrpcError for a status; any other exception is logged and answered as UNKNOWN.

        A function in place of the handlers is called with the first connection.
        """
        self._socket = socket
        self._given = handlers
        self._handlers: dict[str, tuple[Method[Any, Any], Handler]] | None = None
        self._tasks = TaskSet()
        self._connections: set[ServerConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to serve, in place of a socket that a killed process left. Raises OSError."""
        listener = await listening(self._socket, GRPC_CONNECTIONS.value)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._accepted, sock=listener)

    async def stop(self) -> None:
        """Stop to serve; calls in progress are cut off."""
        if self._server is not None:
            self._server.close()
            with suppress(FileNotFoundError):
                self._socket.unlink()
        for connection in list(self._connections):
            connection.close()
        await self._tasks.stop()

    def _accepted(self) -> "ServerConnection":
        if self._handlers is None:
            given = self._given() if callable(self._given) else self._given
            self._handlers = {method.path: (method, handler) for method, handler in given.items()}
        return ServerConnection(self._handlers, self._tasks, self._connections)


class ServerConnection(Connection):
    """The server's end of a connection."""

    def __init__(
        self,
        handlers: Mapping[str, tuple[Method[Any, Any], Handler]],
        tasks: TaskSet,
        connections: set["ServerConnection"],
    ) -> None:
        super().__init__(GRPC_REQUEST)
        self._handlers = handlers
        self._tasks = tasks
        self._connections = connections
        self._calls: dict[int, asyncio.Task[Any]] = {}  # by stream
        self._running = 0  # calls, also those that are cancelled and have not ended
        self._preface: bytearray | None = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._connections) >= GRPC_CONNECTIONS.value:
            GRPC_CONNECTIONS.reached()
            cast(asyncio.Transport, transport).abort()
            self.is_closed = True
            return
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)

    def _greeting(self) -> bytes:
        settings = {
            frames.SETTING_STREAMS_MAX: GRPC_CALLS.value,
            frames.SETTING_WINDOW: STREAM_WINDOW_BYTES,
            frames.SETTING_HEADERS_MAX: GRPC_HEADERS.value,
        }
        more = frames.pack_number(CONNECTION_CREDIT_BYTES - frames.WINDOW_BYTES)
        return frames.pack_settings(settings) + pack_frame(frames.WINDOW_UPDATE, 0, 0, more)

    def _accept(self, data: bytes) -> bytes:
        if self._preface is None:
            return data
        self._preface += data
        expected = frames.PREFACE[: len(self._preface)]
        if self._preface[: len(frames.PREFACE)] != expected:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "this is no connection of HTTP/2")
        if len(self._preface) < len(frames.PREFACE):
            return b""
        rest = bytes(self._preface[len(frames.PREFACE) :])
        self._preface = None
        return rest

    def _take_headers(self, number: int, headers: list[Header], *, end: bool) -> None:
        if number <= self.last_number:
            stream = self._stream(number)
            if stream is not None and end and not stream.is_ended:
                stream.end()
            return
        if not number % 2:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "a stream has an even number")
        # Not the open streams: a client could reset each at once, and the cancelled calls would pile up.
        if self._running >= GRPC_CALLS.value:
            GRPC_CALLS.reached()
            self.last_number = number
            code = frames.pack_number(ErrorCode.REFUSED_STREAM)
            self._reply(pack_frame(frames.RST_STREAM, 0, number, code))
            return
        stream = self.new_stream(number)
        stream.headers = dict(headers)
        if end:
            stream.end()
        call = self._tasks.start(self._serve(stream), name="gRPC call")
        self._calls[number] = call
        self._running += 1
        call.add_done_callback(self._call_ended)

    def _call_ended(self, _: asyncio.Task[Any]) -> None:
        self._running -= 1

    def forget(self, stream: Stream) -> None:
        """Drop a stream that is over, and cancel its call if that goes on."""
        super().forget(stream)
        call = self._calls.pop(stream.number, None)
        if call is not None and call is not _current_task():
            call.cancel()

    async def _serve(self, stream: Stream) -> None:
        answer = _Answer(self, stream)
        try:
            seconds = _timeout_seconds((stream.headers or {}).get("grpc-timeout", ""))
            async with asyncio.timeout(seconds):
                await self._call(stream, answer)
        except TimeoutError:
            answer.end(GrpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"))
        except GrpcError as error:
            answer.end(error)
        except Exception as error:
            log.exception(
                "a gRPC call failed", extra={"method": (stream.headers or {}).get(":path")}
            )
            answer.end(GrpcError(Code.UNKNOWN, str(error)))
        else:
            answer.end(None)
        finally:
            # A client that has its answer may still be sending; it is told to stop.
            stream.reset(ErrorCode.NO_ERROR, GrpcError(Code.CANCELLED, "the call is over"))
            stream.drop()
            self._calls.pop(stream.number, None)

    async def _call(self, stream: Stream, answer: "_Answer") -> None:
        headers = stream.headers or {}
        path = headers.get(":path", "")
        if headers.get(":method") != "POST" or not headers.get("content-type", "").startswith(
            "application/grpc"
        ):
            raise GrpcError(Code.INTERNAL, "this is no call of gRPC")
        if path not in self._handlers:
            service, _, name = path.removeprefix("/").partition("/")
            raise GrpcError(Code.UNIMPLEMENTED, f"unknown method {name} for service {service}")
        method, handler = self._handlers[path]
        data = await stream.receive()
        if data is None or await stream.receive() is not None:
            raise GrpcError(Code.INTERNAL, "a call has one request")
        try:
            request = decode(method.request, data)
        except Malformed as error:
            raise GrpcError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}") from error
        result = handler(request)
        if inspect.isasyncgen(result):
            try:
                async for message in result:
                    await answer.send(cast(Message, message))
            finally:
                await result.aclose()
        elif inspect.isawaitable(result):
            await answer.send(await result)


class _Answer:
    """What a call is answered, frame by frame."""

    def __init__(self, connection: ServerConnection, stream: Stream) -> None:
        self._connection = connection
        self._stream = stream
        self._has_head = False

    async def send(self, message: Message) -> None:
        """Send an answer as fast as the client takes it. Raises GrpcError."""
        try:
            data = encode(message)
        except Unencodable as error:
            raise GrpcError(Code.INTERNAL, f"grpc: error while marshaling: {error}") from error
        head = b""
        if not self._has_head:
            headers = [(":status", "200"), ("content-type", "application/grpc")]
            head = self._headers(headers, 0)
            self._has_head = True
        await self._stream.send(data, end=False, head=head)

    def end(self, error: GrpcError | None) -> None:
        """Send the status, unless the call is gone."""
        if not self._stream.is_open or self._connection.is_closed:
            return
        trailers = [("grpc-status", str(int(Code.OK if error is None else error.code)))]
        if error is not None:
            trailers.append(("grpc-message", encode_message(error.message)))
        if not self._has_head:
            trailers = [(":status", "200"), ("content-type", "application/grpc"), *trailers]
        self._connection.write(self._headers(trailers, frames.END_STREAM))
        self._stream.finish()

    def _headers(self, headers: list[Header], flags: int) -> bytes:
        block = encode_headers(headers)
        first, rest = block[: frames.FRAME_BYTES_MAX], block[frames.FRAME_BYTES_MAX :]
        number = self._stream.number
        if not rest:
            return pack_frame(frames.HEADERS, flags | frames.END_HEADERS, number, first)
        # A message is cut so that two frames are enough, see `encode_message`.
        return pack_frame(frames.HEADERS, flags, number, first) + pack_frame(
            frames.CONTINUATION, frames.END_HEADERS, number, rest
        )


def _timeout_seconds(text: str) -> float | None:
    """Return what a client allows for a call; None for as long as it likes, also if it is not understood."""
    digits, unit = text[:-1], text[-1:]
    if not digits.isascii() or not digits.isdecimal() or len(digits) > _DIGITS_MAX:
        return None
    return int(digits) * _UNITS[unit] if unit in _UNITS else None


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # a callback of the loop
        return None
