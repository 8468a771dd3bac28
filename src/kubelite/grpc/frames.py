"""The frames of HTTP/2 (RFC 9113): their layout, and a reader that takes bytes as they arrive."""

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32
SETTING_ENABLE_PUSH, SETTING_STREAMS_MAX, SETTING_WINDOW = 2, 3, 4
SETTING_FRAME_MAX, SETTING_HEADERS_MAX = 5, 6
FRAME_BYTES_MAX: Final = 16_384  # what neither side raises
WINDOW_BYTES: Final = 65_535  # of a connection and of each stream before any setting
WINDOW_BYTES_MAX: Final = (1 << 31) - 1
FIXED_SIZES: Final = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_HEAD = struct.Struct(">BHBBL")  # length in 8 + 16 bits, type, flags, stream
_SETTING = struct.Struct(">HL")

Frame = tuple[int, int, int, bytes]  # type, flags, stream, payload


class ErrorCode(IntEnum):
    """Why a stream or a connection ends."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionViolation(Exception):
    """The peer broke the protocol or a bound in a way that ends the connection."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def pack_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Encode a frame."""
    length = len(payload)
    return _HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream) + payload


def pack_settings(settings: dict[int, int]) -> bytes:
    """Encode a SETTINGS frame."""
    payload = b"".join(_SETTING.pack(name, value) for name, value in settings.items())
    return pack_frame(SETTINGS, 0, 0, payload)


def unpack_settings(payload: bytes) -> dict[int, int]:
    """Return the settings of a frame; of one that is repeated, the last. Raises ConnectionViolation."""
    if len(payload) % _SETTING.size:
        raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS has an invalid size")
    return dict(_SETTING.iter_unpack(payload))


def pack_number(number: int) -> bytes:
    """Encode an error code or a window increment."""
    return number.to_bytes(4, "big")


def unpack_number(payload: bytes) -> int:
    """Decode the first 31 bits of a payload."""
    return int.from_bytes(payload[:4], "big") & WINDOW_BYTES_MAX


def without_padding(flags: int, payload: bytes) -> bytes:
    """Return what a DATA or HEADERS frame carries. Raises ConnectionViolation."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "a frame has more padding than bytes")
    return payload[1 : len(payload) - payload[0]]


class FrameReader:
    """Splits received bytes into frames; it holds at most one that is incomplete."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete now. Raises ConnectionViolation for one of an invalid size."""
        pending = self._pending
        pending += data
        frames: list[Frame] = []
        position = 0
        while len(pending) - position >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(pending, position)
            length = high << 16 | low
            if length > FRAME_BYTES_MAX or FIXED_SIZES.get(kind, length) != length:
                raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, "a frame has an invalid size")
            start = position + _HEAD.size
            if start + length > len(pending):
                break
            position = start + length
            frames.append((kind, flags, stream & WINDOW_BYTES_MAX, bytes(pending[start:position])))
        del pending[:position]
        return frames
