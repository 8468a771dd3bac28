"""The window of recent changes: what watches resume from, and lists at an earlier revision.

The window is bounded by number, age and bytes; a read of an older revision raises Compacted. While the clock is set
back, changes leave the window by number and bytes only.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter

from msgspec import Struct

from kubelite.limits import (
    HISTORY_BYTES,
    HISTORY_CHANGES,
    HISTORY_CHANGES_APART,
    HISTORY_SECONDS,
    Limit,
)
from kubelite.store.index import Index, segment_of
from kubelite.store.protocol import Change, Entry

# Changes dropped in one step, about a millisecond's work: a burst of changes expires as a burst.
STEP_CHANGES = 1000


class LoggedChange(Struct, frozen=True):
    """A change with the entry it replaced, so that a list at an earlier revision can undo it."""

    change: Change
    replaced: Entry | None
    at: float  # seconds since the epoch

    @property
    def size_bytes(self) -> int:
        """Memory that only the window keeps alive: what was replaced, and the last state of what was removed."""
        last = len(self.change.value) if self.change.deleted else 0
        return last + (len(self.replaced.value) if self.replaced else 0)


class HistoryLimits(Struct, frozen=True):
    """Bounds of the window: changes, their age in seconds, bytes of replaced values."""

    changes: int = HISTORY_CHANGES.value
    seconds: float = HISTORY_SECONDS.value
    bytes: int = HISTORY_BYTES.value
    # Segments (``/leases/``) with a window of their own: their many changes must not push those of others out.
    apart: frozenset[str] = frozenset()
    changes_apart: int = HISTORY_CHANGES_APART.value


class Window:
    """A FIFO of changes; the oldest is dropped first."""

    def __init__(self, changes_max: int, limits: HistoryLimits, counted: Limit) -> None:
        """`counted` is the limit that `changes_max` comes from."""
        self.records: deque[LoggedChange] = deque()
        self.floor = 0  # changes up to and including this revision are dropped
        self._bytes = 0
        self._changes_max = changes_max
        self._limits = limits
        self._counted = counted

    @property
    def size_bytes(self) -> int:
        """Memory that only the window keeps alive."""
        return self._bytes

    def append(self, record: LoggedChange) -> None:
        """Add the newest change."""
        self.records.append(record)
        self._bytes += record.size_bytes

    def forget(self) -> LoggedChange:
        """Drop the oldest change."""
        oldest = self.records.popleft()
        self._bytes -= oldest.size_bytes
        self.floor = oldest.change.revision
        return oldest

    def limit_passed(self, now: float, adding: int) -> Limit | None:
        """Return the limit that the oldest change must make room for before `adding` more, None if it may stay."""
        records = self.records
        if not records:
            return None
        if len(records) + adding > self._changes_max:
            return self._counted
        if self._bytes > self._limits.bytes:
            return HISTORY_BYTES
        return HISTORY_SECONDS if records[0].at + self._limits.seconds <= now else None


class History:
    """The recent changes, oldest first."""

    def __init__(self, limits: HistoryLimits) -> None:
        self._limits = limits
        self._shared = Window(limits.changes, limits, HISTORY_CHANGES)
        self._apart = {
            name: Window(limits.changes_apart, limits, HISTORY_CHANGES_APART)
            for name in sorted(limits.apart)
        }
        self._windows = (self._shared, *self._apart.values())
        self._segments: dict[str, list[LoggedChange]] = {}

    def __len__(self) -> int:
        return sum(len(window.records) for window in self._windows)

    @property
    def size_bytes(self) -> int:
        """Memory that only the windows keep alive."""
        return sum(window.size_bytes for window in self._windows)

    def begin(self, revision: int) -> None:
        """Start with all changes up to `revision` dropped."""
        for window in self._windows:
            window.floor = revision

    @property
    def floor(self) -> int:
        """The revision up to which changes are dropped, segments with a window of their own excepted."""
        return self._shared.floor

    def floor_of(self, prefix: str) -> int:
        """Return the revision up to which changes under `prefix` are dropped."""
        segment = segment_of(prefix)
        if _is_one_segment(segment):
            return self._window_of(segment).floor
        return max(window.floor for window in self._windows)

    @property
    def kept_after(self) -> int:
        """The revision up to which every window has dropped its changes: log rows on disk up to it may go."""
        oldest = [window.records[0].change.revision for window in self._windows if window.records]
        return min(oldest) - 1 if oldest else max(window.floor for window in self._windows)

    def append(self, record: LoggedChange) -> None:
        """Add the newest change."""
        segment = segment_of(record.change.key)
        self._window_of(segment).append(record)
        self._segments.setdefault(segment, []).append(record)

    def _window_of(self, segment: str) -> Window:
        return self._apart.get(segment, self._shared)

    def compact(self, now: float, *, adding: int = 0) -> bool:
        """Drop at most STEP_CHANGES + `adding` changes, to make room for `adding`; True if more are past a limit."""
        unfinished = [self._compact(window, now, adding) for window in self._windows]
        return any(unfinished)

    def _compact(self, window: Window, now: float, adding: int) -> bool:
        dropped: dict[str, int] = {}
        for _ in range(STEP_CHANGES + adding):
            if (limit := window.limit_passed(now, adding)) is None:
                break
            limit.reached()
            segment = segment_of(window.forget().change.key)
            dropped[segment] = dropped.get(segment, 0) + 1
        for segment, number in dropped.items():
            del self._segments[segment][:number]
            if not self._segments[segment]:
                del self._segments[segment]
        return window.limit_passed(now, adding) is not None

    def expires_in(self, now: float) -> float | None:
        """Return the seconds until the oldest change expires by age, None if there is no change."""
        oldest = [window.records[0].at for window in self._windows if window.records]
        return max(0.0, min(oldest) + self._limits.seconds - now) if oldest else None

    def after(self, prefix: str, revision: int) -> list[LoggedChange]:
        """Return the changes under `prefix` newer than `revision`, oldest first."""
        segment = segment_of(prefix)
        is_one = _is_one_segment(segment)
        records = self._segments.get(segment, []) if is_one else self._all()
        start = bisect_right(records, revision, key=_revision_of)
        if prefix == segment:
            return records[start:]
        return [record for record in records[start:] if record.change.key.startswith(prefix)]

    def _all(self) -> list[LoggedChange]:
        return list(merge(*(window.records for window in self._windows), key=_revision_of))


def _is_one_segment(segment: str) -> bool:
    return segment.endswith("/") and len(segment) > 1


def _revision_of(record: LoggedChange) -> int:
    return record.change.revision


def page_at(
    index: Index, prefix: str, after: str, limit: int, newer: Sequence[LoggedChange]
) -> tuple[list[Entry], int]:
    """Return what `Index.slice` returned before the changes `newer`, which are all under `prefix`, oldest first.

    The cost grows with the page and the changes, not with the prefix.
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
