"""Hot snapshots of a data folder, restoring one, and checking the invariants of a data folder.

All functions block and work from another process than the server: LMDB allows reads while it writes. A snapshot is one
compacted LMDB file; its name holds the date and the revision.
"""

import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import lmdb
import msgspec
from msgspec import Struct

from kubelite.store.engine import Logged
from kubelite.store.lmdb_engine import (
    DATA_FILE,
    FORMAT,
    HEADER,
    LOCK_FILE,
    REVISION,
    lock_folder,
    lock_readers,
    sync,
)

PREFIX, SUFFIX = "kubelite", ".mdb"
ROOM_BYTES = 64 * 1024 * 1024  # left free beside what the copy takes
STAGING = "restoring"
# Revisions that a restored store skips: more than a server can have used since the snapshot (as etcdutl's advice).
SKIPPED_REVISIONS = 1_000_000_000
WORK_BYTES = 16 * 1024 * 1024  # for the pages that change meanwhile


class SnapshotFailed(Exception):
    """A snapshot cannot be made, found or restored; the message says why."""


class Snapshot(Struct, frozen=True):
    """A snapshot in its folder."""

    name: str
    size_bytes: int
    path: Path


class Report(Struct, frozen=True):
    """The result of a check; the store is intact if `problems` is empty."""

    objects: int
    log_rows: int
    revision: int
    problems: Sequence[str]


