"""One end of a tunnel: serves the streams of its connection by sockets, fairly, within bounds.

The API server's end opens streams, each one end of a socket pair. The node's end connects each to a target. Ready
streams take turns, a frame each, and only while the connection takes more, so a greedy stream delays the others by what
the connection has buffered. A stream whose receiver takes nothing runs out of credit and waits alone.
"""

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import cast
from weakref import WeakKeyDictionary

from kubelite.limits import (
    DIAL_SECONDS,
    TUNNEL_CONTROL,
    TUNNEL_PONG_SECONDS,
    TUNNEL_SILENCE_SECONDS,
    TUNNEL_STREAMS,
    TUNNEL_WINDOW,
    TUNNEL_WINDOWS,
)
from kubelite.metrics import REGISTRY
from kubelite.serving.closing import close_within_bounds
from kubelite.tasks import TaskSet
from kubelite.tunnel.credit import FIRST_CREDIT
from kubelite.tunnel.frames import (
    CREDIT,
    PAYLOAD_BYTES_MAX,
    STREAM_MAX,
    BrokenTunnel,
    Frame,
    FrameReader,
    FrameType,
    encode,
    encode_text,
)
from kubelite.tunnel.stream import Stream

log = logging.getLogger(__name__)

OPENER_PATIENCE_SECONDS = 10.0  # by this much the server waits longer than the node before it pings
WRITE_BUFFER_BYTES = 64 * 1024
READ_BYTES = 4 * PAYLOAD_BYTES_MAX
TUNNEL_READ_BYTES = 32 * 1024
BATCH_FRAMES = 4  # frames in one write
TURN_FRAMES = 64  # frames in one turn of the loop, 1 MiB: a few milliseconds of TLS
UNSENT_BYTES = (
    128 * 1024
)  # what the kernel may hold unsent, so that small streams are not queued behind it

_open = REGISTRY.gauge("kubelite_tunnel_streams", "Streams that tunnels carry.").labelled()
_bytes = REGISTRY.counter(
    "kubelite_tunnel_bytes_total", "Bytes of frames that tunnels carried.", ("direction",)
)
_sent, _received = _bytes.labelled("sent"), _bytes.labelled("received")

Resolve = Callable[[str], tuple[str, int]]


class TargetRefused(Exception):
    """The node does not connect to the target; the message says why."""


class OpenFailed(Exception):
    """A stream cannot be opened; the message says why."""


