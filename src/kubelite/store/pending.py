"""The state of keys once the writes in flight are durable."""

from collections.abc import Iterable

from kubelite.store.index import segment_of
from kubelite.store.protocol import Entry

# The revision of the newest write in flight, and the entry it leaves; None: the key is removed.
State = tuple[int, Entry | None]


class Pending:
    """Keys with a write in flight, by first path segment, so that a read of one resource skips the others."""

    def __init__(self) -> None:
        self._segments: dict[str, dict[str, State]] = {}

    def get(self, key: str) -> State | None:
        """Return a key's state, None if no write is in flight."""
        states = self._segments.get(segment_of(key))
        return None if states is None else states.get(key)

    def put(self, key: str, revision: int, entry: Entry | None) -> None:
        """Record a write in flight; a later one of the same key replaces it."""
        self._segments.setdefault(segment_of(key), {})[key] = (revision, entry)

    def settle(self, key: str, revision: int) -> None:
        """Drop a key's state unless a later write than `revision` is in flight."""
        segment = segment_of(key)
        states = self._segments.get(segment, {})
        if key in states and states[key][0] == revision:
            del states[key]
            if not states:
                del self._segments[segment]

    def clear(self) -> None:
        """Drop all states: the writes in flight failed."""
        self._segments.clear()

    def over(self, entries: Iterable[Entry], prefix: str) -> list[Entry]:
        """Return `entries`, the durable ones under `prefix` (a segment or longer), with writes in flight applied."""
        states = self._segments.get(segment_of(prefix))
        if not states:
            return list(entries)
        found: dict[str, Entry | None] = {entry.key: entry for entry in entries}
        found |= {key: state[1] for key, state in states.items() if key.startswith(prefix)}
        return [entry for _, entry in sorted(found.items()) if entry is not None]
