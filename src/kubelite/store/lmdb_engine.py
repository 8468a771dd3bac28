"""The engine on LMDB: a copy-on-write B+tree, crash-safe by two alternating roots.

Tables: `objects` (segment id + rest of the key -> created revision, revision, value), `log` (revision -> what the
change replaced), `segments` (first path segment -> id, because LMDB keys end at 511 bytes), `meta` (format, revision,
form). Replaced values stay readable in free pages until LMDB reuses these; `compact` removes them.
"""

import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import msgspec

from kubelite.limits import STORE_PAGES
from kubelite.store.engine import Batch, EngineFailed, Logged, StoreUnreadable, changed
from kubelite.store.index import segment_of
from kubelite.store.protocol import Entry

# Sparse: costs address space only. Growing it later would kill open read transactions.
MAP_SIZE_BYTES = 64 * 1024**3
FORMAT = b"1"
# Old log rows removed per commit beyond the rows it adds: compaction keeps pace and never blocks for long.
COMPACT_ROWS = 256
# More than LMDB's table of readers needs.
LOCK_TABLE_BYTES = 16 * 1024

DATA_FILE, LOCK_FILE = "data.mdb", "lock.mdb"
FOLDER_LOCK_FILE = "lock"  # held by the one process that writes
TABLES = (b"objects", b"log", b"segments", b"meta")
COMPACTING, FORMER_FILE = "compacting", "data.mdb.former"
LOOK_ROWS = 64  # written between two looks at how many pages the process has mapped
COPIED_ROWS = 10_000  # in one commit
OVERWRITTEN_BYTES = 1024 * 1024  # at once

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
HEADER = struct.Struct(">QQ")
REVISION = struct.Struct(">Q")
_SEGMENT = struct.Struct(">I")


class StoreLocked(Exception):
    """Another process has the data folder open."""


class UnknownFormat(StoreUnreadable):
    """The data has a format of another version."""


def format_problem(found: bytes) -> str:
    """Return why data of a format cannot be opened; "" if they can be."""
    if found == FORMAT:
        return ""
    reason = f"it has format {found.decode(errors='replace')}, this version knows {FORMAT.decode()}"
    if found.isdigit() and int(found) > int(FORMAT):
        reason += (
            "; a later version of kubelite wrote it: run that version, or restore a snapshot that "
            "this one made"
        )
    return reason


