"""One HTTP/2 connection and its streams, as far as client and server share them.

A received DATA frame goes into the messages of its stream. The window of a stream is only reopened while its reader
waits for more, so a reader that is slow holds back the sender. A stream ends when both sides have ended it, when
either side resets it, or with its connection; what arrives for it afterwards is dropped.

The header table of the peer covers the whole connection, so header blocks are decoded even if their stream is gone.
"""

import asyncio
import struct
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, cast

from kubelite.grpc import frames
from kubelite.grpc.frames import ConnectionViolation, ErrorCode, pack_frame, pack_number
from kubelite.grpc.header_blocks import HeaderBlock, HeaderBlocks
from kubelite.grpc.hpack import Header, HeaderDecoder, HeadersTooLarge, MalformedHeaders
from kubelite.grpc.status import Code, GrpcError
from kubelite.limits import GRPC_HEADERS, GRPC_HELD, GRPC_REPLIES, Limit
from kubelite.serving.closing import close_within_bounds

PREFIX = struct.Struct(">BL")  # of a message: whether it is compressed, its length
STREAM_WINDOW_BYTES: Final = 1 << 20
CONNECTION_CREDIT_BYTES: Final = 1 << 24
CONTINUATIONS_MAX: Final = 64  # frames of one header block
RESET_CODES = {
    ErrorCode.NO_ERROR: Code.INTERNAL,
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
}


