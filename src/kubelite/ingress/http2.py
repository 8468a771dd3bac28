"""A connection of HTTP/2 and its streams, as far as clients and backends have them in common (RFC 9113).

The layout of frames and the compression of fields are `kubelite.grpc`'s. What is received is credited to its sender
when it was passed on, so that a stream that is slow holds back its own sender, and a bounded part of its connection.

Whatever costs a peer less than it costs this process is counted: resets, frames without content, header blocks in
pieces. Beyond the bounds the connection ends.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, cast

from kubelite.grpc import frames
from kubelite.grpc.frames import ConnectionViolation, ErrorCode, pack_frame, pack_number
from kubelite.grpc.header_blocks import HeaderBlock, HeaderBlocks
from kubelite.grpc.hpack import (
    Header,
    HeaderDecoder,
    HeadersTooLarge,
    MalformedHeaders,
    encode_literal,
    static_indices,
)
from kubelite.ingress.wire import Field
from kubelite.limits import (
    INGRESS_CONTROL_FRAMES,
    INGRESS_HTTP2_HELD,
    INGRESS_RESETS,
    Limit,
)
from kubelite.serving.closing import close_within_bounds

STREAM_WINDOW_BYTES: Final = 128 * 1024
OUT_HIGH_BYTES, OUT_LOW_BYTES = 64 * 1024, 16 * 1024  # of a stream, that wait for its receiver
CONTINUATIONS_MAX = 16  # frames of one header block
RESETS_PER_SECOND, CONTROL_FRAMES_PER_SECOND = 20.0, 500.0
_INDICES = {name.encode(): index for name, index in static_indices().items()}


class Allowance:
    """What a peer may do beyond a steady rate."""

    __slots__ = ("_at", "_left", "_limit", "_rate")

    def __init__(self, limit: Limit, rate: float, now: float) -> None:
        self._limit = limit
        self._rate = rate
        self._left = float(limit.value)
        self._at = now

    def spend(self, now: float) -> None:
        """Count one. Raises ConnectionViolation beyond the limit."""
        self._left = min(float(self._limit.value), self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1
        if self._left < 0:
            self._limit.reached()
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "too many of them")

    def earn(self) -> None:
        """Allow two more."""
        self._left = min(float(self._limit.value), self._left + 2)


class FlowStream:
    """What a connection knows of one stream."""

    __slots__ = (
        "end_trailers",
        "is_out_ended",
        "is_out_held",
        "is_out_sent",
        "number",
        "out",
        "receive_window",
        "send_window",
        "uncredited",
    )

    def __init__(self, number: int, send_window: int) -> None:
        self.number = number
        self.send_window = send_window
        self.receive_window = STREAM_WINDOW_BYTES
        self.uncredited = 0  # bytes that were received and passed on, and not told as yet
        self.out = bytearray()  # what waits for the peer's window
        self.is_out_ended = False  # nothing is added to `out` any more
        self.is_out_held = False  # whoever fills `out` was told to wait
        self.is_out_sent = False  # all of it was sent, with the end
        self.end_trailers: Sequence[Field] = ()

    def hold_out(self) -> None:
        """Wait with more content."""

    def release_out(self) -> None:
        """Go on with content."""

    def out_sent(self) -> None:
        """All content was sent."""


class Http2(asyncio.BufferedProtocol):
    """One side of a connection."""

    def __init__(self, buffer: memoryview, headers_limit: Limit, now: float) -> None:
        self._buffer = buffer
        self._headers_limit = headers_limit
        self._transport: asyncio.Transport | None = None
        self._reader = frames.FrameReader()
        self._decoder = HeaderDecoder(headers_limit)
        self._blocks = HeaderBlocks(self._headers_limit, CONTINUATIONS_MAX)
        self._block_since = 0.0
        self._pending: list[bytes] | None = None  # frames of this turn, written at once
        self._send_window = frames.WINDOW_BYTES
        self._initial_window = frames.WINDOW_BYTES
        self._receive_window = INGRESS_HTTP2_HELD.value
        self._uncredited = 0
        self._is_slow = False  # the transport takes no more
        self.streams: dict[int, FlowStream] = {}
        self.last_number = 0  # of the streams that were opened
        self.peer_streams_max = 100
        self.is_closed = False
        self._resets = Allowance(INGRESS_RESETS, RESETS_PER_SECOND, now)
        self._control = Allowance(INGRESS_CONTROL_FRAMES, CONTROL_FRAMES_PER_SECOND, now)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - the protocol's
        """End all streams."""
        self._transport = None
        self._end()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - the protocol's
        """Return the buffer of all connections: what is read is copied before the next read."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.receive(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """Close: a peer that ends its side has left."""
        return False

    def pause_writing(self) -> None:
        """Let content wait in its streams."""
        self._is_slow = True

    def resume_writing(self) -> None:
        """Send what waits."""
        self._is_slow = False
        self._flush_all()

    # What subclasses say

    def now(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def take_headers(self, number: int, fields: list[Header], *, is_end: bool) -> None:
        """Take the fields or trailers of a stream. Raises ConnectionViolation."""
        raise NotImplementedError

    def take_data(self, stream: FlowStream, data: bytes, *, is_end: bool) -> None:
        """Take content; it is to be credited once it is passed on."""
        raise NotImplementedError

    def take_reset(self, stream: FlowStream, code: int) -> None:
        """A stream, which is forgotten already, ended before its time."""
        raise NotImplementedError

    def take_goaway(self, last_number: int) -> None:
        """The peer processes no streams after this one."""

    def ended(self) -> None:
        """Do what there is to do once the connection is over."""

    # Receiving

    def receive(self, data: bytes) -> None:
        """Take bytes of the peer, and answer them in one write."""
        if self.is_closed:
            return
        self._pending = []
        try:
            for frame in self._reader.feed(data):
                self._take(*frame)
                if self.is_closed:
                    break
        except ConnectionViolation as violation:
            self.violated(violation)
        except MalformedHeaders as error:
            is_large = isinstance(error, HeadersTooLarge)
            code = ErrorCode.ENHANCE_YOUR_CALM if is_large else ErrorCode.COMPRESSION_ERROR
            self.violated(ConnectionViolation(code, str(error)))
        pending, self._pending = self._pending, None
        if pending:
            self.write(b"".join(pending))

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._blocks.check(kind, number)
        if (kind in _OF_STREAMS and not number) or (kind in _OF_CONNECTIONS and number):
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "a frame is on the wrong stream")
        if kind == frames.DATA:
            self._take_data(flags, number, payload)
        elif kind == frames.HEADERS:
            if not flags & frames.END_HEADERS:
                self._block_since = self.now()
            self._take_block(self._blocks.begin(flags, number, payload))
        elif kind == frames.CONTINUATION:
            self._take_block(self._blocks.go_on(flags, payload))
        else:
            self._control.spend(self.now())
            if kind == frames.WINDOW_UPDATE:
                self._take_window_update(number, frames.unpack_number(payload))
            elif kind == frames.RST_STREAM:
                self._take_reset(number, frames.unpack_number(payload))
            elif kind == frames.SETTINGS:
                self._take_settings(flags, payload)
            elif kind == frames.PING and not flags & frames.ACK:
                self.write(pack_frame(frames.PING, frames.ACK, 0, payload))
            elif kind == frames.GOAWAY:
                self.take_goaway(frames.unpack_number(payload))
            elif kind == frames.PUSH_PROMISE:
                raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "push is not enabled")

    def stream_of(self, number: int) -> FlowStream | None:
        """Return an open stream, None for one that is over. Raises ConnectionViolation if it was never opened."""
        if number > self.last_number or not number % 2:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "a frame is on an idle stream")
        return self.streams.get(number)

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        data = frames.without_padding(flags, payload)
        is_end = bool(flags & frames.END_STREAM)
        if not data and not is_end:
            self._control.spend(self.now())
        self._receive_window -= size
        stream = self.stream_of(number)
        if self._receive_window < 0:
            raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, "the window is exceeded")
        if stream is None:
            self.credit(None, size)
            return
        stream.receive_window -= size
        if stream.receive_window < 0:
            self.spend_reset()
            self.credit(None, size)
            self.reset(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return
        self.credit(stream, size - len(data))  # padding goes nowhere
        self.take_data(stream, data, is_end=is_end)

    def credit(self, stream: FlowStream | None, size: int) -> None:
        """Let the peer send as much again as was passed on."""
        self._uncredited += size
        if self._uncredited >= INGRESS_HTTP2_HELD.value // 2:
            self.write(pack_frame(frames.WINDOW_UPDATE, 0, 0, pack_number(self._uncredited)))
            self._receive_window += self._uncredited
            self._uncredited = 0
        if stream is None:
            return
        stream.uncredited += size
        if stream.uncredited >= STREAM_WINDOW_BYTES // 2 and stream.number in self.streams:
            update = pack_number(stream.uncredited)
            self.write(pack_frame(frames.WINDOW_UPDATE, 0, stream.number, update))
            stream.receive_window += stream.uncredited
            stream.uncredited = 0

    def _take_block(self, block: HeaderBlock | None) -> None:
        if block is not None:
            fields = self._decoder.decode(block.data)
            self.take_headers(block.number, fields, is_end=block.is_end)

    def _take_window_update(self, number: int, increment: int) -> None:
        if not number:
            self._send_window += increment
            if not increment or self._send_window > frames.WINDOW_BYTES_MAX:
                raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, "invalid window")
            self._flush_all()
            return
        stream = self.stream_of(number)
        if stream is None:
            return
        stream.send_window += increment
        if not increment or stream.send_window > frames.WINDOW_BYTES_MAX:
            self.spend_reset()
            self.reset(stream, ErrorCode.FLOW_CONTROL_ERROR)
        else:
            self._flush(stream)

    def _take_reset(self, number: int, code: int) -> None:
        self.spend_reset()
        stream = self.stream_of(number)
        if stream is not None:
            self.forget(stream)
            self.take_reset(stream, code)

    def spend_reset(self) -> None:
        """Count a stream that ends before its time. Raises ConnectionViolation beyond the limit."""
        self._resets.spend(self.now())

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
        self.peer_streams_max = settings.get(frames.SETTING_STREAMS_MAX, self.peer_streams_max)
        self.write(pack_frame(frames.SETTINGS, frames.ACK, 0))
        if change > 0:
            self._flush_all()

    # Sending

    def write(self, data: bytes) -> None:
        """Write frames, those of one turn together."""
        if self._pending is not None:
            self._pending.append(data)
        elif self._transport is not None:
            self._transport.write(data)

    def greet(self, preface: bytes, streams_max: int) -> None:
        """Send this side's settings."""
        settings = {
            frames.SETTING_ENABLE_PUSH: 0,
            frames.SETTING_STREAMS_MAX: streams_max,
            frames.SETTING_WINDOW: STREAM_WINDOW_BYTES,
            frames.SETTING_HEADERS_MAX: self._headers_limit.value,
        }
        if not preface:
            del settings[frames.SETTING_ENABLE_PUSH]  # of clients
        more = pack_number(INGRESS_HTTP2_HELD.value - frames.WINDOW_BYTES)
        self.write(
            preface + frames.pack_settings(settings) + pack_frame(frames.WINDOW_UPDATE, 0, 0, more)
        )

    def open(self, stream: FlowStream) -> None:
        """Add a stream."""
        self.streams[stream.number] = stream
        self.last_number = stream.number

    def new_window(self) -> int:
        """Return what may be sent on a new stream."""
        return self._initial_window

    def send_fields(self, number: int, block: bytes, *, is_end: bool) -> None:
        """Send a header block, in as many frames as it needs."""
        end = frames.END_STREAM if is_end else 0
        if len(block) <= frames.FRAME_BYTES_MAX:
            self.write(pack_frame(frames.HEADERS, end | frames.END_HEADERS, number, block))
            return
        kind, flags = frames.HEADERS, end
        for at in range(0, len(block), frames.FRAME_BYTES_MAX):
            piece = block[at : at + frames.FRAME_BYTES_MAX]
            if at + len(piece) == len(block):
                flags |= frames.END_HEADERS
            self.write(pack_frame(kind, flags, number, piece))
            kind, flags = frames.CONTINUATION, 0

    def send_content(
        self,
        stream: FlowStream,
        content: bytes,
        *,
        is_end: bool = False,
        trailers: Sequence[Field] = (),
    ) -> None:
        """Send content, as far as the peer takes it now; the rest waits."""
        stream.out += content
        stream.is_out_ended = stream.is_out_ended or is_end
        stream.end_trailers = trailers or stream.end_trailers
        self._flush(stream)

    def _flush(self, stream: FlowStream) -> None:
        out = stream.out
        while out and not self._is_slow:
            size = min(len(out), frames.FRAME_BYTES_MAX, stream.send_window, self._send_window)
            if size <= 0:
                break
            piece = bytes(out[:size])
            del out[:size]
            stream.send_window -= size
            self._send_window -= size
            self._control.earn()
            is_last = not out and stream.is_out_ended and not stream.end_trailers
            flags = frames.END_STREAM if is_last else 0
            self.write(pack_frame(frames.DATA, flags, stream.number, piece))
            if is_last:
                self._sent(stream)
        if not out and stream.is_out_ended and not stream.is_out_sent:
            if stream.end_trailers:
                self.send_fields(stream.number, encode(stream.end_trailers), is_end=True)
            else:
                self.write(pack_frame(frames.DATA, frames.END_STREAM, stream.number))
            self._sent(stream)
        if stream.is_out_held:
            if len(out) <= OUT_LOW_BYTES:
                stream.is_out_held = False
                stream.release_out()
        elif len(out) > OUT_HIGH_BYTES:
            stream.is_out_held = True
            stream.hold_out()

    def _sent(self, stream: FlowStream) -> None:
        stream.is_out_sent = True
        stream.out_sent()

    def _flush_all(self) -> None:
        """Send what waits, another stream first each time."""
        waiting = [one for one in self.streams.values() if one.out]
        for stream in waiting:
            if self._is_slow or self._send_window <= 0:
                return
            self._flush(stream)
            if stream.out and self.streams.get(stream.number) is stream:  # it comes last next time
                self.streams[stream.number] = self.streams.pop(stream.number)

    def reset(self, stream: FlowStream, code: ErrorCode) -> None:
        """End a stream at once."""
        if self.streams.get(stream.number) is stream:
            self.write(pack_frame(frames.RST_STREAM, 0, stream.number, pack_number(code)))
            self.forget(stream)
            self.take_reset(stream, code)

    def forget(self, stream: FlowStream) -> None:
        """Drop a stream that is over."""
        self.streams.pop(stream.number, None)

    def say_goaway(self, code: ErrorCode = ErrorCode.NO_ERROR, reason: bytes = b"") -> None:
        """Say which streams are processed, and that no others will be."""
        payload = pack_number(self.last_number) + pack_number(code) + reason
        self.write(pack_frame(frames.GOAWAY, 0, 0, payload))

    def violated(self, violation: ConnectionViolation) -> None:
        """End the connection, and say why."""
        self.say_goaway(violation.code, violation.reason.encode())
        pending, self._pending = self._pending, None
        if pending:
            self.write(b"".join(pending))
        self.close()

    def close(self) -> None:
        """End the connection; what is written already is flushed."""
        self._end()
        if self._transport is not None:
            close_within_bounds(self._transport)

    def abort(self) -> None:
        """End the connection at once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    def _end(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            self.take_reset(stream, ErrorCode.INTERNAL_ERROR)
        self.ended()


def encode(fields: Iterable[Field]) -> bytes:
    """Return the header block of fields; it changes no table, so that blocks need no order."""
    block = bytearray()
    for name, value in fields:
        lowered = name.lower()
        block += encode_literal(lowered.decode("latin-1"), value, _INDICES.get(lowered, 0))
    return bytes(block)


_OF_STREAMS = frozenset(
    (frames.DATA, frames.HEADERS, frames.PRIORITY, frames.RST_STREAM, frames.CONTINUATION)
)
_OF_CONNECTIONS = frozenset((frames.SETTINGS, frames.PING, frames.GOAWAY))
