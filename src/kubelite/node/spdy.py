"""The server side of SPDY/3.1, as far as kubectl speaks it for exec, attach and port-forward.

Sans I/O towards the socket: bytes go in by `feed` and out by the `write` that was given, so the same connection runs on
an upgraded HTTP connection and in a WebSocket. Window updates are neither sent nor obeyed, since kubectl sends none:
what slows a fast sender down is the transport's own back-pressure. Source: SPDY Protocol Draft 3.1 (chromium.org).
"""

import asyncio
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from kubelite.limits import SPDY_BUFFER, SPDY_STREAM_BUFFER

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = (
    1,
    2,
    3,
    4,
    6,
    7,
    8,
    9,
)
FIN = 1
VERSION = 3
FRAME_LIMIT_BYTES = 1 << 20
HEADERS_LIMIT_BYTES = 64 * 1024
STREAMS_LIMIT = 1000

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    "Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    "Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    "charset=iso-8859-1,utf-,*,enq=0."
)
# What both sides prime their header compression with; the protocol fixes it to the byte.
DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split()
    )
    + _TEXT.encode()
)


class SPDYViolation(Exception):
    """The other side broke the protocol; the connection is of no more use."""


class SPDYStream:
    """One stream of a connection."""

    def __init__(
        self, connection: "SPDYConnection", number: int, headers: Mapping[str, str]
    ) -> None:
        self.number = number
        self.headers = headers
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._ended = False
        self._closed = False
        self._arrived = asyncio.Event()
        self.gone = asyncio.Event()  # set when the stream was given up, or the connection lost

    async def read(self) -> bytes:
        """Return what came next, or nothing at the end."""
        while not self._chunks and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        if not self._chunks:
            return b""
        data = self._chunks.popleft()
        self._buffered -= len(data)
        self._connection.check_pressure()
        return data

    async def write(self, data: bytes) -> None:
        """Send data; waits while the other side does not read."""
        if self._closed:
            return
        for start in range(0, len(data), FRAME_LIMIT_BYTES // 8):
            piece = data[start : start + FRAME_LIMIT_BYTES // 8]
            await self._connection.send(struct.pack(">II", self.number, len(piece)) + piece)

    async def close(self) -> None:
        """Send no more on this stream."""
        if not self._closed:
            self._closed = True
            await self._connection.send(struct.pack(">II", self.number, FIN << 24))

    async def reset(self) -> None:
        """Give the stream up."""
        self._closed = True
        await self._connection.send(_control(RST_STREAM, 0, struct.pack(">II", self.number, 5)))

    @property
    def buffered_bytes(self) -> int:
        """How much has arrived and was not read."""
        return self._buffered

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._chunks.append(data)
        self._buffered += len(data)
        self._arrived.set()

    def feed_end(self) -> None:
        """Take that nothing more arrives."""
        self._ended = True
        self._arrived.set()


class SPDYConnection:
    """The streams between one client and this server."""

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        pause: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """`write` sends bytes, `pause` stops (True) or resumes (False) the arrival of more."""
        self._write = write
        self._pause = pause
        self._is_paused = False
        self._buffer = bytearray()
        self._streams: dict[int, SPDYStream] = {}
        self._compress = zlib.compressobj(zdict=DICTIONARY)
        self._decompress = zlib.decompressobj(zdict=DICTIONARY)
        self._accepted: asyncio.Queue[SPDYStream | None] = asyncio.Queue(STREAMS_LIMIT + 1)
        self._replies: deque[bytes] = deque()
        self._sending = asyncio.Lock()
        self._is_closed = False

    async def accept(self) -> SPDYStream | None:
        """Return the next stream the client opens, or None once the connection has ended."""
        return await self._accepted.get()

    def check_pressure(self) -> None:
        """Let the transport read on once nothing is buffered in excess."""
        held = [stream.buffered_bytes for stream in self._streams.values()]
        is_full = sum(held) > SPDY_BUFFER.value or max(held, default=0) > SPDY_STREAM_BUFFER.value
        if is_full != self._is_paused:
            self._is_paused = is_full
            self._pause(is_full)

    async def send(self, frame: bytes) -> None:
        """Send a frame; frames of different streams do not mix."""
        if self._is_closed:
            return
        async with self._sending:
            try:
                while self._replies:
                    await self._write(self._replies.popleft())
                if frame:
                    await self._write(frame)
            except (ConnectionError, RuntimeError):
                self.feed_end()

    async def feed(self, data: bytes) -> None:
        """Take bytes from the client; raises SPDYViolation."""
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= 8:
            first, second = struct.unpack_from(">II", self._buffer, start)
            length = second & 0xFFFFFF
            if length > FRAME_LIMIT_BYTES:
                raise SPDYViolation("frame too large")
            if len(self._buffer) - start < 8 + length:
                break
            payload = bytes(self._buffer[start + 8 : start + 8 + length])
            start += 8 + length
            self._frame(first, second >> 24, payload)
        del self._buffer[:start]
        if self._replies:
            await self.send(b"")
        self.check_pressure()

    def feed_end(self) -> None:
        """Take that the client is gone."""
        if self._is_closed:
            return
        self._is_closed = True
        for stream in self._streams.values():
            stream.feed_end()
            stream.gone.set()
        self._accepted.put_nowait(None)

    def _frame(self, first: int, flags: int, payload: bytes) -> None:
        if not first >> 31:
            self._data(first, flags, payload)
            return
        if first >> 16 & 0x7FFF != VERSION:
            raise SPDYViolation("not SPDY/3")
        match first & 0xFFFF:
            case kind if kind == SYN_STREAM:
                self._open(flags, payload)
            case kind if kind == RST_STREAM:
                self._reset(payload)
            case kind if kind == PING:
                self._replies.append(_control(PING, 0, payload))
            case kind if kind == GOAWAY:
                self.feed_end()
            case kind if kind == HEADERS:
                # Further headers carry nothing that is used, but they are part of the compressed sequence.
                self._headers(payload[4:])
            case _:
                pass  # SETTINGS, WINDOW_UPDATE and what may be added: nothing to do

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        if payload:
            stream.feed(payload)
        if flags & FIN:
            stream.feed_end()

    def _open(self, flags: int, payload: bytes) -> None:
        if len(payload) < 10:
            raise SPDYViolation("SYN_STREAM too short")
        number = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
        headers = self._headers(payload[10:])
        if number in self._streams or len(self._streams) >= STREAMS_LIMIT:
            raise SPDYViolation("stream in use, or too many streams")
        stream = self._streams[number] = SPDYStream(self, number, headers)
        if flags & FIN:
            stream.feed_end()
        block = self._compress.compress(struct.pack(">I", 0)) + self._compress.flush(
            zlib.Z_SYNC_FLUSH
        )
        self._replies.append(_control(SYN_REPLY, 0, struct.pack(">I", number) + block))
        self._accepted.put_nowait(stream)

    def _reset(self, payload: bytes) -> None:
        if len(payload) < 4:
            raise SPDYViolation("RST_STREAM too short")
        stream = self._streams.pop(struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF, None)
        if stream is not None:
            stream.feed_end()
            stream.gone.set()

    def forget(self, stream: SPDYStream) -> None:
        """Drop a stream that has ended in both directions."""
        self._streams.pop(stream.number, None)
        self.check_pressure()

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._decompress.decompress(block, HEADERS_LIMIT_BYTES)
            if self._decompress.unconsumed_tail:
                raise SPDYViolation("headers too large")
            return _read_headers(plain)
        except (zlib.error, struct.error, IndexError) as error:
            raise SPDYViolation("headers do not parse") from error


def _read_headers(plain: bytes) -> dict[str, str]:
    (count,) = struct.unpack_from(">I", plain)
    place = 4
    texts: list[str] = []
    for _ in range(count * 2):
        (length,) = struct.unpack_from(">I", plain, place)
        place += 4
        if place + length > len(plain):
            raise IndexError
        texts.append(plain[place : place + length].decode("latin-1"))
        place += length
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _control(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, kind, flags << 24 | len(payload)) + payload
