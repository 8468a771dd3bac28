"""Splits the log stream of the Docker API into entries: frames, or plain lines when there is a terminal."""

import struct
from collections.abc import AsyncIterator

from kubelite.node.runtime import LogEntry, StreamName

FRAME = struct.Struct(">BxxxL")
FRAME_LIMIT_BYTES = 16 * 1024 * 1024
STDERR = 2


async def read_log(pieces: AsyncIterator[bytes], *, tty: bool) -> AsyncIterator[LogEntry]:
    """Yield each entry with the timestamp in front of it taken off.

    An entry longer than the engine's buffer (16 KB) comes in several, of which only the last ends a line.
    Raises ValueError on a stream that is none.
    """
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        for stream, line in _plain(buffer) if tty else _framed(buffer):
            yield _entry(stream, line)
    if tty and buffer:
        yield _entry("stdout", bytes(buffer))


def _framed(buffer: bytearray) -> list[tuple[StreamName, bytes]]:
    """Take the complete frames off the buffer."""
    found: list[tuple[StreamName, bytes]] = []
    start = 0
    while len(buffer) - start >= FRAME.size:
        number, length = FRAME.unpack_from(buffer, start)
        if length > FRAME_LIMIT_BYTES:
            raise ValueError("the engine sent a frame beyond all limits")
        end = start + FRAME.size + length
        if len(buffer) < end:
            break
        name: StreamName = "stderr" if number == STDERR else "stdout"
        found.append((name, bytes(buffer[start + FRAME.size : end])))
        start = end
    del buffer[:start]
    return found


def _plain(buffer: bytearray) -> list[tuple[StreamName, bytes]]:
    end = buffer.rfind(b"\n") + 1
    if not end:
        return []
    lines = bytes(buffer[:end]).splitlines(keepends=True)
    del buffer[:end]
    return [("stdout", line) for line in lines]


def _entry(stream: StreamName, line: bytes) -> LogEntry:
    timestamp, _, data = line.partition(b" ")
    return LogEntry(timestamp.decode("ascii", "replace"), stream, data)
