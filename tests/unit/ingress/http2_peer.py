"""A client of HTTP/2 for tests, frame by frame, so that it can also break the rules."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from kubelite.grpc import frames
from kubelite.grpc.frames import FrameReader, pack_frame, pack_number, pack_settings
from kubelite.grpc.hpack import Header, HeaderDecoder, encode_headers

GET: Sequence[Header] = (
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "web"),
    (":path", "/x"),
)


def fields_for(path: str = "/x", method: str = "GET", *more: Header) -> list[Header]:
    return [(":method", method), (":scheme", "http"), (":authority", "web"), (":path", path), *more]


class Answer:
    """What came on one stream."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.trailers: dict[str, str] = {}
        self.body = b""
        self.is_ended = False
        self.reset_code: int | None = None


class Peer:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.answers: dict[int, Answer] = {}
        self.goaway: int | None = None
        self.settings: dict[int, int] = {}
        self.kinds: list[int] = []
        self.credits = True  # whether windows are reopened
        self._frames = FrameReader()
        self._decoder = HeaderDecoder()

    def send(self, *parts: bytes) -> None:
        with suppress(ConnectionError):
            self.writer.write(b"".join(parts))

    def greet(self, settings: dict[int, int] | None = None) -> None:
        self.send(frames.PREFACE, pack_settings(settings or {}))

    def request(self, number: int, fields: Sequence[Header] = GET, *, end: bool = True) -> None:
        flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
        self.send(pack_frame(frames.HEADERS, flags, number, encode_headers(list(fields))))

    def data(self, number: int, content: bytes, *, end: bool = False) -> None:
        flags = frames.END_STREAM if end else 0
        self.send(pack_frame(frames.DATA, flags, number, content))

    def reset(self, number: int) -> None:
        self.send(pack_frame(frames.RST_STREAM, 0, number, pack_number(8)))

    async def read(self) -> bool:
        """Take what comes next; False at the end."""
        try:
            data = await self.reader.read(65536)
        except ConnectionError:
            return False
        for kind, flags, number, payload in self._frames.feed(data):
            self._take(kind, flags, number, payload)
        return bool(data)

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self.kinds.append(kind)
        answer = self.answers.setdefault(number, Answer()) if number else Answer()
        if kind == frames.HEADERS:
            fields = dict(self._decoder.decode(payload))
            if fields.get(":status") == "100":
                return
            if answer.fields:
                answer.trailers = fields
            else:
                answer.fields = fields
        elif kind == frames.DATA:
            answer.body += payload
            if self.credits and payload:
                for one in (0, number):
                    size = pack_number(len(payload))
                    self.send(pack_frame(frames.WINDOW_UPDATE, 0, one, size))
        elif kind == frames.RST_STREAM:
            answer.reset_code = frames.unpack_number(payload)
        elif kind == frames.GOAWAY:
            self.goaway = frames.unpack_number(payload[4:])
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            self.settings = frames.unpack_settings(payload)
        if kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM:
            answer.is_ended = True

    async def answer(self, number: int) -> Answer:
        """Read until a stream is over."""
        async with asyncio.timeout(10):
            while True:
                found = self.answers.get(number)
                if found is not None and (found.is_ended or found.reset_code is not None):
                    return found
                if not await self.read():
                    raise ConnectionError("it has ended")

    async def end(self) -> int | None:
        """Read until the connection is over; return the code of its GOAWAY."""
        async with asyncio.timeout(10):
            while await self.read():
                pass
        return self.goaway

    def close(self) -> None:
        self.writer.close()
