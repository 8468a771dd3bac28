"""What the embedded store requires of its disk engine: load everything once, then write batches.

An engine is called from one thread at a time and may block. It keeps three things: the current entries, the undo log
(what each change of the window replaced), and the revision.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from kubelite.store.protocol import Entry


class Logged(Struct, frozen=True, array_like=True):
    """A row of the undo log: one change, stored as the value it replaced."""

    revision: int
    key: str
    replaced: (
        tuple[bytes, int, int] | None
    )  # value, created revision, revision; None: did not exist
    final: tuple[bytes, int] | None  # of a removal: the last state it shows, created revision
    at: float  # seconds since the epoch: the age of a change survives a restart


class Batch(Struct, frozen=True):
    """What one commit writes: all of it or nothing."""

    puts: Sequence[Entry]
    deletes: Sequence[str]
    log: Sequence[Logged]
    revision: int
    floor: int  # log rows up to this revision may be deleted


class EngineFailed(Exception):
    """The disk reported an error; `Engine.revision` shows whether the batch was applied."""


class StoreUnreadable(Exception):
    """The data cannot be read: damaged, or not a store."""


class Engine(Protocol):
    """Durable entries, undo log and revision."""

    def revision(self) -> int:
        """Return the revision of the newest durable batch, 0 for an empty store; raises EngineFailed."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Yield all current entries in key order within a segment."""
        ...

    def log(self) -> Iterator[Logged]:
        """Yield the undo log, oldest first."""
        ...

    def write(self, batch: Batch) -> None:
        """Make a batch durable. After EngineFailed `revision` shows whether it was applied."""
        ...

    def size_bytes(self) -> int:
        """Return the bytes the data occupies on disk."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


class Rewritable(Engine, Protocol):
    """An engine whose values can be rewritten in place, for instance to seal them with another key."""

    def rewrite(
        self, keys: Sequence[str], revisions: Sequence[int], change: Callable[[str, bytes], bytes]
    ) -> int:
        """Replace values by `change(key, value)` in one commit, in entries and in rows of the undo log.

        Revisions stay; keys and rows that no longer exist are skipped. Returns how many entries changed. Raises
        EngineFailed.
        """
        ...

    def form(self) -> str:
        """Return what `set_form` stored, "" if nothing; raises EngineFailed."""
        ...

    def set_form(self, form: str) -> None:
        """Store durably which form all values have; raises EngineFailed."""
        ...

    def compact(self) -> bool:
        """Remove replaced and deleted values from the disk. False if another process reads the file: try again later.

        Raises EngineFailed; the current data stays intact in any case.
        """
        ...


def changed(row: Logged, change: Callable[[str, bytes], bytes]) -> Logged:
    """Return a row of the undo log with its values replaced by `change(key, value)`."""
    replaced, final = row.replaced, row.final
    if replaced is not None:
        replaced = (change(row.key, replaced[0]), *replaced[1:])
    if final is not None:
        final = (change(row.key, final[0]), final[1])
    return Logged(row.revision, row.key, replaced, final, row.at)
