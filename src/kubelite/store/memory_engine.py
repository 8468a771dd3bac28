"""An engine that forgets everything at exit: for simulations, tests and throw-away clusters."""

from collections.abc import Iterator

from kubelite.store.engine import Batch, Logged
from kubelite.store.protocol import Entry


class MemoryEngine:
    """Keeps entries, undo log and revision in memory."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._log: dict[int, Logged] = {}
        self._revision = 0

    def revision(self) -> int:
        """Return the revision of the newest batch."""
        return self._revision

    def entries(self) -> Iterator[Entry]:
        """Yield all current entries in key order."""
        for key in sorted(self._entries):
            yield self._entries[key]

    def log(self) -> Iterator[Logged]:
        """Yield the undo log, oldest first."""
        yield from self._log.values()

    def write(self, batch: Batch) -> None:
        """Apply a batch."""
        for key in batch.deletes:
            self._entries.pop(key, None)
        for entry in batch.puts:
            self._entries[entry.key] = entry
        for row in batch.log:
            self._log[row.revision] = row
        # The log is in the order of revisions: what is too old stands in front.
        while self._log and (oldest := next(iter(self._log))) <= batch.floor:
            del self._log[oldest]
        self._revision = batch.revision

    def size_bytes(self) -> int:
        """Return 0: no disk is used."""
        return 0

    def close(self) -> None:
        """Do nothing."""
