"""Joins the frames that hold the headers of one message: HEADERS, and the CONTINUATIONs that must follow it at once."""

from typing import NamedTuple

from kubelite.grpc import frames
from kubelite.grpc.frames import ConnectionViolation, ErrorCode
from kubelite.limits import Limit


class HeaderBlock(NamedTuple):
    """The compressed headers of a stream's message; `is_end`: no data follow."""

    number: int
    is_end: bool
    data: bytes


class HeaderBlocks:
    """The header blocks that a peer sends, one after the other."""

    def __init__(self, limit: Limit, continuations_max: int) -> None:
        """`limit` is that of a block's bytes; empty continuations cost their sender nothing, so they are counted."""
        self._limit = limit
        self._continuations_max = continuations_max
        self._number = 0  # of the stream whose block is open; 0: none is
        self._flags = 0  # of its HEADERS
        self._data = bytearray()
        self._count = 0

    @property
    def is_open(self) -> bool:
        """Whether a block has begun and not ended."""
        return self._number != 0

    def check(self, kind: int, number: int) -> None:
        """Check a frame that came: nothing may come between the frames of a block. Raises ConnectionViolation."""
        if self._number and (kind != frames.CONTINUATION or number != self._number):
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "a header block is interrupted")

    def begin(self, flags: int, number: int, payload: bytes) -> HeaderBlock | None:
        """Take a HEADERS frame; return the block if that is all of it. Raises ConnectionViolation."""
        data = frames.without_padding(flags, payload)
        if flags & frames.HAS_PRIORITY:
            size = frames.FIXED_SIZES[frames.PRIORITY]
            if len(data) < size:
                raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, "HEADERS is cut off")
            data = data[size:]
        self._number, self._flags, self._data, self._count = number, flags, bytearray(), 0
        return self.go_on(flags, data)

    def go_on(self, flags: int, payload: bytes) -> HeaderBlock | None:
        """Take a CONTINUATION frame; return the block if it is the last. Raises ConnectionViolation."""
        if not self._number:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "CONTINUATION has no HEADERS")
        self._data += payload
        if len(self._data) > self._limit.value or self._count > self._continuations_max:
            self._limit.reached()
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "the headers are too large")
        self._count += 1
        if not flags & frames.END_HEADERS:
            return None
        number, self._number = self._number, 0
        return HeaderBlock(number, bool(self._flags & frames.END_STREAM), bytes(self._data))
