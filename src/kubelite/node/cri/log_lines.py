"""The lines of a log file in the format of the CRI; pure.

A line is ``TIME STREAM TAGS TEXT``: RFC 3339 with up to nine decimals, stdout or stderr, tags separated by colons of
which the first is F (a whole line, or the last part of one) or P (a part to which more will come).
Source: k8s.io/cri-client (logs), keps/sig-node on the format.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from kubelite.api.machinery.times import parse_time
from kubelite.limits import LOG_PIECE
from kubelite.node.runtime import LogEntry, StreamName

_LINE = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) (stdout|stderr) ([!-~]{1,64}) "
).match
HEAD_BYTES = 160  # more than the longest head
_NAMES: dict[bytes, StreamName] = {b"stdout": "stdout", b"stderr": "stderr"}


class LineReader:
    """Cuts the bytes of a file into entries. Lines in another form are dropped, as the kubelet drops them.

    Of a line beyond all measure the parts are given as they come, so that no more than `LOG_PIECE` is kept of it.
    """

    def __init__(self, since: datetime | None = None) -> None:
        """Entries before `since` are dropped."""
        self._rest = b""
        self._inside: LogEntry | None = None  # the head of a line whose parts are given already
        self._is_dropped = False  # whether the parts of the line under way are dropped
        self._is_whole = True
        self._since = since
        self._since_text = "" if since is None else _utc_text(since)
        self.last = ""  # timestamp of the last entry
        self.after = ""  # entries up to this timestamp are dropped, since they were given before

    def feed(self, data: bytes) -> Iterator[LogEntry]:
        """Yield the entries of the lines that are complete now."""
        *lines, rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        self._rest = rest
        for line in lines:
            if (entry := self._entry(line, is_end=True)) is not None:
                yield entry
        if len(self._rest) > LOG_PIECE.value:
            LOG_PIECE.reached()
            part, self._rest = self._rest, b""
            if (entry := self._entry(part, is_end=False)) is not None:
                yield entry

    def end(self) -> Iterator[LogEntry]:
        """Yield what there is of a last line that has no end, and begin anew."""
        line, self._rest = self._rest, b""
        entry = self._entry(line, is_end=True) if line else None
        self._inside, self._is_dropped = None, False
        if entry is not None:
            yield LogEntry(entry.timestamp, entry.stream, entry.data.removesuffix(b"\n"))

    def _entry(self, line: bytes, *, is_end: bool) -> LogEntry | None:
        if self._inside is None and not self._is_dropped:
            entry = self._parsed(line)
            self._is_dropped = entry is None
        elif self._inside is not None:
            entry = LogEntry(self._inside.timestamp, self._inside.stream, line)
        else:
            entry = None
        if is_end:
            if entry is not None and self._is_whole:
                entry = LogEntry(entry.timestamp, entry.stream, entry.data + b"\n")
            self._inside, self._is_dropped = None, False
        else:
            self._inside = (
                LogEntry(entry.timestamp, entry.stream, b"") if entry is not None else None
            )
        return entry

    def _parsed(self, line: bytes) -> LogEntry | None:
        found = _LINE(line, 0, HEAD_BYTES)
        if found is None:
            return None
        date, fraction, zone, stream, tags = found.groups()
        timestamp = f"{date.decode()}.{(fraction or b'').ljust(9, b'0').decode()}{zone.decode()}"
        if (self._since is not None or self.after) and self._is_early(timestamp):
            return None
        self.last, self.after = timestamp, ""
        self._is_whole = tags.partition(b":")[0] != b"P"
        return LogEntry(timestamp, _NAMES[stream], line[found.end() :])

    def _is_early(self, timestamp: str) -> bool:
        if self.after and timestamp[29:] == self.after[29:] and timestamp <= self.after:
            return True
        if self._since is None:
            return False
        if timestamp.endswith("Z"):
            return timestamp < self._since_text
        try:
            return parse_time(timestamp) < self._since
        except ValueError:
            return False


def _utc_text(date: datetime) -> str:
    return f"{date.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z"
