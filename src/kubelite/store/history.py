"""The window of recent changes: what watches resume from, and lists at an earlier revision.

The window is bounded by number, age and bytes. What leaves it is gone: asking for it raises Compacted. A clock that
is set back stops it from shrinking by age, never by number and bytes.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter

from msgspec import Struct

from kubelite.store.index import Index, segment_of
from kubelite.store.protocol import Change, Entry

# Changes forgotten in one step, about a millisecond's work: many may come of age together.
STEP_CHANGES = 1000


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

    def compact(self, now: float, *, adding: int = 0) -> bool:
        """Make one step at forgetting what is past a limit once `adding` changes have come; True when more is left."""
        dropped: dict[str, int] = {}
        for _ in range(STEP_CHANGES + adding):
            if not self._is_past_limit(now, adding):
                break
            oldest = self._records.popleft()
            self._bytes -= oldest.size_bytes
            self.floor = oldest.change.revision
            segment = segment_of(oldest.change.key)
            dropped[segment] = dropped.get(segment, 0) + 1
        for segment, number in dropped.items():
            del self._segments[segment][:number]
            if not self._segments[segment]:
                del self._segments[segment]
        return self._is_past_limit(now, adding)

    def _is_past_limit(self, now: float, adding: int) -> bool:
        limits, records = self._limits, self._records
        return bool(records) and (
            len(records) + adding > limits.changes
            or self._bytes > limits.bytes
            or records[0].at + limits.seconds <= now
        )

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
            return records[start:]
        return [record for record in records[start:] if record.change.key.startswith(prefix)]


def _revision_of(record: Record) -> int:
    return record.change.revision


def page_at(
    index: Index, prefix: str, after: str, limit: int, newer: Sequence[Record]
) -> tuple[list[Entry], int]:
    """Return what `Index.slice` would have before the changes `newer`, all under `prefix`, oldest first.

    Costs what the page and the changes cost, not what the prefix holds.
    """
    then: dict[str, Entry | None] = {}
    for record in newer:
        if record.change.key > after:
            then.setdefault(record.change.key, record.replaced)
    former = sorted((entry for entry in then.values() if entry is not None), key=_key_of)
    unchanged = (entry for entry in index.range(prefix, after) if entry.key not in then)
    total = index.count(prefix, after) + len(former) - sum(map(index.__contains__, then))
    entries = list(islice(merge(unchanged, former, key=_key_of), limit or None))
    return entries, total - len(entries)


_key_of = attrgetter("key")