class LMDBEngine:
    """Entries, undo log and revision in one LMDB file."""

    def __init__(self, path: Path, *, map_size_bytes: int = MAP_SIZE_BYTES) -> None:
        """Open or create the folder `path`; raises StoreLocked, StoreUnreadable or OSError."""
        self._path = path
        self._map_size_bytes = map_size_bytes
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock_folder(path)
        self._segments: dict[str, bytes] = {}
        self._is_open = False
        self._rows_written = 0  # since the pages were counted
        self._mapped_bytes = mapped_bytes()
        try:
            _reserve(path / LOCK_FILE)
            with _named(path):
                self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self) -> None:
        self._env = lmdb.open(
            str(self._path),
            lib_version=0,  # the 0.9 engine: data format 1
            map_size=self._map_size_bytes,
            max_dbs=4,
            max_readers=16,
            mode=0o600,
            readahead=True,
        )
        complete(self._path / DATA_FILE, self._env)
        with self._env.begin(write=True) as transaction:
            self._objects = self._env.open_db(b"objects", transaction)
            self._log = self._env.open_db(b"log", transaction)
            self._segment_ids = self._env.open_db(b"segments", transaction)
            self._meta = self._env.open_db(b"meta", transaction)
            found = transaction.get(b"format", db=self._meta)
            if found is None:
                transaction.put(b"format", FORMAT, db=self._meta)
            elif found != FORMAT:
                raise UnknownFormat(f"cannot open store in {self._path}: {format_problem(found)}")
            self._segments = {
                name.decode(): identifier
                for name, identifier in transaction.cursor(db=self._segment_ids)
            }
        self._is_open = True

    def revision(self) -> int:
        """Return the revision of the newest durable batch, 0 for an empty store; raises EngineFailed."""
        try:
            self._require_open()
            with self._env.begin() as transaction:
                value = transaction.get(b"revision", db=self._meta)
        except (lmdb.Error, OSError) as error:
            raise EngineFailed(str(error)) from error
        return REVISION.unpack(value)[0] if value else 0

    def entries(self) -> Iterator[Entry]:
        """Yield all current entries in key order within a segment."""
        names = {identifier: name for name, identifier in self._segments.items()}
        with _named(self._path), self._env.begin() as transaction:
            for raw, value in transaction.cursor(db=self._objects):
                created, revision = HEADER.unpack_from(value)
                key = names[raw[:4]] + raw[4:].decode()
                yield Entry(key, value[HEADER.size :], created, revision)

    def log(self) -> Iterator[Logged]:
        """Yield the undo log, oldest first."""
        decoder = msgspec.msgpack.Decoder(Logged)
        with _named(self._path), self._env.begin() as transaction:
            for _, value in transaction.cursor(db=self._log):
                yield decoder.decode(value)

    def write(self, batch: Batch) -> None:
        """Make a batch durable; raises EngineFailed."""
        with self._writing() as transaction:
            self._fill(transaction, batch)
        self._bound_pages(len(batch.log))

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        """Open a write transaction and commit it at the end of the block; raises EngineFailed."""
        try:
            self._require_open()
            # A reader that was killed, such as a snapshot, would keep LMDB from reusing every page it saw.
            self._env.reader_check()
            with self._env.begin(write=True) as transaction:
                yield transaction
        except (lmdb.Error, OSError) as error:
            self._recover()
            raise EngineFailed(_reason(error)) from error
        except BaseException:
            self._recover()
            raise

    def _fill(self, transaction: Any, batch: Batch) -> None:
        for key in batch.deletes:
            transaction.delete(self._raw(transaction, key), db=self._objects)
        for entry in batch.puts:
            value = HEADER.pack(entry.created_revision, entry.revision) + entry.value
            transaction.put(self._raw(transaction, entry.key), value, db=self._objects)
        for row in batch.log:
            transaction.put(
                REVISION.pack(row.revision), msgspec.msgpack.encode(row), db=self._log, append=True
            )
        transaction.put(b"revision", REVISION.pack(batch.revision), db=self._meta)
        self._drop_log(transaction, batch.floor, len(batch.log) + COMPACT_ROWS)

    def _drop_log(self, transaction: Any, floor: int, limit: int) -> None:
        cursor = transaction.cursor(db=self._log)
        for _ in range(limit):
            if not cursor.first() or REVISION.unpack(cursor.key())[0] > floor:
                return
            cursor.delete()

    def _raw(self, transaction: Any, key: str) -> bytes:
        segment = segment_of(key)
        identifier = self._segments.get(segment)
        if identifier is None:
            identifier = _SEGMENT.pack(len(self._segments) + 1)
            transaction.put(segment.encode(), identifier, db=self._segment_ids)
            self._segments[segment] = identifier
        return identifier + key[len(segment) :].encode()

    def rewrite(
        self, keys: Sequence[str], revisions: Sequence[int], change: Callable[[str, bytes], bytes]
    ) -> int:
        """Replace values by `change(key, value)` in one commit; revisions stay. Raises EngineFailed."""
        with self._writing() as transaction:
            count = sum(self._rewritten(transaction, key, change) for key in keys)
            for revision in revisions:
                place = REVISION.pack(revision)
                if (packed := transaction.get(place, db=self._log)) is not None:
                    row = changed(msgspec.msgpack.decode(packed, type=Logged), change)
                    transaction.put(place, msgspec.msgpack.encode(row), db=self._log)
        return count

    def _rewritten(self, transaction: Any, key: str, change: Callable[[str, bytes], bytes]) -> bool:
        raw = self._raw(transaction, key)
        if (stored := transaction.get(raw, db=self._objects)) is None:
            return False
        head, value = stored[: HEADER.size], stored[HEADER.size :]
        new = change(key, value)
        if new == value:
            return False
        transaction.put(raw, head + new, db=self._objects)
        return True

    def form(self) -> str:
        """Return what `set_form` stored, "" if nothing; raises EngineFailed."""
        try:
            self._require_open()
            with self._env.begin() as transaction:
                found = transaction.get(b"form", db=self._meta)
        except (lmdb.Error, OSError) as error:
            raise EngineFailed(str(error)) from error
        return found.decode() if found else ""

    def set_form(self, form: str) -> None:
        """Store durably which form all values have; raises EngineFailed."""
        with self._writing() as transaction:
            transaction.put(b"form", form.encode(), db=self._meta)

    def compact(self) -> bool:
        """Replace the file by a copy of its current rows and overwrite the former; raises EngineFailed.

        Returns False without doing anything while another process reads the file.
        """
        staged = self._path / COMPACTING
        try:
            self._require_open()
            readers = lock_readers(self._path, shared=False)
            if readers is None:
                return False
            try:
                _discard(self._path / FORMER_FILE)
                shutil.rmtree(staged, ignore_errors=True)
                staged.mkdir(mode=0o700)
                self._copy(staged)
                self._replace(staged / DATA_FILE)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
                os.close(readers)
        except (lmdb.Error, OSError) as error:
            if not self._is_open:
                self._recover()
            raise EngineFailed(_reason(error)) from error
        return True

    def _copy(self, folder: Path) -> None:
        """Copy all rows to a new store. LMDB's own copy would keep old bytes behind a large value in its last page."""
        with lmdb.open(
            str(folder),
            lib_version=0,
            map_size=self._map_size_bytes,
            max_dbs=len(TABLES),
            mode=0o600,
            sync=False,
            lock=False,
        ) as copy:
            for name in TABLES:
                table = copy.open_db(name)
                with self._env.begin() as reading:
                    source = self._env.open_db(name, reading, create=False)
                    rows = iter(reading.cursor(db=source))
                    while True:
                        with copy.begin(write=True, db=table) as writing:
                            some = islice(rows, COPIED_ROWS)
                            if not writing.cursor().putmulti(some, append=True)[0]:
                                break
            copy.sync(True)

    def _replace(self, copy: Path) -> None:
        current = self._path / DATA_FILE
        # The former file keeps a name until it is overwritten, so the next compaction finishes one that was cut short.
        (self._path / FORMER_FILE).hardlink_to(current)
        self._is_open = False
        self._env.close()
        copy.replace(current)
        # The table of readers belongs to the former file: its transaction numbers mean nothing to this one.
        (self._path / LOCK_FILE).unlink(missing_ok=True)
        sync(self._path)
        _reserve(self._path / LOCK_FILE)
        self._open()
        _discard(self._path / FORMER_FILE)

    def _recover(self) -> None:
        # A failed commit may leave LMDB in a state where every later one fails; opening it anew reads the last good
        # root. The segment table is read again because ids given in the failed batch are not on disk.
        self._is_open = False
        self._env.close()
        with suppress(lmdb.Error, OSError, UnknownFormat):  # the next call tries again
            self._open()

    def release_pages(self) -> None:
        """Map the file anew, so that pages which were read stop counting as memory of the process.

        They stay in the page cache. No iterator over rows may be in use. What goes wrong here the next call meets.
        """
        self._recover()
        self._rows_written = 0
        self._mapped_bytes = mapped_bytes()

    def _bound_pages(self, rows: int) -> None:
        """Release pages once writes have read too many of them."""
        self._rows_written += rows
        if self._rows_written < LOOK_ROWS:
            return
        self._rows_written = 0
        if mapped_bytes() - self._mapped_bytes > STORE_PAGES.value:
            STORE_PAGES.reached()
            self.release_pages()

    def _require_open(self) -> None:
        if not self._is_open:
            self._open()

    def size_bytes(self) -> int:
        """Return the bytes the data occupies on disk."""
        return (self._path / DATA_FILE).stat().st_blocks * 512

    def close(self) -> None:
        """Release the files."""
        self._env.close()
        os.close(self._lock)


