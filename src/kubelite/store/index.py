"""The current state in memory, in key order.

Keys are partitioned by their first path segment, so that an insert moves only the keys of one resource. Values are the
bytes that are served, so a read needs no disk access.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from kubelite.store.protocol import Entry

# Greater than any key: keys are text, and no key contains this code point.
_END = "\U0010ffff"


def segment_of(key: str) -> str:
    """Return the first path segment of a key with its slashes: ``/pods/`` of ``/pods/default/web``."""
    end = key.find("/", 1)
    return key if end < 0 else key[: end + 1]


class Index:
    """An ordered map from key to entry."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._segments: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def get(self, key: str) -> Entry | None:
        """Return a key's entry."""
        return self._entries.get(key)

    def put(self, entry: Entry) -> None:
        """Insert or replace an entry."""
        key = entry.key
        if key not in self._entries:
            keys = self._segments.setdefault(segment_of(key), [])
            if not keys or keys[-1] < key:
                keys.append(key)
            else:
                insort(keys, key)
        self._entries[key] = entry

    def remove(self, key: str) -> None:
        """Remove a key that is present."""
        del self._entries[key]
        segment = segment_of(key)
        keys = self._segments[segment]
        del keys[bisect_left(keys, key)]
        if not keys:
            del self._segments[segment]

    def range(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Yield the entries under `prefix` behind key `after`, in key order."""
        entries = self._entries
        for keys in self._keys_under(prefix):
            start, end = _bounds(keys, prefix, after)
            for position in range(start, end):
                yield entries[keys[position]]

    def slice(self, prefix: str, after: str = "", limit: int = 0) -> tuple[list[Entry], int]:
        """Return up to `limit` entries (0: all) of a range, and how many follow."""
        entries = self._entries
        found: list[Entry] = []
        remaining = 0
        for keys in self._keys_under(prefix):
            start, end = _bounds(keys, prefix, after)
            take = end if not limit else min(end, start + limit - len(found))
            found.extend([entries[key] for key in keys[start:take]])
            remaining += end - take
        return found, remaining

    def count(self, prefix: str, after: str = "") -> int:
        """Return how many keys are under `prefix` behind key `after`."""
        total = 0
        for keys in self._keys_under(prefix):
            start, end = _bounds(keys, prefix, after)
            total += end - start
        return total

    def _keys_under(self, prefix: str) -> list[list[str]]:
        segment = segment_of(prefix)
        if segment.endswith("/") and len(segment) > 1:
            keys = self._segments.get(segment)
            return [] if keys is None else [keys]
        return [self._segments[name] for name in sorted(self._segments) if name.startswith(prefix)]


def _bounds(keys: list[str], prefix: str, after: str) -> tuple[int, int]:
    start = bisect_left(keys, prefix)
    if after >= prefix:
        start = max(start, bisect_right(keys, after))
    return start, max(start, bisect_left(keys, prefix + _END))
