"""An engine without a disk, for simulations, tests and throw-away clusters."""

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from kubelite.store.engine import Batch, Logged, changed
from kubelite.store.protocol import Entry


class MemoryEngine:
    """Keeps entries, undo log and revision in memory."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._log: dict[int, Logged] = {}
        self._revision = 0
        self._form = ""

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
        # The log is in the order of revisions, so the expired rows come first.
        while self._log and (oldest := next(iter(self._log))) <= batch.floor:
            del self._log[oldest]
        self._revision = batch.revision

    def rewrite(
        self, keys: Sequence[str], revisions: Sequence[int], change: Callable[[str, bytes], bytes]
    ) -> int:
        """Replace values by `change(key, value)`; return how many entries changed."""
        count = 0
        for key in keys:
            if (entry := self._entries.get(key)) is not None:
                value = change(key, entry.value)
                count += value != entry.value
                self._entries[key] = replace(entry, value=value)
        for revision in revisions:
            if (row := self._log.get(revision)) is not None:
                self._log[revision] = changed(row, change)
        return count

    def form(self) -> str:
        """Return what `set_form` stored."""
        return self._form

    def set_form(self, form: str) -> None:
        """Store which form all values have."""
        self._form = form

    def compact(self) -> bool:
        """Do nothing: memory keeps no replaced value. Returns True."""
        return True

    def size_bytes(self) -> int:
        """Return 0: no disk is used."""
        return 0

    def close(self) -> None:
        """Do nothing."""
