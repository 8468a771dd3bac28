"""Frames of a tunnel: ``type u8, stream u32, length u24``, big-endian, and the payload.

Streams are numbered from 1, upwards, by the end that opens them. Stream 0 is the tunnel itself and carries PING and
PONG only. Nothing here does I/O.
"""

import struct
from enum import IntEnum

from msgspec import Struct

HEAD = struct.Struct(">BI")  # the length follows, in 3 bytes
HEAD_BYTES = HEAD.size + 3
FRAME_BYTES_MAX = 16 * 1024  # one TLS record, so that a frame is never split into two
PAYLOAD_BYTES_MAX = FRAME_BYTES_MAX - HEAD_BYTES
STREAM_MAX = 0xFFFF_FFFF
CREDIT = struct.Struct(">I")
TARGET_BYTES_MAX = 300  # a host name has 253 at most
TEXT_BYTES_MAX = 1024
PING_BYTES_MAX = 8


class FrameType(IntEnum):
    """What a frame means."""

    OPEN = 1  # payload: the target, as ``host:port`` or a name
    OPENED = 2
    FAILED = 3  # payload: why the target was not reached
    DATA = 4
    WINDOW = 5  # payload: how many bytes more may be sent, u32
    END = 6  # no DATA follows (half close)
    RESET = 7  # the stream has ended both ways; payload: why
    PING = 8
    PONG = 9  # payload: that of the PING


# The shortest and the longest payload of each type, in bytes.
PAYLOADS = {
    FrameType.OPEN: (1, TARGET_BYTES_MAX),
    FrameType.OPENED: (0, 0),
    FrameType.FAILED: (0, TEXT_BYTES_MAX),
    FrameType.DATA: (1, PAYLOAD_BYTES_MAX),
    FrameType.WINDOW: (CREDIT.size, CREDIT.size),
    FrameType.END: (0, 0),
    FrameType.RESET: (0, TEXT_BYTES_MAX),
    FrameType.PING: (0, PING_BYTES_MAX),
    FrameType.PONG: (0, PING_BYTES_MAX),
}
OF_TUNNEL = frozenset({FrameType.PING, FrameType.PONG})


class BrokenTunnel(Exception):
    """The other end broke the protocol, so the whole tunnel must end; the message says how."""


class Frame(Struct, frozen=True):
    """One frame."""

    type: FrameType
    stream: int
    payload: bytes = b""

    @property
    def text(self) -> str:
        """The payload as printable text of one line; the other end may have sent any bytes."""
        words = self.payload.decode("utf-8", "replace").split()
        return "".join(one if one.isprintable() else "�" for one in " ".join(words))

    @property
    def credit(self) -> int:
        """The bytes that a WINDOW grants."""
        (credit,) = CREDIT.unpack(self.payload)
        return int(credit)


def encode(frame_type: FrameType, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """Encode a frame; `payload` must be one that `PAYLOADS` allows."""
    size = len(payload)
    shortest, longest = PAYLOADS[frame_type]
    assert shortest <= size <= longest, f"{frame_type.name} of {size} bytes"
    return b"".join((HEAD.pack(frame_type, stream), size.to_bytes(3, "big"), payload))


def encode_text(frame_type: FrameType, stream: int, text: str) -> bytes:
    """Encode a frame whose payload is text, cut to TEXT_BYTES_MAX."""
    cut = text.encode("utf-8", "replace")[:TEXT_BYTES_MAX].decode("utf-8", "ignore")
    return encode(frame_type, stream, cut.encode())


class FrameReader:
    """Splits what is received into frames; holds less than one frame."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete, in order. Raises BrokenTunnel for what is no frame."""
        if self._rest:
            data = self._rest + data
        frames = []
        at, end = 0, len(data)
        while at + HEAD_BYTES <= end:
            frame_type, stream, size = _head(data, at)
            if at + HEAD_BYTES + size > end:
                break
            frames.append(Frame(frame_type, stream, data[at + HEAD_BYTES : at + HEAD_BYTES + size]))
            at += HEAD_BYTES + size
        self._rest = data[at:]
        return frames


def _head(data: bytes, at: int) -> tuple[FrameType, int, int]:
    number, stream = HEAD.unpack_from(data, at)
    size = int.from_bytes(data[at + HEAD.size : at + HEAD_BYTES], "big")
    try:
        frame_type = FrameType(number)
    except ValueError:
        raise BrokenTunnel(f"a frame has the unknown type {number}") from None
    shortest, longest = PAYLOADS[frame_type]
    if not shortest <= size <= longest:
        raise BrokenTunnel(f"{frame_type.name} has a payload of {size} bytes")
    if (stream == 0) != (frame_type in OF_TUNNEL):
        raise BrokenTunnel(f"{frame_type.name} names stream {stream}")
    return frame_type, stream, size
