"""Both sides of SPDY/3.1, as far as kubectl and engines speak it for exec, attach and port-forward.

Sans I/O towards the socket: bytes go in by `feed` and out by the `write` that was given, so the same connection runs on
an upgraded HTTP connection and in a WebSocket. Window updates are neither sent nor obeyed, since kubectl sends none:
what slows a fast sender down is the transport's own back-pressure. A peer may send frames as small, as many and as
well compressed as it likes, so all that is kept for it is counted, and the loop gets its turn between frames.
Source: SPDY Protocol Draft 3.1 (chromium.org).
"""

import asyncio
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from kubelite.limits import (
    SPDY_BACKLOG,
    SPDY_FRAME,
    SPDY_HEADERS,
    SPDY_STREAM_UNREAD,
    SPDY_STREAMS,
    SPDY_UNREAD,
)

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
PIECE_BYTES = 128 * 1024  # of data in a frame that is sent
CHUNK_BYTES = (
    16 * 1024
)  # smaller frames are joined in one buffer, since each buffer costs a hundred bytes
REPLIES_MAX = 256  # that wait for a client that does not read
TURN_FRAMES = 64  # after which the loop gets its turn

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
        self._chunks: deque[bytearray] = deque()
        self._unread_bytes = 0
        self._ended = False
        self._closed = False
        self._arrived = asyncio.Event()
        self.gone = asyncio.Event()  # set when the stream was given up, or the connection lost

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end."""
        while not self._chunks and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        return self.take()

    def take(self) -> bytes:
        """Return the next bytes that have arrived; empty if there are none now."""
        if not self._chunks:
            return b""
        data = self._chunks.popleft()
        self._count(-len(data))
        self._connection.check_pressure()
        return bytes(data)

    @property
    def is_over(self) -> bool:
        """Whether all was read and nothing more arrives."""
        return self._ended and not self._chunks

    def share_arrival(self, arrived: asyncio.Event) -> None:
        """Have `arrived` set when bytes or the end arrive, so that one reader can wait for several streams."""
        self._arrived = arrived

    async def write(self, data: bytes) -> None:
        """Send data; waits while the other side does not read."""
        if self._closed:
            return
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            await self._connection.send(struct.pack(">II", self.number, len(piece)) + piece)

    async def close(self) -> None:
        """Send no more on this stream."""
        if not self._closed:
            self._closed = True
            await self._connection.send(struct.pack(">II", self.number, FIN << 24))

    async def reset(self) -> None:
        """Close the stream in both directions, with RST_STREAM (CANCEL)."""
        self._closed = True
        await self._connection.send(_control(RST_STREAM, 0, struct.pack(">II", self.number, 5)))

    def feed(self, data: bytes) -> None:
        """Append bytes that arrived."""
        if self._chunks and len(self._chunks[-1]) + len(data) <= CHUNK_BYTES:
            self._chunks[-1] += data
        else:
            self._chunks.append(bytearray(data))
        self._count(len(data))
        self._arrived.set()

    def _count(self, change_bytes: int) -> None:
        was_full = self._unread_bytes > SPDY_STREAM_UNREAD.value
        self._unread_bytes += change_bytes
        is_full = self._unread_bytes > SPDY_STREAM_UNREAD.value
        self._connection.count_unread(change_bytes, is_full - was_full)

    def abort(self) -> None:
        """Handle a client's RST_STREAM: unread bytes are dropped, and nothing more is sent."""
        self._chunks.clear()
        self._count(-self._unread_bytes)
        self.end()

    def end(self) -> None:
        """Handle a server's RST_STREAM: unread bytes stay, nothing more arrives, and nothing more is sent."""
        self._closed = True
        self.feed_end()
        self.gone.set()

    def feed_end(self) -> None:
        """Take that nothing more arrives."""
        self._ended = True
        self._arrived.set()


