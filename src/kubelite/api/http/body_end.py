"""Finds where the body of a backend's answer ends, while its bytes pass by unchanged (RFC 9112, 6.3).

A backend is asked to close after its answer, but it need not, and an upgrade that it refuses was not asked with that.
One that keeps its connection open would otherwise hold the relay until the client leaves.
"""

import re
from collections.abc import Sequence

CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
LENGTH = re.compile(r"[0-9]{1,18}")
LINE_BYTES_MAX = 16 * 1024  # of a chunk's size with its extensions, or of a trailer
BODILESS = frozenset({204, 304})


class BodyEnd:
    """Follows one body; a body whose framing is missing or broken ends with the connection."""

    def __init__(self, method: str, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """`headers` are those of the answer, `method` that of its request."""
        encodings = [value for name, value in headers if name.lower() == "transfer-encoding"]
        lengths = {value for name, value in headers if name.lower() == "content-length"}
        length = lengths.pop() if len(lengths) == 1 else ""
        self._chunked = bool(encodings) and encodings[-1].strip().lower() == "chunked"
        self._is_framed = True
        self._left = 0  # of the body, or of the chunk
        self._line = b""
        self._in_trailers = False
        self.ended = False
        if method == "HEAD" or status in BODILESS:
            self._chunked = False
        elif self._chunked:
            return
        elif not encodings and LENGTH.fullmatch(length):
            self._left = int(length)
        else:
            self._is_framed = False
        self.ended = self._is_framed and not self._left

    @property
    def is_framed(self) -> bool:
        """Whether the body ends by itself, and not with the connection."""
        return self._is_framed

    def take(self, data: bytes) -> bytes:
        """Return what of `data` belongs to the body."""
        place = 0
        while place < len(data) and not self.ended and self._is_framed:
            if self._left:
                step = min(self._left, len(data) - place)
                self._left -= step
                place += step
                self.ended = not self._chunked and not self._left
            else:
                place = self._take_line(data, place)
        return data[:place] if self._is_framed else data

    def _take_line(self, data: bytes, start: int) -> int:
        end = data.find(b"\n", start) + 1
        self._line += data[start : end or len(data)]
        if len(self._line) > LINE_BYTES_MAX:
            self._is_framed = False
            return len(data)
        if not end:
            return len(data)
        line, self._line = self._line.strip(), b""
        if self._in_trailers:
            self.ended = not line
        elif CHUNK_SIZE.fullmatch(size := line.partition(b";")[0].strip()):
            self._left = int(size, 16)
            self._in_trailers = not self._left
            self._left += 2 if self._left else 0  # the line's end behind a chunk
        else:
            self._is_framed = False
        return end
