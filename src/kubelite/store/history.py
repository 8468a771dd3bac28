"""The window of recent changes: what watches resume from, and lists at an earlier revision.

The window is bounded by number, age and bytes. What leaves it is gone: asking for it raises Compacted.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence

from msgspec import Struct

from kubelite.store.index import segment_of
from kubelite.store.protocol import Change, Entry


class Record(Struct, frozen=True):
    """A change, and the entry it replaced."""

    change: Change
    replaced: Entry | None
    at: float  # seconds since the epoch

    @property
    def size_bytes(self) -> int:
        """Memory that only the window keeps alive."""
        return len(self.replaced.value) if self.replaced else 0


class Limits(Struct, frozen=True):
    """How much of the past is kept."""

    changes: int = 20_000
    seconds: float = 300.0
    bytes: int = 64 * 1024 * 1024


class History:
    """The changes after revision `floor`, oldest first."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._records: deque[Record] = deque()
        self._segments: dict[str, list[Record]] = {}
        self._bytes = 0
        self.floor = 0  # changes up to and including this revision are forgotten

    def __len__(self) -> int:
        return len(self._records)

    def append(self, record: Record) -> None:
        """Add the newest change."""
        self._records.append(record)
        self._segments.setdefault(segment_of(record.change.key), []).append(record)
        self._bytes += record.size_bytes

    def compact(self, now: float) -> None:
        """Forget what is past a limit."""
        limits, records = self._limits, self._records
        dropped: dict[str, int] = {}
        while records and (
            len(records) > limits.changes
            or self._bytes > limits.bytes
            or records[0].at + limits.seconds <= now
        ):
            oldest = records.popleft()
            self._bytes -= oldest.size_bytes
            self.floor = oldest.change.revision
            segment = segment_of(oldest.change.key)
            dropped[segment] = dropped.get(segment, 0) + 1
        for segment, number in dropped.items():
            del self._segments[segment][:number]
            if not self._segments[segment]:
                del self._segments[segment]

    def expires_in(self, now: float) -> float | None:
        """Return the seconds until the oldest change is past its age, None when there is none."""
        return max(0.0, self._records[0].at + self._limits.seconds - now) if self._records else None

    def after(self, prefix: str, revision: int) -> list[Record]:
        """Return the changes under `prefix` newer than `revision`, oldest first."""
        segment = segment_of(prefix)
        one_segment = segment.endswith("/") and len(segment) > 1
        records = self._segments.get(segment, []) if one_segment else list(self._records)
        start = bisect_right(records, revision, key=_revision_of)
        if prefix == segment:
            return list(records[start:])
        return [record for record in records[start:] if record.change.key.startswith(prefix)]


def _revision_of(record: Record) -> int:
    return record.change.revision


def entries_at(current: Iterator[Entry], newer: Sequence[Record]) -> list[Entry]:
    """Return the entries as they were before the changes `newer`, in key order; both of one prefix."""
    then: dict[str, Entry | None] = {}
    for record in newer:
        then.setdefault(record.change.key, record.replaced)
    found = {entry.key: entry for entry in current if entry.key not in then}
    found.update({key: entry for key, entry in then.items() if entry is not None})
    return [found[key] for key in sorted(found)]