class SPDYConnection:
    """The streams between one client and one server; this process is either."""

    def __init__(
        self,
        write: Callable[[bytes], Awaitable[None]],
        pause: Callable[[bool], None] = lambda _: None,
        *,
        is_client: bool = False,
    ) -> None:
        """`write` sends bytes, `pause` stops (True) or resumes (False) the arrival of more."""
        self._is_client = is_client
        self._last_opened = -1  # the client's streams have odd numbers
        self._write = write
        self._pause = pause
        self._is_paused = False
        self._buffer = bytearray()
        self._streams: dict[int, SPDYStream] = {}
        self._compress = zlib.compressobj(zdict=DICTIONARY)
        self._decompress = zlib.decompressobj(zdict=DICTIONARY)
        self._accepted: asyncio.Queue[SPDYStream | None] = asyncio.Queue(SPDY_BACKLOG.value + 1)
        self._unread_bytes = 0  # of all streams
        self._full_streams = 0
        self._replies: deque[bytes] = deque()
        self._sending = asyncio.Lock()
        self._is_closed = False
        self._unanswered: set[int] = set()  # streams that were opened
        self._answered = asyncio.Event()

    async def accept(self) -> SPDYStream | None:
        """Return the next stream the client opens, or None once the connection has ended."""
        return await self._accepted.get()

    async def open(self, headers: Mapping[str, str]) -> SPDYStream:
        """Open a stream as the client; `answered` waits for the reply."""
        assert self._is_client, "streams are opened by the client"
        self._last_opened += 2
        stream = self._streams[self._last_opened] = SPDYStream(self, self._last_opened, headers)
        self._unanswered.add(stream.number)
        if self._is_closed:
            stream.end()
        # Compressed in the order of sending, which both sides' compressors need.
        block = self._compressed(headers)
        await self.send(_control(SYN_STREAM, 0, struct.pack(">IIH", stream.number, 0, 0) + block))
        return stream

    async def answered(self) -> bool:
        """Wait until the server has answered for each stream that was opened; False if the connection ended before."""
        while self._unanswered and not self._is_closed:
            self._answered.clear()
            await self._answered.wait()
        return not self._unanswered

    def _take_answer(self, number: int) -> None:
        self._unanswered.discard(number)
        if not self._unanswered:
            self._answered.set()

    def count_unread(self, change_bytes: int, change_full_streams: int) -> None:
        """Change the numbers of unread bytes and of full streams, which are sums over all streams."""
        self._unread_bytes += change_bytes
        self._full_streams += change_full_streams

    def check_pressure(self) -> None:
        """Stop the transport while more is unread than should be, and let it read on after that."""
        is_over = self._unread_bytes > SPDY_UNREAD.value
        wants_pause = is_over or self._full_streams > 0
        if wants_pause != self._is_paused:
            self._is_paused = wants_pause
            if wants_pause:
                (SPDY_UNREAD if is_over else SPDY_STREAM_UNREAD).reached()
            self._pause(wants_pause)

    async def send(self, frame: bytes) -> None:
        """Send a frame; frames of different streams do not mix."""
        if self._is_closed:
            return
        async with self._sending:
            try:
                await self._send_replies()
                if frame:
                    await self._write(frame)
                    await self._send_replies()
            except (ConnectionError, RuntimeError):
                self.feed_end()

    async def _send_replies(self) -> None:
        while self._replies:
            await self._write(self._replies.popleft())

    async def _flush(self) -> None:
        """Send replies, but behind what the client does not read only when they are many: its input goes on."""
        if self._replies and (not self._sending.locked() or len(self._replies) > REPLIES_MAX):
            await self.send(b"")

    async def feed(self, data: bytes) -> None:
        """Take bytes from the other side; raises SPDYViolation."""
        self._buffer += data
        start = count = 0
        while not self._is_closed and len(self._buffer) - start >= 8:
            first, second = struct.unpack_from(">II", self._buffer, start)
            length = second & 0xFFFFFF
            if length > SPDY_FRAME.value:
                SPDY_FRAME.reached()
                raise SPDYViolation("frame too large")
            if len(self._buffer) - start < 8 + length:
                break
            payload = bytes(self._buffer[start + 8 : start + 8 + length])
            start += 8 + length
            self._frame(first, second >> 24, payload)
            count += 1
            if count % TURN_FRAMES == 0:
                await self._flush()
                await asyncio.sleep(0)
        del self._buffer[:start]
        await self._flush()
        self.check_pressure()

    def feed_end(self) -> None:
        """Handle the end of the connection."""
        if self._is_closed:
            return
        self._is_closed = True
        self._answered.set()
        for stream in self._streams.values():
            stream.feed_end()
            stream.gone.set()
        # The backlog has one place more than streams may take.
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
            case kind if kind == SYN_REPLY:
                self._reply(flags, payload)
            case kind if kind == RST_STREAM:
                self._reset(payload)
            case kind if kind == PING:
                self._replies.append(_control(PING, 0, payload))
            case kind if kind == GOAWAY:
                self.feed_end()
            case kind if kind == HEADERS:
                # Further headers carry nothing that is used, but they are part of the compressed sequence.
                self._plain_headers(payload[4:])
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

    def _reply(self, flags: int, payload: bytes) -> None:
        """Take that the server has accepted a stream; a client's own replies mean nothing."""
        if len(payload) < 4:
            raise SPDYViolation("SYN_REPLY too short")
        self._plain_headers(payload[4:])  # part of the compressed sequence
        number = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
        self._take_answer(number)
        stream = self._streams.get(number)
        if flags & FIN and stream is not None:
            stream.feed_end()

    def _open(self, flags: int, payload: bytes) -> None:
        if self._is_client:
            raise SPDYViolation("a server opens no streams")
        if len(payload) < 10:
            raise SPDYViolation("SYN_STREAM too short")
        number = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
        headers = self._headers(payload[10:])
        if number in self._streams:
            raise SPDYViolation("stream in use")
        for limit, has in (
            (SPDY_STREAMS, len(self._streams)),
            (SPDY_BACKLOG, self._accepted.qsize()),
        ):
            if has >= limit.value:
                limit.reached()
                raise SPDYViolation("too many streams")
        stream = self._streams[number] = SPDYStream(self, number, headers)
        if flags & FIN:
            stream.feed_end()
        block = self._compressed({})
        self._replies.append(_control(SYN_REPLY, 0, struct.pack(">I", number) + block))
        self._accepted.put_nowait(stream)

    def _reset(self, payload: bytes) -> None:
        if len(payload) < 4:
            raise SPDYViolation("RST_STREAM too short")
        number = struct.unpack_from(">I", payload)[0] & 0x7FFFFFFF
        self._take_answer(number)
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        if self._is_client:
            # A server resets its streams to close them, right behind the last of their data.
            stream.end()
        else:
            stream.abort()

    def _compressed(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers)) + b"".join(
            struct.pack(">I", len(text)) + text
            for pair in headers.items()
            for text in (part.encode("latin-1") for part in pair)
        )
        return self._compress.compress(plain) + self._compress.flush(zlib.Z_SYNC_FLUSH)

    def forget(self, stream: SPDYStream) -> None:
        """Drop a stream that has ended in both directions, with its unread bytes."""
        self._streams.pop(stream.number, None)
        stream.abort()
        self.check_pressure()

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            return _read_headers(self._plain_headers(block))
        except (struct.error, IndexError) as error:
            raise SPDYViolation("headers do not parse") from error

    def _plain_headers(self, block: bytes) -> bytes:
        try:
            plain = self._decompress.decompress(block, SPDY_HEADERS.value)
        except zlib.error as error:
            raise SPDYViolation("headers do not parse") from error
        if self._decompress.unconsumed_tail or len(plain) >= SPDY_HEADERS.value:
            SPDY_HEADERS.reached()
            raise SPDYViolation("headers too large")
        return plain


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
