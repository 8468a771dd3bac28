"""Converts a change between its forms: operation, row of the window, row of the undo log on disk."""

from kubelite.store.engine import Logged, StoreUnreadable
from kubelite.store.history import LoggedChange
from kubelite.store.protocol import Change, Delete, Entry, Put


def _splice(value: bytes, at: int | None, revision: int) -> bytes:
    return value if at is None else b"%b%d%b" % (value[:at], revision, value[at:])


def record_of(
    operation: Put | Delete, revision: int, current: Entry | None, now: float
) -> LoggedChange:
    """Return the change that an operation makes to `current`; `now` in seconds since the epoch."""
    previous = current.value if current else None
    created = current.created_revision if current else revision
    final = operation.value if operation.value is not None else previous
    assert final is not None, "a removal replaces something"
    value = _splice(final, operation.revision_at, revision)
    deleted = isinstance(operation, Delete)
    return LoggedChange(
        Change(revision, operation.key, value, previous, deleted, created), current, now
    )


def record_loaded(row: Logged, replaced: Entry | None, after: Entry | None) -> LoggedChange:
    """Return the change of a row of the undo log; `after` is the entry it left. Raises StoreUnreadable."""
    previous = replaced.value if replaced else None
    if row.final is not None:
        value, created = row.final
    else:
        if after is None:
            raise StoreUnreadable(f"cannot open store: {row.key} lacks revision {row.revision}")
        value, created = after.value, after.created_revision
    change = Change(row.revision, row.key, value, previous, row.final is not None, created)
    return LoggedChange(change, replaced, row.at)


def logged_of(record: LoggedChange) -> Logged:
    """Return the row of the undo log that tells of a change."""
    change, replaced = record.change, record.replaced
    return Logged(
        change.revision,
        change.key,
        (replaced.value, replaced.created_revision, replaced.revision) if replaced else None,
        (change.value, change.created_revision) if change.deleted else None,
        record.at,
    )


def entry_after(change: Change) -> Entry:
    """Return what a change that is no removal leaves."""
    return Entry(change.key, change.value, change.created_revision, change.revision)
