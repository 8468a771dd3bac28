"""The contract of a store, whatever engine it runs on.

A store is an ordered map from text keys to bytes with one counter, the revision. Every change takes the next revision.
A change is visible to `get`, `list`, `history` and subscribers only once it is durable; when `commit` returns, all of
them have it. Reads are plain calls on the loop and never touch the disk; only `commit` waits.

Keys are slash-separated (``/pods/default/web-0``) and ordered by their UTF-8 bytes. Neither the first segment nor what
follows it is longer than KEY_PART_BYTES_MAX, and one commit writes a key at most once (etcd demands it too).
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

# What LMDB takes as a key, less the number that stands for the first segment.
KEY_PART_BYTES_MAX = 500


class Entry(Struct, frozen=True):
    """A key's current value."""

    key: str
    value: bytes
    created_revision: int
    revision: int


class Put(Struct, frozen=True):
    """Create or replace a key.

    `revision_at` is the offset in `value` where the store writes the decimal revision the change gets, so that an
    object can carry its own version; None leaves the value as it is. `expected` is the revision the key must have
    now: 0 means it must not exist, None means any.
    """

    key: str
    value: bytes
    expected: int | None = None
    revision_at: int | None = None


class Delete(Struct, frozen=True):
    """Remove a key, at revision `expected` if that is given. Removing an absent key is a mismatch.

    `value`, if given, is what the change shows as the last state (with the revision spliced in like `Put`);
    without it that is the value as it was.
    """

    key: str
    expected: int | None = None
    value: bytes | None = None
    revision_at: int | None = None


class Check(Struct, frozen=True):
    """A precondition: the key has revision `expected` (0: does not exist). It is not changed."""

    key: str
    expected: int


Operation = Put | Delete | Check


class Change(Struct, frozen=True):
    """One durable change. `value` of a removal is the last state (see `Delete`)."""

    revision: int
    key: str
    value: bytes
    previous: bytes | None  # None: the key did not exist before
    deleted: bool
    created_revision: int


class Page(Struct, frozen=True):
    """Part of a prefix at one revision."""

    entries: Sequence[Entry]
    revision: int  # the revision the page shows
    remaining: int  # entries of the prefix behind this page


class RevisionMismatch(Exception):
    """A precondition did not hold; nothing was written."""

    def __init__(self, key: str, actual: int) -> None:
        super().__init__(f"cannot write {key}: it is at revision {actual}")
        self.key = key
        self.actual = actual  # 0: does not exist


class Compacted(Exception):
    """The revision asked for is older than the window of changes that is kept."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"cannot read revision {asked}: the oldest kept is {oldest}")
        self.asked = asked
        self.oldest = oldest


class FutureRevision(Exception):
    """The revision asked for is newer than the current one."""

    def __init__(self, asked: int, current: int) -> None:
        super().__init__(f"cannot read revision {asked}: the current one is {current}")
        self.asked = asked
        self.current = current


class StoreUnavailable(Exception):
    """The write failed for a reason outside the store (disk full, I/O error); it was not applied.

    One exception: if the disk stops answering during the commit, the write may prove applied once it answers again.
    """


Listener = Callable[[Sequence[Change]], None]
Settled = Callable[[bool], None]  # whether the operations of a commit were applied


class Store(Protocol):
    """Ordered bytes with revisions."""

    @property
    def revision(self) -> int:
        """The revision of the newest durable change."""
        ...

    @property
    def oldest(self) -> int:
        """The oldest revision that `list` and `history` can read."""
        ...

    @property
    def problem(self) -> str:
        """Why writes fail or hang; empty when they do not."""
        ...

    def get(self, key: str) -> Entry | None:
        """Return a key's current value."""
        ...

    def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Return entries under `prefix` in key order, behind key `after`, at `revision` (0: now).

        Raises Compacted or FutureRevision.
        """
        ...

    def count(self, prefix: str) -> int:
        """Return how many keys there are under `prefix` now."""
        ...

    def size_bytes(self) -> int:
        """Return the bytes the data occupies on disk."""
        ...

    def planned(self, prefix: str) -> Sequence[Entry]:
        """Return the entries under `prefix`, one resource or part of it, in key order, with writes in flight applied.

        The preconditions of a `commit` called without an await in between are checked against this state. A write in
        flight can still fail, so never answer a request from it: decide by it only what the commit itself depends on.
        """
        ...

    async def commit(self, *operations: Operation, settled: Settled | None = None) -> int:
        """Apply all operations or none; return the revision of the last one once all are durable.

        Cancelling the caller does not cancel the write. `settled` is called exactly once with the outcome in any case,
        before the caller resumes.

        Raises RevisionMismatch or StoreUnavailable, ValueError for keys that are too long or written twice.
        """
        ...

    def history(self, prefix: str, after: int) -> Sequence[Change]:
        """Return the changes under `prefix` with a revision greater than `after`, oldest first.

        Raises Compacted or FutureRevision.
        """
        ...

    def subscribe(self, prefix: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` on the loop with each batch of changes under `prefix` from now on.

        Called right after the batch became visible, in revision order; the listener must not block. Returns the
        call that ends the subscription. `history` then `subscribe` without an await between them misses nothing.
        """
        ...

    async def close(self) -> None:
        """Finish the writes in flight and release the files."""
        ...
