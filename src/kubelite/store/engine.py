"""What the embedded store demands of the disk: load everything once, then write batches.

An engine is called from one thread at a time and may block. It keeps three things: the current entries, the undo log
(what each change of the window replaced), and the revision.
"""

from collections.abc import Iterator, Sequence
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
