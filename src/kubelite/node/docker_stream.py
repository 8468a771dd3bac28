"""A connection that the Docker engine gives to the streams of one exec or attach.

The engine answers ``Upgrade: tcp`` and from then on the connection carries input one way and output the other, output
in frames unless there is a terminal. Written on asyncio streams alone: closing must neither fail nor wait, whatever
the process at the other end does not read.
"""

import asyncio
import struct
from pathlib import Path

import msgspec

from kubelite.limits import ENGINE_STREAM_ANSWER
from kubelite.node.runtime import (
    ContainerNotFound,
    EngineUnavailable,
    RuntimeFailure,
    StreamName,
)
from kubelite.serving.closing import close_within_bounds

FRAME = struct.Struct(">BxxxL")
STDERR = 2
PIECE_BYTES = 64 * 1024
ANSWER_SECONDS = 120.0
NOT_FOUND = 404


class EngineStream:
    """The two directions of a hijacked connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tty: bool
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._tty = tty
        self._left_bytes = 0  # of the frame that is being read
        self._name: StreamName = "stdout"

    async def read(self) -> tuple[StreamName, bytes] | None:
        """Return the next output, None at the end; raises EngineUnavailable when the connection breaks."""
        try:
            while not self._tty and not self._left_bytes:
                number, self._left_bytes = FRAME.unpack(await self._reader.readexactly(FRAME.size))
                self._name = "stderr" if number == STDERR else "stdout"
            wanted = PIECE_BYTES if self._tty else min(self._left_bytes, PIECE_BYTES)
            data = await self._reader.read(wanted)
        except asyncio.IncompleteReadError:
            return None
        except OSError as error:
            raise EngineUnavailable(f"cannot talk to the Docker engine: {error}") from error
        if not data:
            return None
        if not self._tty:
            self._left_bytes -= len(data)
        return self._name, data

    async def write(self, data: bytes) -> None:
        """Send input; waits while the process does not read. Input for a process that has ended is dropped."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, RuntimeError):  # RuntimeError: the transport is closed, or its input is
            return

    def close_input(self) -> None:
        """Half-close the connection, which is end-of-file to the process."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    def close(self) -> None:
        """Let go; input that the process has not taken is flushed for a bounded time."""
        close_within_bounds(self._writer.transport)

    def abort(self) -> None:
        """Close the connection without waiting for buffers to drain."""
        self._writer.transport.abort()


async def open_stream(socket: Path, path: str, body: object, *, tty: bool) -> EngineStream:
    """Open the raw streams at a path of the engine's API; with a `tty` the output has no frames.

    Raises EngineUnavailable, RuntimeFailure with the engine's message, and ContainerNotFound.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=PIECE_BYTES)
            try:
                writer.write(_request(path, body))
                await _answer(reader)
            except BaseException:  # also a probe that has no time left
                writer.transport.abort()
                raise
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:  # TimeoutError is an OSError
        raise EngineUnavailable(f"cannot talk to the Docker engine: {error}") from error
    return EngineStream(reader, writer, tty=tty)


def _request(path: str, body: object) -> bytes:
    data = msgspec.json.encode(body)
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Connection: Upgrade",
        "Upgrade: tcp",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def _answer(reader: asyncio.StreamReader) -> None:
    """Wait for the engine's 101 response. Raises ContainerNotFound, RuntimeFailure with the engine's message."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *fields = head.split("\r\n")
    status = status_line.split(" ")[1] if " " in status_line else ""
    if status == "101":
        return
    length = ENGINE_STREAM_ANSWER.value
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "content-length" and value.strip().isdecimal():
            length = min(int(value), length)
    message = _message(await reader.read(length))
    if status == str(NOT_FOUND):
        raise ContainerNotFound(message)
    raise RuntimeFailure(message or f"the engine answered {status_line!r}")


class _Refusal(msgspec.Struct):
    message: str = ""


def _message(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Refusal).message
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace").strip()