class Mux(asyncio.BufferedProtocol):
    """The protocol of a tunnel's connection. Without `resolve` this end opens streams, else it connects them."""

    def __init__(self, ended: Callable[[str], None], resolve: Resolve | None = None) -> None:
        """`ended` is called once, with the reason, when the tunnel is lost or closed.

        `resolve` maps a target to the address to connect to, or raises TargetRefused.
        """
        self.reason = ""  # why the tunnel has ended
        self._ended = ended
        self._resolve = resolve
        self._silence_seconds = TUNNEL_SILENCE_SECONDS.value + (
            OPENER_PATIENCE_SECONDS if resolve is None else 0.0
        )
        self._loop = asyncio.get_running_loop()
        self.read_buffer = _read_buffer_of(self._loop)
        self._transport: asyncio.Transport | None = None
        self._frames = FrameReader()
        self._streams: dict[int, Stream] = {}
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._dialing: dict[int, asyncio.Task[None]] = {}
        self._tasks = TaskSet()
        self._highest = 0  # the number of the stream opened last
        self._widened_bytes = 0
        self._ready: deque[Stream] = deque()
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._pong: bytes | None = None
        self._is_paused = False
        self._is_pumping = False
        self._is_closing = False
        self._heard_at = self._loop.time()
        self._pinged_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    @property
    def stream_count(self) -> int:
        """The number of streams, those that are being opened included."""
        return len(self._streams)

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve a connection."""
        transport = cast(asyncio.Transport, transport)  # those of uvloop are no subclass
        self._transport = transport
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        _keep_little_unsent(transport)
        self._heard_at = self._loop.time()
        self._timer = self._loop.call_later(self._silence_seconds, self._look)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer for the next read; it is small, so that a read of tiny frames holds the loop for 10 ms."""
        del sizehint
        return self.read_buffer[:TUNNEL_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Serve one read."""
        self.receive(bytes(self.read_buffer[:nbytes]))

    def receive(self, data: bytes) -> None:
        """Serve frames; what breaks the protocol ends the tunnel."""
        self._heard_at = self._loop.time()
        _received.value += len(data)
        try:
            for frame in self._frames.feed(data):
                if self.reason:
                    return
                self._serve(frame)
        except BrokenTunnel as error:
            self.lose(f"the other end broke the protocol: {error}")
            return
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all streams."""
        self.lose(f"the connection was lost: {exc}" if exc else "the connection was closed")

    def pause_writing(self) -> None:
        """Stop to send."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Send what waits."""
        self._is_paused = False
        self.pump()

    def lose(self, reason: str) -> None:
        """End the tunnel and its streams at once. Idempotent."""
        if self.reason:
            return
        self.reason = reason
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()
        for future in self._opening.values():
            if not future.done():
                future.set_exception(OpenFailed(reason))
        for task in self._dialing.values():
            task.cancel()
        for stream in tuple(self._streams.values()):
            stream.abort()
            self.forget(stream)
        self._ready.clear()
        self._control.clear()
        self._ended(reason)

    def close(self) -> None:
        """Open no more streams, and end when the last of them has ended."""
        self._is_closing = True
        self._finish_if_idle()

    def _finish_if_idle(self) -> None:
        if self._is_closing and not self._streams and self._transport is not None:
            self.pump()
            close_within_bounds(self._transport)  # what the last stream sent must arrive

    # Streams

    async def open(self, target: str) -> socket.socket:
        """Open a stream to a target; return one end of a socket pair. Raises OpenFailed, within DIAL_SECONDS."""
        if self.reason or self._is_closing:
            raise OpenFailed(self.reason or "the tunnel is being closed")
        if len(self._streams) >= TUNNEL_STREAMS.value:
            TUNNEL_STREAMS.reached()
            raise OpenFailed("the tunnel carries too many streams")
        if self._highest == STREAM_MAX:
            self.lose("the stream numbers are used up")
            raise OpenFailed(self.reason)
        self._highest += 1
        stream = self._added(self._highest)
        opened = self._opening[stream.number] = self._loop.create_future()
        self.send(encode(FrameType.OPEN, stream.number, target.encode()))
        self._probe()
        try:
            async with asyncio.timeout(DIAL_SECONDS.value):
                await opened
            return await self._paired(stream)
        except BaseException as error:
            stream.abort()
            if isinstance(error, TimeoutError):
                raise OpenFailed("i/o timeout") from error
            raise
        finally:
            del self._opening[stream.number]

    async def _paired(self, stream: Stream) -> socket.socket:
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            theirs.setblocking(False)
            await self._loop.connect_accepted_socket(lambda: stream, ours)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        return theirs

    def _added(self, number: int) -> Stream:
        stream = self._streams[number] = Stream(self, number)
        _open.value += 1
        return stream

    def forget(self, stream: Stream) -> None:
        """Drop a stream that has ended both ways. Idempotent."""
        if self._streams.pop(stream.number, None) is None:
            return
        _open.value -= 1
        self._widened_bytes -= stream.window.size - FIRST_CREDIT
        if self._is_closing and not self._streams:
            self._loop.call_soon(self._finish_if_idle)

    def widen(self, stream: Stream) -> int:
        """Widen the window of a stream that is being read, if the tunnel's budget allows; return what to grant."""
        more = TUNNEL_WINDOW.value - stream.window.size
        if more <= 0:
            return 0
        if self._widened_bytes + more > TUNNEL_WINDOWS.value:
            TUNNEL_WINDOWS.reached()
            return 0
        self._widened_bytes += more
        return stream.window.widen(TUNNEL_WINDOW.value)

    # Frames that come

    def _serve(self, frame: Frame) -> None:
        match frame.type:
            case FrameType.PING:
                self._pong = (
                    frame.payload
                )  # the answer to an earlier one that still waits is of no use
            case FrameType.PONG:
                pass  # that it came is noted
            case FrameType.OPEN:
                self._open_asked(frame)
            case FrameType.OPENED | FrameType.FAILED:
                self._open_answered(frame)
            case _:
                self._serve_stream(frame)

    def _serve_stream(self, frame: Frame) -> None:
        stream = self._streams.get(frame.stream)
        if stream is None:
            if frame.stream > self._highest:
                raise BrokenTunnel(
                    f"{frame.type.name} names stream {frame.stream}, which was not opened"
                )
            return  # it has ended here, and the other end does not know yet
        match frame.type:
            case FrameType.DATA:
                stream.receive(frame.payload)
            case FrameType.WINDOW:
                stream.credit.grant(frame.credit)
                self.ready(stream)
            case FrameType.END:
                stream.receive_end()
            case _:
                self._reset(stream, frame.text)

    def _reset(self, stream: Stream, reason: str) -> None:
        opening = self._opening.get(stream.number)
        if opening is not None and not opening.done():
            opening.set_exception(OpenFailed(reason or "the stream was reset"))
        if (dialing := self._dialing.get(stream.number)) is not None:
            dialing.cancel()
        stream.abort(is_told=True)

    def _open_asked(self, frame: Frame) -> None:
        if self._resolve is None or frame.stream <= self._highest:
            raise BrokenTunnel(f"OPEN names stream {frame.stream}")
        self._highest = frame.stream
        if len(self._streams) >= TUNNEL_STREAMS.value:
            TUNNEL_STREAMS.reached()
            self._fail(frame.stream, "the tunnel carries too many streams")
            return
        try:
            address = self._resolve(frame.text)
        except TargetRefused as error:
            log.warning(
                "tunnel: target refused", extra={"target": frame.text, "reason": str(error)}
            )
            self._fail(frame.stream, str(error))
            return
        stream = self._added(frame.stream)
        self._dialing[frame.stream] = task = self._tasks.start(
            self._dial(stream, address), name="tunnel stream"
        )
        task.add_done_callback(lambda _: self._dialing.pop(stream.number, None))

    async def _dial(self, stream: Stream, address: tuple[str, int]) -> None:
        try:
            async with asyncio.timeout(DIAL_SECONDS.value):
                await self._loop.create_connection(lambda: stream, *address)
        except asyncio.CancelledError:
            stream.abort()
            raise
        except TimeoutError:
            self._undo(stream, "i/o timeout")
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            self._undo(stream, f"connect: {reason.lower()}")

    def _undo(self, stream: Stream, reason: str) -> None:
        if stream.number in self._streams:
            self._fail(stream.number, reason)
            self.forget(stream)
            self.pump()

    def _fail(self, number: int, reason: str) -> None:
        self.send(encode_text(FrameType.FAILED, number, reason))

    def connected(self, stream: Stream) -> None:
        """Tell the other end that a stream has reached its target."""
        if self._resolve is not None:
            self.send(encode(FrameType.OPENED, stream.number))
            self.pump()

    def _open_answered(self, frame: Frame) -> None:
        if self._resolve is not None or frame.stream > self._highest:
            raise BrokenTunnel(f"{frame.type.name} names stream {frame.stream}")
        opening = self._opening.get(frame.stream)
        if opening is None or opening.done():
            return  # the caller waits no more, and has sent RESET
        if frame.type is FrameType.OPENED:
            opening.set_result(None)
            return
        self._streams[frame.stream].abort(is_told=True)
        opening.set_exception(OpenFailed(frame.text))

    # Frames that go

    def send(self, frame: bytes) -> None:
        """Send a frame that needs no credit, ahead of all data; `pump` writes it."""
        self._control.append(frame)
        self._control_bytes += len(frame)
        if self._control_bytes > TUNNEL_CONTROL.value:
            TUNNEL_CONTROL.reached()
            self.lose("the other end takes no answers")

    def grant(self, stream: Stream, more: int) -> None:
        """Let the other end send `more` bytes of a stream."""
        self.send(encode(FrameType.WINDOW, stream.number, CREDIT.pack(more)))

    def ready(self, stream: Stream) -> None:
        """Give a stream its turns until it has nothing that may be sent."""
        if not stream.is_queued and stream.has_frame:
            stream.is_queued = True
            self._ready.append(stream)

    def pump(self) -> None:
        """Write frames while the connection takes them, for one turn of the loop at most."""
        if self._is_pumping or self._transport is None:
            return
        self._is_pumping = True
        try:
            for _ in range(TURN_FRAMES // BATCH_FRAMES):
                if self._is_paused or self.reason:
                    return
                batch = b"".join(self._batch())
                if not batch:
                    return
                _sent.value += len(batch)
                self._transport.write(batch)
        finally:
            self._is_pumping = False
        self._loop.call_soon(self.pump)

    def _batch(self) -> list[bytes]:
        batch = list(self._control)
        self._control.clear()
        self._control_bytes = 0
        if self._pong is not None:
            batch.append(encode(FrameType.PONG, 0, self._pong))
            self._pong = None
        for _ in range(min(BATCH_FRAMES, len(self._ready))):
            stream = self._ready.popleft()
            stream.is_queued = False
            if (frame := stream.take_frame()) is not None:
                batch.append(frame)
            self.ready(stream)
        return batch

    # Whether the other end is there

    def _probe(self) -> None:
        """Ask whether the other end is there, unless it was heard of lately or is asked already."""
        silent_seconds = self._loop.time() - self._heard_at
        if self._pinged_at > self._heard_at or silent_seconds < TUNNEL_PONG_SECONDS.value:
            self.pump()
        else:
            self._ping()

    def _ping(self) -> None:
        self._pinged_at = self._loop.time()
        self.send(encode(FrameType.PING, 0))
        self.pump()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(TUNNEL_PONG_SECONDS.value, self._look)

    def _look(self) -> None:
        """At the deadline: wait on if something came, ask if nothing did, and give up if that was in vain."""
        silent_seconds = self._loop.time() - self._heard_at
        if self._pinged_at > self._heard_at:
            TUNNEL_PONG_SECONDS.reached()
            self.lose(f"nothing came for {silent_seconds:.0f} seconds")
        elif silent_seconds < self._silence_seconds:
            self._timer = self._loop.call_later(self._silence_seconds - silent_seconds, self._look)
        else:
            self._ping()


_read_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, memoryview] = WeakKeyDictionary()


def _read_buffer_of(loop: asyncio.AbstractEventLoop) -> memoryview:
    """Return the buffer of all sockets of a loop: what one brings is copied before the next is read."""
    if (buffer := _read_buffers.get(loop)) is None:
        buffer = _read_buffers[loop] = memoryview(bytearray(READ_BYTES))
    return buffer


def _keep_little_unsent(transport: asyncio.Transport) -> None:
    tcp = transport.get_extra_info("socket")
    if tcp is not None and tcp.family in (socket.AF_INET, socket.AF_INET6):
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