def mapped_bytes() -> int:
    """Return how much of mapped files counts as memory of this process."""
    pages = Path("/proc/self/statm").read_text().split()
    return int(pages[2]) * PAGE_BYTES


def lock_folder(path: Path) -> int:
    """Take the lock of a data folder, kept until the returned descriptor is closed; raises StoreLocked."""
    descriptor = os.open(path / FOLDER_LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
        os.close(descriptor)
        raise StoreLocked(f"cannot open store in {path}: process {holder} uses it") from error
    with suppress(
        OSError
    ):  # it is only for the message above; a full disk must not keep the store shut
        os.pwrite(descriptor, f"{os.getpid():<10}".encode(), 0)
    return descriptor


def lock_readers(path: Path, *, shared: bool) -> int | None:
    """Lock a folder against replacing its data file (`shared`) or against reading it; None if it is being read.

    The lock is held until the returned descriptor is closed. A reader waits while the file is replaced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(path: Path) -> None:
    """Overwrite and remove a file, so that nothing can be read from its blocks afterwards. Blocks."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        status = os.fstat(descriptor)
        if (
            status.st_nlink == 1
        ):  # else it is in use after all, or somebody has kept it under another name
            blank = bytes(OVERWRITTEN_BYTES)
            for at in range(0, status.st_size, OVERWRITTEN_BYTES):
                os.pwrite(descriptor, blank[: status.st_size - at], at)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    sync(path.parent)


def complete(path: Path, env: lmdb.Environment) -> None:
    """Extend a data file that was cut off to its full length: reading a mapping past its end is fatal (SIGBUS).

    A blank page that is in use is reported as damage; if the missing pages were free, the store is intact. Raises
    OSError. Blocks.
    """
    needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if path.stat().st_size < needed:
        os.truncate(path, needed)


def _reserve(path: Path) -> None:
    """Allocate LMDB's reader table: it is written through a mapping, where a full disk is fatal (SIGBUS)."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, LOCK_TABLE_BYTES)
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Translate errors of reading to StoreUnreadable with the path; an OSError of the disk passes."""
    try:
        yield
    except lmdb.Error as error:
        raise StoreUnreadable(f"cannot open store in {path}: {_reason(error)}") from error
    except (struct.error, KeyError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise StoreUnreadable(f"cannot open store in {path}: damaged ({error!r})") from error


def _reason(error: Exception) -> str:
    """Return LMDB's message without its function: ``No space left on device``."""
    return str(error).rpartition(": ")[2] or str(error)
