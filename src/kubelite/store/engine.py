"""What the embedded store demands of the disk: load everything once, then write batches.

An engine is called from one thread at a time and may block. It keeps three things: the current entries, the undo log
(what each change of the window replaced), and the revision.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from kubelite.store.protocol import Entry


class Logged(Struct, frozen=True, array_like=True):
    """A row of the undo log: one change, told by what it replaced."""

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
    floor: int  # log rows up to this revision may go


class EngineFailed(Exception):
    """The disk refused; the batch is not applied."""


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
        """Make a batch durable; raises EngineFailed. Afterwards `revision` tells whether it is applied."""
        ...

    def size_bytes(self) -> int:
        """Return how much disk the data takes."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...


class Rewritable(Engine, Protocol):
    """An engine whose values can take another form, unseen by who reads through what gives them that form."""

    def rewrite(
        self, keys: Sequence[str], revisions: Sequence[int], change: Callable[[str, bytes], bytes]
    ) -> int:
        """Replace values by `change(key, value)` in one commit: of entries, and in rows of the undo log.

        No revision changes; what is gone by now is left out. Return how many entries changed; raises EngineFailed.
        """
        ...

    def form(self) -> str:
        """Return the mark that `set_form` has left, empty if none; raises EngineFailed."""
        ...

    def set_form(self, form: str) -> None:
        """Mark, durably, which form all values have; raises EngineFailed."""
        ...

    def compact(self) -> bool:
        """Leave nothing on disk of what was replaced or removed; False: not now, others read the file.

        Raises EngineFailed; what is in use is whole in any case.
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
