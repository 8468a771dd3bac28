"""Splits the log stream of the Docker API into entries: frames, or plain lines when there is a terminal."""

import re
import struct
from collections.abc import AsyncIterator, Iterator

from kubelite.limits import LOG_FRAME
from kubelite.node.runtime import LogEntry, StreamName

FRAME = struct.Struct(">BxxxL")
STDERR = 2
MESSAGE_BYTES = 16 * 1024  # the engine's buffer: a longer line is logged as several messages
STAMP_BYTES = 64  # more than any timestamp with the space after it
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d) ")


async def read_log(pieces: AsyncIterator[bytes], *, tty: bool) -> AsyncIterator[LogEntry]:
    """Yield each entry with the timestamp in front of it taken off.

    An entry longer than the engine's buffer (16 KB) comes in several, of which only the last ends a line.
    Raises ValueError on a stream that is none.
    """
    if tty:
        messages = _Messages()
        async for piece in pieces:
            for entry in messages.feed(piece):
                yield entry
        for entry in messages.feed(b"", is_end=True):
            yield entry
        return
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        for stream, line in _framed(buffer):
            yield _entry(stream, line)


def _framed(buffer: bytearray) -> list[tuple[StreamName, bytes]]:
    """Take the complete frames off the buffer."""
    found: list[tuple[StreamName, bytes]] = []
    start = 0
    while len(buffer) - start >= FRAME.size:
        number, length = FRAME.unpack_from(buffer, start)
        if length > LOG_FRAME.value:
            LOG_FRAME.reached()
            raise ValueError("the engine sent a frame beyond all limits")
        end = start + FRAME.size + length
        if len(buffer) < end:
            break
        name: StreamName = "stderr" if number == STDERR else "stdout"
        found.append((name, bytes(buffer[start + FRAME.size : end])))
        start = end
    del buffer[:start]
    return found


def _entry(stream: StreamName, line: bytes) -> LogEntry:
    timestamp, _, data = line.partition(b" ")
    return LogEntry(timestamp.decode("ascii", "replace"), stream, data)


class _Messages:
    """The messages in a terminal's log: a timestamp, then up to 16 KB that end with a line feed or are full.

    A terminal's output need not have line feeds, so no more than one message is buffered and searched.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._timestamp = ""
        self._searched = 0  # bytes of the message that are known to have no line feed
        self._is_line_start = True
        self._is_inside = False  # whether the timestamp has been taken off

    def feed(self, piece: bytes, *, is_end: bool = False) -> Iterator[LogEntry]:
        """Yield the messages that are complete now; at the end of the stream also the last one."""
        self._buffer += piece
        start = 0
        while start < len(self._buffer):
            if not self._is_inside:
                if len(self._buffer) - start < STAMP_BYTES and not self._has_line(start, is_end):
                    break
                start = self._take_stamp(start)
            end = self._end(start, is_end)
            if end == 0:
                break
            if data := bytes(self._buffer[start:end]):
                yield LogEntry(self._timestamp, "stdout", data)
                self._is_line_start = data.endswith(b"\n")
            start, self._searched, self._is_inside = end, 0, False
        del self._buffer[:start]

    def _has_line(self, start: int, is_end: bool) -> bool:
        return is_end or self._buffer.find(b"\n", start) >= 0

    def _take_stamp(self, start: int) -> int:
        """Return where the message begins after its timestamp.

        The engine splits output at 16 KB, but bytes that are not UTF-8 get longer in its log: a piece without a
        timestamp continues the message before it.
        """
        self._is_inside = True
        head = bytes(self._buffer[start : start + STAMP_BYTES])
        stamp, space, _ = head.partition(b" ")
        if not space or b"\n" in stamp or not (self._is_line_start or _STAMP.match(head)):
            return start
        self._timestamp = stamp.decode("ascii", "replace")
        return start + len(stamp) + 1

    def _end(self, start: int, is_end: bool) -> int:
        """Return where the message ends, 0 if that is not known yet."""
        limit = start + MESSAGE_BYTES
        line_feed = self._buffer.find(b"\n", start + self._searched, limit)
        if line_feed >= 0:
            return line_feed + 1
        if len(self._buffer) >= limit:
            return limit
        self._searched = len(self._buffer) - start
        return len(self._buffer) if is_end else 0
