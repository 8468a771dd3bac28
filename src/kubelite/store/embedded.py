"""The store inside the process: an index in memory in front of an engine on disk.

Commits are grouped: while one batch is being written in the writer thread, all further writes gather in the next. A
write's preconditions are checked against what is durable plus what is on its way, so a batch never fails for a reason
of the caller's. Only when a batch is durable does it enter the index and the history, reach the subscribers, and
resolve its callers, in this order.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from kubelite.clock import Clock
from kubelite.store.engine import Batch, Engine, EngineFailed, Logged
from kubelite.store.history import History, Limits, Record, entries_at
from kubelite.store.index import Index, segment_of
from kubelite.store.lmdb_engine import LMDBEngine
from kubelite.store.pending import Pending
from kubelite.store.protocol import (
    Change,
    Check,
    Compacted,
    Delete,
    Entry,
    FutureRevision,
    Listener,
    Operation,
    Page,
    Put,
    RevisionMismatch,
    StoreUnavailable,
)

log = logging.getLogger(__name__)

# Writes that may wait for the disk; beyond it callers are told at once.
WAITING_OPERATIONS_MAX = 20_000
# Age-based compaction looks again no sooner than this.
COMPACTION_INTERVAL_SECONDS = 60.0


class _Write(Struct):
    records: Sequence[Record]
    done: asyncio.Future[int]
    revision: int


class EmbeddedStore:
    """Ordered bytes with revisions over an engine."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        limits: Limits | None = None,
        executor: Executor | None = None,
    ) -> None:
        """Load everything from `engine`; without an `executor` the engine is called on the loop (simulations)."""
        self._engine = engine
        self._clock = clock
        self._executor = executor
        self._limits = limits or Limits()
        self._index = Index()
        self._history = History(self._limits)
        self._revision = engine.revision()
        self._assigned = self._revision  # the newest revision given to a write on its way
        self._unseen: list[tuple[int, asyncio.Future[None]]] = []  # who waits for which revision
        self._pending = Pending()
        self._waiting: list[_Write] = []
        self._waiting_operations = 0
        self._flushing: asyncio.Task[None] | None = None
        self._listeners: dict[str, list[tuple[str, Listener]]] = {}
        self._compaction: asyncio.TimerHandle | None = None
        self._closed = False
        self.problem = ""  # why the newest write failed; empty once one succeeds
        self._load()

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        limits: Limits | None = None,
        over: Callable[[Engine], Engine] = lambda engine: engine,
    ) -> "EmbeddedStore":
        """Open or create the data folder `path` on LMDB; raises StoreLocked, UnknownFormat or OSError.

        `over` may put another engine over LMDB, such as one that encrypts.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="store")
        loop = asyncio.get_running_loop()

        def load() -> EmbeddedStore:
            return cls(over(LMDBEngine(path)), clock=clock, limits=limits, executor=executor)

        try:
            return await loop.run_in_executor(executor, load)
        except BaseException:
            executor.shutdown(wait=False)
            raise

    def _load(self) -> None:
        for entry in self._engine.entries():
            self._index.put(entry)
        rows = list(self._engine.log())
        states: dict[str, Entry | None] = {}
        records: list[Record] = []
        for row in reversed(rows):
            after = states[row.key] if row.key in states else self._index.get(row.key)
            replaced = Entry(row.key, *row.replaced) if row.replaced else None
            records.append(_loaded(row, replaced, after))
            states[row.key] = replaced
        for record in reversed(records):
            self._history.append(record)
        self._history.floor = rows[0].revision - 1 if rows else self._revision

    @property
    def revision(self) -> int:
        """The revision of the newest durable change."""
        return self._revision

    @property
    def oldest(self) -> int:
        """The oldest revision that `list` and `history` still know."""
        return self._history.floor

    def get(self, key: str) -> Entry | None:
        """Return a key's current value."""
        return self._index.get(key)

    def count(self, prefix: str) -> int:
        """Return how many keys there are under `prefix` now."""
        return self._index.count(prefix)

    def list(self, prefix: str, *, after: str = "", limit: int = 0, revision: int = 0) -> Page:
        """Return entries under `prefix` behind key `after`, at `revision` (0: now)."""
        if revision in (0, self._revision):
            entries, remaining = self._index.slice(prefix, after, limit)
            return Page(entries, self._revision, remaining)
        self._require_known(revision)
        newer = [
            record for record in self._history.after(prefix, revision) if record.change.key > after
        ]
        then = entries_at(self._index.range(prefix, after), newer)
        shown = then[:limit] if limit else then
        return Page(shown, revision, len(then) - len(shown))

    def planned(self, prefix: str) -> Sequence[Entry]:
        """Return the entries under `prefix` as they will be once all writes on their way are durable."""
        return self._pending.over(self._index.range(prefix), prefix)

    def history(self, prefix: str, after: int) -> Sequence[Change]:
        """Return the changes under `prefix` newer than `after`, oldest first."""
        self._require_known(after)
        return [record.change for record in self._history.after(prefix, after)]

    def _require_known(self, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        if revision < self._history.floor:
            raise Compacted(revision, self._history.floor)

    def subscribe(self, prefix: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each batch of changes under `prefix` from now on."""
        segment = segment_of(prefix)
        if not (segment.endswith("/") and len(segment) > 1):
            segment = ""  # more than one resource
        subscription = (prefix, listener)
        self._listeners.setdefault(segment, []).append(subscription)

        def end() -> None:
            subscriptions = self._listeners.get(segment, [])
            if subscription in subscriptions:
                subscriptions.remove(subscription)

        return end

    async def commit(self, *operations: Operation) -> int:
        """Apply all operations or none; return the last one's revision once they are durable."""
        if self._closed:
            raise StoreUnavailable("cannot write: the store is closed")
        if self._waiting_operations + len(operations) > WAITING_OPERATIONS_MAX:
            raise StoreUnavailable("cannot write: too many writes wait for the disk")
        loop = asyncio.get_running_loop()
        try:
            records = self._plan(operations, self._now())
        except RevisionMismatch as mismatch:
            # Who is told of a newer revision must find it when reading again, so wait until it is there.
            await self._durable(mismatch.key)
            raise
        if not records:
            return self._revision
        write = _Write(records, loop.create_future(), records[-1].change.revision)
        self._waiting.append(write)
        self._waiting_operations += len(records)
        if self._flushing is None or self._flushing.done():
            self._flushing = loop.create_task(self._flush(), name="store writer")
        return await write.done

    def _plan(self, operations: Sequence[Operation], now: float) -> Sequence[Record]:
        """Check every precondition, then assign revisions; nothing is kept when one does not hold."""
        for operation in operations:
            current = self._latest(operation.key)
            actual = current.revision if current else 0
            if operation.expected is not None and operation.expected != actual:
                raise RevisionMismatch(operation.key, actual)
            if isinstance(operation, Delete) and current is None:
                raise RevisionMismatch(operation.key, 0)
        records: list[Record] = []
        for operation in operations:
            if isinstance(operation, Check):
                continue
            self._assigned += 1
            current = self._latest(operation.key)
            record = _record(operation, self._assigned, current, now)
            change = record.change
            after = None if change.deleted else _entry_after(change)
            self._pending.put(change.key, self._assigned, after)
            records.append(record)
        return records

    def _latest(self, key: str) -> Entry | None:
        pending = self._pending.get(key)
        return pending[1] if pending else self._index.get(key)

    async def _durable(self, key: str) -> None:
        """Wait until the writes of a key that are on their way now are durable, or have failed."""
        if pending := self._pending.get(key):
            seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._unseen.append((pending[0], seen))
            await seen

    def _show(self) -> None:
        """Wake those who wait for revisions that are durable now."""
        left = []
        for revision, seen in self._unseen:
            if revision > self._revision and revision <= self._assigned:
                left.append((revision, seen))
            elif not seen.done():
                seen.set_result(None)
        self._unseen = left

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            writes, self._waiting = self._waiting, []
            batch = self._batch(writes)
            try:
                if self._executor is None:
                    self._engine.write(batch)
                else:
                    await loop.run_in_executor(self._executor, self._engine.write, batch)
            except EngineFailed as error:
                if not await self._is_durable(batch):
                    self._fail(writes, error)
                    continue
            self._apply(writes, batch)

    async def _is_durable(self, batch: Batch) -> bool:
        """Tell whether a batch whose commit failed reached the disk all the same."""
        try:
            if self._executor is None:
                return self._engine.revision() == batch.revision
            loop = asyncio.get_running_loop()
            revision = await loop.run_in_executor(self._executor, self._engine.revision)
        except EngineFailed:
            return False
        return revision == batch.revision

    def _batch(self, writes: Sequence[_Write]) -> Batch:
        records = [record for write in writes for record in write.records]
        changes = {record.change.key: record.change for record in records}
        self._history.compact(self._now())
        return Batch(
            puts=[_entry_after(change) for change in changes.values() if not change.deleted],
            deletes=[key for key, change in changes.items() if change.deleted],
            log=[_logged(record) for record in records],
            revision=records[-1].change.revision,
            floor=self._history.floor,
        )

    def _apply(self, writes: Sequence[_Write], batch: Batch) -> None:
        records = [record for write in writes for record in write.records]
        for record in records:
            change = record.change
            if change.deleted:
                self._index.remove(change.key)
            else:
                self._index.put(_entry_after(change))
            self._history.append(record)
            self._pending.settle(change.key, change.revision)
        self._revision = batch.revision
        self.problem = ""
        self._waiting_operations -= len(records)
        self._publish([record.change for record in records])
        for write in writes:
            if not write.done.done():
                write.done.set_result(write.revision)
        self._show()
        self._schedule_compaction()

    def _fail(self, writes: Sequence[_Write], error: Exception) -> None:
        # What waits behind the failed batch was checked against it, so it cannot stand either.
        failed = [*writes, *self._waiting]
        self._waiting = []
        self._waiting_operations = 0
        self._pending.clear()
        self._assigned = self._revision
        self._show()
        self.problem = f"cannot write: {error}"
        log.error("cannot write", extra={"reason": str(error), "writes": len(failed)})
        for write in failed:
            if not write.done.done():
                write.done.set_exception(StoreUnavailable(f"cannot write: {error}"))

    def _publish(self, changes: Sequence[Change]) -> None:
        by_segment: dict[str, list[Change]] = {}
        for change in changes:
            by_segment.setdefault(segment_of(change.key), []).append(change)
        for segment, part in by_segment.items():
            for prefix, listener in tuple(self._listeners.get(segment, ())):
                _tell(listener, part if prefix == segment else _under(prefix, part))
        for prefix, listener in tuple(self._listeners.get("", ())):
            _tell(listener, _under(prefix, changes))

    def _schedule_compaction(self) -> None:
        if self._compaction is not None or self._closed:
            return
        expires_in = self._history.expires_in(self._now())
        if expires_in is not None:
            delay_seconds = max(expires_in, COMPACTION_INTERVAL_SECONDS)
            loop = asyncio.get_running_loop()
            self._compaction = loop.call_later(delay_seconds, self._compact)

    def _compact(self) -> None:
        self._compaction = None
        self._history.compact(self._now())
        self._schedule_compaction()

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def snapshot(self, path: Path) -> None:
        """Write a consistent copy to the new folder `path` while reads and writes go on."""
        await asyncio.get_running_loop().run_in_executor(None, self._engine.copy, path)

    def size_bytes(self) -> int:
        """Return how much disk the data takes."""
        return self._engine.size_bytes()

    async def close(self) -> None:
        """Finish the writes under way and release the files."""
        self._closed = True
        if self._compaction is not None:
            self._compaction.cancel()
        if self._flushing is not None:
            await asyncio.gather(self._flushing, return_exceptions=True)
        if isinstance(self._executor, ThreadPoolExecutor):
            self._executor.shutdown(wait=True)
        self._engine.close()


def _splice(value: bytes, at: int | None, revision: int) -> bytes:
    return value if at is None else b"%b%d%b" % (value[:at], revision, value[at:])


def _record(operation: Put | Delete, revision: int, current: Entry | None, now: float) -> Record:
    previous = current.value if current else None
    created = current.created_revision if current else revision
    final = operation.value if operation.value is not None else previous
    assert final is not None, "a removal replaces something"
    value = _splice(final, operation.revision_at, revision)
    deleted = isinstance(operation, Delete)
    return Record(Change(revision, operation.key, value, previous, deleted, created), current, now)


def _loaded(row: Logged, replaced: Entry | None, after: Entry | None) -> Record:
    previous = replaced.value if replaced else None
    if row.final is not None:
        value, created = row.final
    else:
        assert after is not None, "a change that removed nothing left something"
        value, created = after.value, after.created_revision
    change = Change(row.revision, row.key, value, previous, row.final is not None, created)
    return Record(change, replaced, row.at)


def _logged(record: Record) -> Logged:
    change, replaced = record.change, record.replaced
    return Logged(
        change.revision,
        change.key,
        (replaced.value, replaced.created_revision, replaced.revision) if replaced else None,
        (change.value, change.created_revision) if change.deleted else None,
        record.at,
    )


def _entry_after(change: Change) -> Entry:
    return Entry(change.key, change.value, change.created_revision, change.revision)


def _under(prefix: str, changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if change.key.startswith(prefix)]


def _tell(listener: Listener, changes: Sequence[Change]) -> None:
    if not changes:
        return
    try:
        listener(changes)
    except Exception:
        # One broken subscriber must not keep the others, or the writer, from going on.
        log.exception("a listener failed")