class Stream:
    """One call on a connection."""

    def __init__(self, connection: "Connection", number: int, send_window: int) -> None:
        self.number = number
        self.headers: dict[str, str] | None = (
            None  # of the peer; the trailers too, if there is nothing else
        )
        self.trailers: dict[str, str] = {}
        self.send_window = send_window
        self.is_ended = False  # the peer sends no more
        self.is_finished = False  # this side sends no more
        self._connection = connection
        self._messages: deque[bytes] = deque()
        self._partial = bytearray()
        self._uncredited_bytes = 0  # received and not given back to the peer's window
        self._error: GrpcError | None = None
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def held_bytes(self) -> int:
        """The bytes received that were not taken yet."""
        return len(self._partial) + sum(len(message) for message in self._messages)

    @property
    def is_open(self) -> bool:
        """Whether either side may still send."""
        return self._error is None and not (self.is_ended and self.is_finished)

    async def receive(self) -> bytes | None:
        """Return the next message, None at the end. Raises GrpcError if the stream was reset."""
        while not self._messages:
            if self._error is not None:
                raise self._error
            if self.is_ended:
                return None
            await self.changed()
        message = self._messages.popleft()
        self._connection.held_bytes -= len(message)
        if not self._messages:
            self._credit(0)
        return message

    async def send(self, message: bytes, *, end: bool, head: bytes = b"") -> None:
        """Send a message as fast as the peer takes it, after the frames `head`. Raises GrpcError.

        A stream that the peer has ended takes no more: what is left is dropped.
        """
        connection = self._connection
        data = PREFIX.pack(0, len(message)) + message
        position = 0
        if connection.is_paused:
            await self._until_writable()
        while position < len(data):
            self._check()
            if connection.is_client and self.is_ended:
                return
            room = min(self.send_window, connection.send_window, frames.FRAME_BYTES_MAX)
            if connection.is_paused or room <= 0:
                if head:
                    connection.write(head)
                    head = b""
                await self.changed()
                continue
            piece = data[position : position + room]
            position += len(piece)
            self.send_window -= len(piece)
            connection.send_window -= len(piece)
            is_last = end and position == len(data)
            flags = frames.END_STREAM if is_last else 0
            connection.write(head + pack_frame(frames.DATA, flags, self.number, piece))
            head = b""
        if end:
            self.finish()

    async def _until_writable(self) -> None:
        while self._connection.is_paused:
            self._check()
            await self.changed()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Note that this side has sent END_STREAM."""
        self.is_finished = True
        if self.is_ended:
            self._connection.forget(self)

    def reset(self, code: ErrorCode, error: GrpcError) -> None:
        """Give the stream up, and say so to the peer; harmless when it is over."""
        if self.is_open:
            self._connection.send_reset(self.number, code)
            self.fail(error)

    def fail(self, error: GrpcError) -> None:
        """End the stream with an error, unless it has ended; messages that have arrived can still be taken."""
        if self._error is None and self.is_open:
            self._error = error
            self._connection.forget(self)
            self.wake()

    def drop(self) -> None:
        """Free what was received and is not taken."""
        self._connection.held_bytes -= self.held_bytes
        self._messages.clear()
        self._partial.clear()

    def take_data(self, payload: bytes, framed_bytes: int) -> None:
        """Take the bytes of a DATA frame, which count `framed_bytes` with their padding."""
        self._partial += payload
        self._connection.held_bytes += len(payload)
        self._uncredited_bytes += framed_bytes
        if self._connection.held_bytes > GRPC_HELD.value:
            GRPC_HELD.reached()
            self._refuse("the connection holds too many bytes that are not taken")
            return
        self._split()
        if not self._messages:
            self._credit(STREAM_WINDOW_BYTES // 2)
        self.wake()

    def _split(self) -> None:
        limit = self._connection.message_limit
        partial = self._partial
        while len(partial) >= PREFIX.size and self._error is None:
            is_compressed, length = PREFIX.unpack_from(partial)
            if is_compressed:
                text = "grpc: Decompressor is not installed for grpc-encoding"
                self.reset(ErrorCode.CANCEL, GrpcError(Code.UNIMPLEMENTED, text))
            elif length > limit.value:
                limit.reached()
                self._refuse(f"grpc: received message larger than max ({length} vs. {limit.value})")
            elif len(partial) < PREFIX.size + length:
                return
            else:
                end = PREFIX.size + length
                self._messages.append(bytes(partial[PREFIX.size : end]))
                del partial[:end]
                self._connection.held_bytes -= PREFIX.size

    def _refuse(self, text: str) -> None:
        self.reset(ErrorCode.ENHANCE_YOUR_CALM, GrpcError(Code.RESOURCE_EXHAUSTED, text))
        self.drop()

    def _credit(self, least_bytes: int) -> None:
        """Reopen the peer's window, if that is by more than `least_bytes`."""
        if self._uncredited_bytes > least_bytes and not self.is_ended and self._error is None:
            self._connection.send_window_update(self.number, self._uncredited_bytes)
            self._uncredited_bytes = 0

    def end(self) -> None:
        """Take END_STREAM; a message that is cut off is an error."""
        if self._partial:
            self.fail(GrpcError(Code.INTERNAL, "unexpected EOF"))
            return
        self.is_ended = True
        if self.is_finished:
            self._connection.forget(self)
        self.wake()

    async def changed(self) -> None:
        """Wait until something arrives for the stream, or it may send again."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        """Wake all that wait for a change."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Connection(asyncio.Protocol, ABC):
    """The state that both ends of a connection share; a subclass says what headers mean."""

    is_client = False

    def __init__(self, message_limit: Limit) -> None:
        """`message_limit` bounds a received message."""
        self.message_limit = message_limit
        self.streams: dict[int, Stream] = {}
        self.send_window = frames.WINDOW_BYTES
        self.held_bytes = 0
        self.is_paused = False
        self.streams_max = frames.WINDOW_BYTES_MAX  # that the peer allows
        self.last_number = 0  # the highest stream that the client has opened
        self.is_closed = False
        self._transport: asyncio.Transport | None = None
        self._reader = frames.FrameReader()
        self._decoder = HeaderDecoder()
        self._initial_window = frames.WINDOW_BYTES
        self._uncredited_bytes = 0
        self._replies = 0
        self._blocks = HeaderBlocks(GRPC_HEADERS, CONTINUATIONS_MAX)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: those of uvloop do not derive from it.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._greeting())

    def connection_lost(self, exc: Exception | None) -> None:
        reason = f"error reading from server: {exc or 'EOF'}"
        self._end(GrpcError(Code.UNAVAILABLE, reason))

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self._replies = 0
        self._wake_all()

    def data_received(self, data: bytes) -> None:
        if self.is_closed:
            return
        try:
            for frame in self._reader.feed(self._accept(data)):
                self._take(*frame)
        except ConnectionViolation as violation:
            self._violated(violation)
        except MalformedHeaders as error:
            code = ErrorCode.COMPRESSION_ERROR
            if isinstance(error, HeadersTooLarge):
                code = ErrorCode.ENHANCE_YOUR_CALM
            self._violated(ConnectionViolation(code, str(error)))

    # What subclasses say

    @abstractmethod
    def _greeting(self) -> bytes:
        """Return the first bytes to send."""

    def _accept(self, data: bytes) -> bytes:
        """Return the received bytes without what precedes the frames. Raises ConnectionViolation."""
        return data

    @abstractmethod
    def _take_headers(self, number: int, headers: list[Header], *, end: bool) -> None:
        """Take the headers or the trailers of a stream. Raises ConnectionViolation."""

    def _take_goaway(self, last_number: int) -> None:
        """Take the number of the last stream that the peer processes."""

    # Sending

    def write(self, data: bytes) -> None:
        """Write frames; the transport buffers them."""
        if self._transport is not None and not self.is_closed:
            self._transport.write(data)

    def send_reset(self, number: int, code: ErrorCode) -> None:
        """Send RST_STREAM."""
        self.write(pack_frame(frames.RST_STREAM, 0, number, pack_number(code)))

    def send_window_update(self, number: int, increment: int) -> None:
        """Reopen the peer's window of a stream, or with 0 of the connection."""
        self.write(pack_frame(frames.WINDOW_UPDATE, 0, number, pack_number(increment)))

    def _reply(self, frame: bytes) -> None:
        """Answer a frame of the peer. Raises ConnectionViolation if it does not read its answers."""
        if self.is_paused:
            self._replies += 1
            if self._replies > GRPC_REPLIES.value:
                GRPC_REPLIES.reached()
                reason = "answers are not read"
                raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, reason)
        self.write(frame)

    def new_stream(self, number: int) -> Stream:
        """Return a stream that is open from now on."""
        stream = Stream(self, number, self._initial_window)
        self.streams[number] = stream
        self.last_number = number
        return stream

    def forget(self, stream: Stream) -> None:
        """Drop a stream that is over."""
        self.streams.pop(stream.number, None)

    def close(self) -> None:
        """Say GOAWAY and close; what is written already is flushed within bounds."""
        self.write(pack_frame(frames.GOAWAY, 0, 0, pack_number(0) + pack_number(0)))
        self._end(GrpcError(Code.CANCELLED, "grpc: the client connection is closing"))

    def abort(self) -> None:
        """Close without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()
        self._end(GrpcError(Code.UNAVAILABLE, "the connection was closed"))

    def _violated(self, violation: ConnectionViolation) -> None:
        payload = pack_number(0) + pack_number(violation.code) + violation.reason.encode()
        self.write(pack_frame(frames.GOAWAY, 0, 0, payload))
        text = f"connection error: {violation.code.name}: {violation.reason}"
        self._end(GrpcError(Code.UNAVAILABLE, text))

    def _end(self, error: GrpcError) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        for stream in list(self.streams.values()):
            stream.fail(error)
        if self._transport is not None:
            close_within_bounds(self._transport)

    def _wake_all(self) -> None:
        for stream in list(self.streams.values()):
            stream.wake()

    # Receiving

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._blocks.check(kind, number)
        has_stream = kind in _OF_STREAMS
        if (has_stream and not number) or (not has_stream and number and kind in _OF_CONNECTIONS):
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "a frame is on the wrong stream")
        match kind:
            case frames.DATA:
                self._take_data(flags, number, payload)
            case frames.HEADERS:
                self._take_block(self._blocks.begin(flags, number, payload))
            case frames.CONTINUATION:
                self._take_block(self._blocks.go_on(flags, payload))
            case frames.WINDOW_UPDATE:
                self._take_window_update(number, frames.unpack_number(payload))
            case frames.RST_STREAM:
                self._take_reset(number, frames.unpack_number(payload))
            case frames.SETTINGS:
                self._take_settings(flags, payload)
            case frames.PING if not flags & frames.ACK:
                self._reply(pack_frame(frames.PING, frames.ACK, 0, payload))
            case frames.GOAWAY:
                self._take_goaway(frames.unpack_number(payload))
            case frames.PUSH_PROMISE:
                raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "push is not enabled")
            case _:
                pass  # priorities, answers to pings, and types that the RFC leaves to extensions

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        # The connection's window is large and reopened whatever its streams do: GRPC_HELD bounds what they hold.
        self._uncredited_bytes += len(payload)
        if self._uncredited_bytes > CONNECTION_CREDIT_BYTES // 2:
            self.send_window_update(0, self._uncredited_bytes)
            self._uncredited_bytes = 0
        data = frames.without_padding(flags, payload)
        stream = self._stream(number)
        if stream is None or stream.is_ended:
            return
        stream.take_data(data, len(payload))
        if flags & frames.END_STREAM:
            stream.end()

    def _stream(self, number: int) -> Stream | None:
        """Return an open stream, None for one that is over. Raises ConnectionViolation if it was never opened."""
        if number > self.last_number or not number % 2:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "a frame is on an idle stream")
        return self.streams.get(number)

    def _take_block(self, block: HeaderBlock | None) -> None:
        if block is not None:
            headers = self._decoder.decode(block.data)
            self._take_headers(block.number, headers, end=block.is_end)

    def _take_window_update(self, number: int, increment: int) -> None:
        if not number:
            self.send_window += increment
            if not increment or self.send_window > frames.WINDOW_BYTES_MAX:
                raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, "invalid window")
            self._wake_all()
            return
        stream = self._stream(number)
        if stream is None:
            return
        stream.send_window += increment
        if not increment or stream.send_window > frames.WINDOW_BYTES_MAX:
            stream.reset(
                ErrorCode.FLOW_CONTROL_ERROR,
                GrpcError(Code.INTERNAL, "invalid flow control window"),
            )
        stream.wake()

    def _take_reset(self, number: int, code: int) -> None:
        stream = self._stream(number)
        if stream is None:
            return
        if (
            self.is_client and stream.is_ended
        ):  # the peer has answered and does not want the rest of the request
            stream.finish()
            return
        known = code in ErrorCode.__members__.values()
        name = ErrorCode(code).name if known else str(code)
        grpc_code = RESET_CODES.get(ErrorCode(code), Code.INTERNAL) if known else Code.INTERNAL
        text = f"stream terminated by RST_STREAM with error code: {name}"
        stream.fail(GrpcError(grpc_code, text))

    def _take_settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        settings = frames.unpack_settings(payload)
        window = settings.get(frames.SETTING_WINDOW, self._initial_window)
        change = window - self._initial_window
        self._initial_window = window
        for stream in self.streams.values():
            stream.send_window += change
        highest = max([window, *(stream.send_window for stream in self.streams.values())])
        if highest > frames.WINDOW_BYTES_MAX:
            raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, "invalid window")
        self.streams_max = settings.get(frames.SETTING_STREAMS_MAX, self.streams_max)
        self._reply(pack_frame(frames.SETTINGS, frames.ACK, 0))
        self._wake_all()


_OF_STREAMS = {
    frames.DATA,
    frames.HEADERS,
    frames.PRIORITY,
    frames.RST_STREAM,
    frames.CONTINUATION,
}
_OF_CONNECTIONS = {frames.SETTINGS, frames.PING, frames.GOAWAY}
