"""Asks whether an engine of CRI answers on a socket, by one call of its Version.

That HTTP/2 is spoken there would not do: the containerd that comes with Docker may have its CRI part switched off, and
one that has just started refuses all calls until it has recovered its sandboxes.
"""

import asyncio
import struct
from pathlib import Path
from typing import Final

ANSWER_SECONDS = 2.0
FRAME: Final = struct.Struct(">BHBBI")  # length in 24 bits, type, flags, stream
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAMES_MAX = 16  # before the answer come settings, an acknowledgement and the like
FRAME_BYTES_MAX = 1 << 14
_FIELDS: Final = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/runtime.v1.RuntimeService/Version"),
    (b":authority", b"localhost"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    size = len(payload)
    return FRAME.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def _request() -> bytes:
    """Return the preface and a call of Version with an empty message; its header fields are literal."""
    block = b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in _FIELDS
    )
    return b"".join(
        (
            PREFACE,
            _frame(SETTINGS, 0, 0, b""),
            _frame(HEADERS, END_HEADERS, 1, block),
            _frame(DATA, END_STREAM, 1, bytes(5)),
        )
    )


async def cri_answers(socket: Path) -> bool:
    """Return whether an engine of CRI answers on a socket, within `ANSWER_SECONDS`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(_request())
                return await _has_message(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def _has_message(reader: asyncio.StreamReader) -> bool:
    """Return whether the call is answered by a message; a refusal has trailers alone."""
    for _ in range(FRAMES_MAX):
        high, low, kind, flags, stream = FRAME.unpack(await reader.readexactly(FRAME.size))
        size = high << 16 | low
        if size > FRAME_BYTES_MAX:
            return False
        await reader.readexactly(size)
        if stream == 1 and kind in (DATA, HEADERS):
            if kind == DATA and size:
                return True
            if flags & END_STREAM:
                return False
    return False