def save(data: Path, folder: Path, now: datetime, prefix: str = PREFIX) -> Snapshot:
    """Copy the data folder `data`, in use or not, to a new file in `folder`; raises SnapshotFailed.

    The name begins with `prefix`. A copy that would not leave as much room as it takes is refused: the store needs it.
    """
    if not (data / DATA_FILE).is_file():
        raise SnapshotFailed(f"cannot save a snapshot: no store in {data}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_room(folder, (data / DATA_FILE).stat().st_blocks * 512)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            with _reading(data) as env:
                env.copy(work, compact=True)
            copied = Path(work) / DATA_FILE
            with _reading(copied, subdir=False) as env, env.begin() as transaction:
                revision = _revision(transaction, _table(env, b"meta", transaction))
            name = f"{prefix}-{now:%Y%m%d-%H%M%S}-{revision}{SUFFIX}"
            copied.chmod(0o600)
            sync(copied)
            copied.rename(folder / name)
        sync(folder)
    except (OSError, lmdb.Error) as error:
        raise SnapshotFailed(f"cannot save a snapshot in {folder}: {error}") from error
    return _snapshot(folder / name)


def _require_room(folder: Path, size_bytes: int) -> None:
    """Raise SnapshotFailed unless a copy of this size and a second one fit in the folder."""
    state = os.statvfs(folder)
    free_bytes, needed_bytes = state.f_bavail * state.f_frsize, 2 * size_bytes + ROOM_BYTES
    if free_bytes < needed_bytes:
        raise SnapshotFailed(
            f"cannot save a snapshot in {folder}: {free_bytes >> 20} MB are free there, "
            f"and {needed_bytes >> 20} MB are needed"
        )


def restore(
    snapshot: Path, data: Path, prepare: Callable[[], object] = lambda: None
) -> Path | None:
    """Replace the data of a folder by a snapshot; return the path of the former data, None if there was none.

    `prepare` is called in between, when the snapshot was found whole and the folder is held. What it raises is raised.

    The next revision is far above all that clients may have seen since the snapshot, and no change before it is kept:
    each of them is told to list anew, and none takes a new object for one that it knows.

    Raises StoreLocked while a server uses the folder, SnapshotFailed if the snapshot is damaged. A crash at any instant
    leaves either the former data or the snapshot in place.
    """
    if not snapshot.is_file():
        raise SnapshotFailed(f"cannot restore {snapshot}: there is no such snapshot")
    staged = data / STAGING  # inside, because the folder may be a file system of its own
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = lock_folder(data)
        try:
            readers = lock_readers(data, shared=False)
            if readers is None:
                raise SnapshotFailed(f"cannot restore {snapshot}: another process reads {data}")
            try:
                _stage(snapshot, staged)
                prepare()
                return _put_in_place(staged, data)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
                os.close(readers)
        finally:
            os.close(lock)
    except OSError as error:
        raise SnapshotFailed(f"cannot restore {snapshot}: {error.strerror}") from error


def _stage(snapshot: Path, staged: Path) -> None:
    """Copy a snapshot to a folder and check it; raises SnapshotFailed."""
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(mode=0o700)
    copied = staged / DATA_FILE
    shutil.copyfile(snapshot, copied)
    copied.chmod(0o600)
    try:
        # A page past the end of the file would end the process, not the call.
        with _reading(copied, subdir=False) as env:
            size_bytes = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if copied.stat().st_size < size_bytes:
            raise SnapshotFailed(f"cannot restore {snapshot}: it is cut off")
        report = check(staged)
    except lmdb.Error as error:
        raise SnapshotFailed(f"cannot restore {snapshot}: {error}") from error
    if report.problems:
        raise SnapshotFailed(f"cannot restore {snapshot}: {report.problems[0]}")
    _skip_revisions(copied)
    sync(copied)


def _skip_revisions(store: Path) -> None:
    size_bytes = store.stat().st_size + WORK_BYTES
    with (
        lmdb.open(
            str(store),
            size_bytes,
            lib_version=0,
            max_dbs=4,
            subdir=False,
            lock=False,
            create=False,
        ) as env,
        env.begin(write=True) as transaction,
    ):
        # The log ends at the newest revision, so it goes.
        meta, log = (_table(env, name, transaction) for name in (b"meta", b"log"))
        revision = _revision(transaction, meta) + SKIPPED_REVISIONS
        transaction.put(b"revision", REVISION.pack(revision), db=meta)
        transaction.drop(log, delete=False)


def _put_in_place(staged: Path, data: Path) -> Path | None:
    """Rename the staged file over the data; return the path of the former data, None if there was none."""
    current, former = data / DATA_FILE, None
    if current.exists():
        former = data / f"{DATA_FILE}.before-restore"
        former.unlink(missing_ok=True)
        former.hardlink_to(current)  # so that there is a store under its name at every instant
    (staged / DATA_FILE).replace(current)
    # LMDB's reader table belongs to the former file.
    (data / LOCK_FILE).unlink(missing_ok=True)
    sync(data)
    return former


def check(data: Path) -> Report:
    """Verify every invariant of a data folder, in use or not; raises SnapshotFailed if it cannot be read."""
    if not (data / DATA_FILE).is_file():
        raise SnapshotFailed(f"cannot check {data}: no store there")
    try:
        with _reading(data) as env, env.begin() as transaction:
            return _check(env, transaction)
    except lmdb.Error as error:
        raise SnapshotFailed(f"cannot check {data}: {error}") from error
    except (struct.error, IndexError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise SnapshotFailed(f"cannot check {data}: damaged ({error!r})") from error


def read_format(data: Path) -> bytes | None:
    """Return the format of a data folder, in use or not; None if there is no store. Raises SnapshotFailed."""
    if not (data / DATA_FILE).is_file():
        return None
    try:
        with _reading(data) as env, env.begin() as transaction:
            found: bytes | None = transaction.get(b"format", db=_table(env, b"meta", transaction))
    except (lmdb.Error, OSError) as error:
        raise SnapshotFailed(f"cannot read the format of {data}: {error}") from error
    return found or b""


def _check(env: Any, transaction: Any) -> Report:
    problems: list[str] = []
    meta = _table(env, b"meta", transaction)
    found_format = transaction.get(b"format", db=meta)
    if found_format != FORMAT:
        return Report(0, 0, 0, [f"the format is {found_format!r}, not {FORMAT!r}"])
    newest = _revision(transaction, meta)
    names = {
        identifier: name.decode()
        for name, identifier in transaction.cursor(db=_table(env, b"segments", transaction))
    }
    revisions: dict[str, int] = {}
    owners: dict[int, str] = {}
    for raw, value in transaction.cursor(db=_table(env, b"objects", transaction)):
        if raw[:4] not in names:
            problems.append(f"object {raw!r}: unknown segment")
            continue
        key = names[raw[:4]] + raw[4:].decode()
        created, revision = HEADER.unpack_from(value)
        if not 0 < created <= revision <= newest:
            problems.append(f"{key}: created {created}, revision {revision}, newest {newest}")
        if revision in owners:
            problems.append(f"{key}: revision {revision} is also that of {owners[revision]}")
        revisions[key] = revision
        owners[revision] = key
    rows = _check_log(transaction, _table(env, b"log", transaction), newest, revisions, problems)
    return Report(len(revisions), rows, newest, problems)


def _check_log(
    transaction: Any, table: Any, newest: int, revisions: Mapping[str, int], problems: list[str]
) -> int:
    """Add the problems of the undo log to `problems`: rows under a wrong key, and `log_problems`. Return its length."""
    rows: list[Logged] = []
    for raw, value in transaction.cursor(db=table):
        row = msgspec.msgpack.decode(value, type=Logged)
        rows.append(row)
        if (place := REVISION.unpack(raw)[0]) != row.revision:
            problems.append(f"log row {place}: has {row.revision}")
    problems += log_problems(rows, newest, revisions)
    return len(rows)


def log_problems(rows: Iterable[Logged], newest: int, revisions: Mapping[str, int]) -> list[str]:
    """Return the broken invariants of an undo log: no gap up to the newest revision, each row follows from the last.

    `revisions` are those of all objects by key. Empty if the log is intact.
    """
    problems: list[str] = []
    expected: int | None = None
    last: dict[str, Logged] = {}
    for row in rows:
        if expected not in (None, row.revision):
            problems.append(f"log row {row.revision}: expected {expected}")
        former = last.get(row.key)
        replaced = row.replaced[2] if row.replaced else 0
        if former is not None and replaced != (0 if former.final else former.revision):
            problems.append(
                f"log row {row.revision}: {row.key} replaced {replaced}, not the former"
            )
        expected = row.revision + 1
        last[row.key] = row
    if expected not in (None, newest + 1):
        problems.append(f"the log ends at {(expected or 0) - 1}, the store at {newest}")
    for key, row in last.items():
        now = revisions.get(key, 0)
        if now != (0 if row.final else row.revision):
            problems.append(f"{key}: is at {now}, the log says {row.revision}")
    return problems


def _table(env: Any, name: bytes, transaction: Any) -> Any:
    return env.open_db(name, transaction, create=False)


def _revision(transaction: Any, meta: Any) -> int:
    value = transaction.get(b"revision", db=meta)
    return int(REVISION.unpack(value)[0]) if value else 0


@contextmanager
def _reading(path: Path, *, subdir: bool = True) -> Iterator[Any]:
    # A server may replace the file by a compacted one, but not while it is read.
    readers = lock_readers(path, shared=True) if subdir else None
    try:
        env = lmdb.open(
            str(path),
            lib_version=0,
            readonly=True,
            max_dbs=4,
            subdir=subdir,
            lock=subdir,
            create=False,
        )
        try:
            yield env
        finally:
            env.close()
    finally:
        if readers is not None:
            os.close(readers)


def _snapshot(path: Path) -> Snapshot:
    return Snapshot(path.name, path.stat().st_size, path)
