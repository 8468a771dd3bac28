"""What keys will be once the writes on their way are durable."""

from collections.abc import Iterable

from kubelite.store.index import segment_of
from kubelite.store.protocol import Entry

# The revision that makes a key so, and what it will be; None: it is removed.
State = tuple[int, Entry | None]


class Pending:
    """Keys that are being written, by first path segment so that one resource is found fast."""

    def __init__(self) -> None:
        self._segments: dict[str, dict[str, State]] = {}

    def get(self, key: str) -> State | None:
        """Return what a key will be; None: nothing is on its way."""
        states = self._segments.get(segment_of(key))
        return None if states is None else states.get(key)

    def put(self, key: str, revision: int, entry: Entry | None) -> None:
        """Remember what a key will be."""
        self._segments.setdefault(segment_of(key), {})[key] = (revision, entry)

    def settle(self, key: str, revision: int) -> None:
        """Forget a key if its newest write is the one that is durable now."""
        segment = segment_of(key)
        states = self._segments.get(segment, {})
        if key in states and states[key][0] == revision:
            del states[key]
            if not states:
                del self._segments[segment]

    def clear(self) -> None:
        """Forget everything."""
        self._segments.clear()

    def over(self, entries: Iterable[Entry], prefix: str) -> list[Entry]:
        """Return what `entries`, the durable ones under `prefix` (a segment or longer), will be, in key order."""
        states = self._segments.get(segment_of(prefix))
        if not states:
            return list(entries)
        found: dict[str, Entry | None] = {entry.key: entry for entry in entries}
        found |= {key: state[1] for key, state in states.items() if key.startswith(prefix)}
        return [entry for _, entry in sorted(found.items()) if entry is not None]
