"""The store inside the process: an index in memory in front of an engine on disk.

Commits are grouped: while one batch is being written in the writer thread, all further writes gather in the next. A
write's preconditions are checked against what is durable plus what is on its way, so a batch never fails for a reason
of the caller's. Only when a batch is durable do its writes, some at a time and in order, enter the index and the
history, reach the subscribers, and resolve their callers, in this order.

An exception in between would leave an index unlike the disk. Then the store fails stop: all callers are told, no
further write is taken, `problem` says why, and whoever `on_broken` names ends the process. The next start reads
from disk what is true.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from kubelite.clock import Clock
from kubelite.collector import FreedMemory
from kubelite.store.engine import Batch, Engine, EngineFailed, Rewritable
from kubelite.store.history import History, HistoryLimits, LoggedChange, page_at
from kubelite.store.index import Index, segment_of
from kubelite.store.lmdb_engine import LMDBEngine
from kubelite.store.pending import Pending
from kubelite.store.protocol import (
    KEY_PART_BYTES_MAX,
    Change,
    Check,
    Compacted,
    Delete,
    Entry,
    FutureRevision,
    Listener,
    Operation,
    Page,
    RevisionMismatch,
    Settled,
    StoreUnavailable,
)
from kubelite.store.records import entry_after, logged_of, record_loaded, record_of
from kubelite.store.waiting import WaitingWrites, Write, records_of

log = logging.getLogger(__name__)

# Writes that become visible in one go: each is seen by many listeners, and its caller goes on at once.
APPLIED_AT_ONCE = 64
# Age-based compaction looks again no sooner than this.
COMPACTION_INTERVAL_SECONDS = 60.0
# After a failed write the disk is tried this much later, so that a store nobody writes to recovers as well.
TRIAL_SECONDS = 5.0
# A commit that takes longer than this counts as a problem while it lasts.
COMMIT_SECONDS_MAX = 5.0

T = TypeVar("T")


class _Doubt(Struct, frozen=True):
    """A batch whose commit failed on a disk that then did not tell whether it was applied."""

    writes: Sequence[Write]
    batch: Batch


class EmbeddedStore:
    """Ordered bytes with revisions over an engine."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        limits: HistoryLimits | None = None,
        executor: Executor | None = None,
        memory: FreedMemory | None = None,
    ) -> None:
        """Load everything from `engine`; without an `executor` the engine is called on the loop (simulations).

        `memory` is told what leaves the window of changes, none without it.
        """
        self._engine = engine
        self._clock = clock
        self._executor = executor
        self._memory = memory
        self._limits = limits or HistoryLimits()
        self._index = Index()
        self._history = History(self._limits)
        self._revision = engine.revision()
        self._assigned = self._revision  # the newest revision given to a write on its way
        self._unseen: list[tuple[int, asyncio.Future[None]]] = []  # who waits for which revision
        self._pending = Pending()
        self._waiting = WaitingWrites()
        self._flushing: asyncio.Task[None] | None = None
        self._doubt: _Doubt | None = None
        self._trial: asyncio.TimerHandle | None = None
        self._trying: asyncio.Task[None] | None = None
        self._listeners: dict[str, list[tuple[str, Listener]]] = {}
        self._compaction: asyncio.Handle | None = None
        self._closed = False
        self._failure = ""  # why the newest write failed; empty once one succeeds
        self._in_flight: Sequence[Write] = ()  # of the batch that is committed or made visible
        self._broken = ""  # why the index may be unlike the disk; for good
        self._on_broken: Callable[[str], None] = lambda _: None
        self._committing_since: float | None = None  # loop time
        self._load()

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        clock: Clock,
        limits: HistoryLimits | None = None,
        over: Callable[[Rewritable], Engine] = lambda engine: engine,
    ) -> "EmbeddedStore":
        """Open or create the data folder `path` on LMDB; raises StoreLocked, StoreUnreadable or OSError.

        `over` may put another engine over LMDB, such as one that encrypts.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="store")
        loop = asyncio.get_running_loop()

        def load() -> EmbeddedStore:
            engine = LMDBEngine(path)
            try:
                store = cls(
                    over(engine),
                    clock=clock,
                    limits=limits,
                    executor=executor,
                    memory=FreedMemory(),
                )
                # All has been read once, and is in the index now.
                engine.release_pages()
                return store
            except BaseException:
                engine.close()
                raise

        try:
            store = await loop.run_in_executor(executor, load)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        store._schedule_compaction()  # noqa: SLF001 - the class's own
        return store

    def _load(self) -> None:
        for entry in self._engine.entries():
            self._index.put(entry)
        rows = list(self._engine.log())
        states: dict[str, Entry | None] = {}
        records: list[LoggedChange] = []
        for row in reversed(rows):
            after = states[row.key] if row.key in states else self._index.get(row.key)
            replaced = Entry(row.key, *row.replaced) if row.replaced else None
            records.append(record_loaded(row, replaced, after))
            states[row.key] = replaced
        for record in reversed(records):
            self._history.append(record)
        self._history.begin(rows[0].revision - 1 if rows else self._revision)

    @property
    def revision(self) -> int:
        """The revision of the newest durable change."""
        return self._revision

    @property
    def oldest(self) -> int:
        """The oldest revision that `list` and `history` still know."""
        return self._history.floor

    @property
    def problem(self) -> str:
        """Why writes fail or hang; empty when they do not."""
        if self._broken or self._failure or self._committing_since is None:
            return self._broken or self._failure
        seconds = asyncio.get_running_loop().time() - self._committing_since
        if seconds <= COMMIT_SECONDS_MAX:
            return ""
        return f"cannot write: the disk has not answered for {seconds:.0f} s"

    def on_broken(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the reason, once, when the store cannot go on and only a new start helps."""
        self._on_broken = listener

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
        self._require_known(prefix, revision)
        newer = self._history.after(prefix, revision)
        entries, remaining = page_at(self._index, prefix, after, limit, newer)
        return Page(entries, revision, remaining)

    def planned(self, prefix: str) -> Sequence[Entry]:
        """Return the entries under `prefix` as they will be once all writes on their way are durable."""
        return self._pending.over(self._index.range(prefix), prefix)

    def history(self, prefix: str, after: int) -> Sequence[Change]:
        """Return the changes under `prefix` newer than `after`, oldest first."""
        self._require_known(prefix, after)
        return [record.change for record in self._history.after(prefix, after)]

    def _require_known(self, prefix: str, revision: int) -> None:
        if revision > self._revision:
            raise FutureRevision(revision, self._revision)
        if revision < (floor := self._history.floor_of(prefix)):
            raise Compacted(revision, floor)

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
            if not subscriptions:
                self._listeners.pop(segment, None)

        return end

    async def commit(self, *operations: Operation, settled: Settled | None = None) -> int:
        """Apply all operations or none; return the last one's revision once they are durable."""
        if settled is None:
            return await (await self._begin(operations))
        try:
            done = await self._begin(operations)
        except BaseException:
            settled(False)
            raise
        if done.done():  # there was nothing to write
            settled(True)
        else:
            done.add_done_callback(lambda ended: settled(ended.exception() is None))
        return await asyncio.shield(done)

    async def _begin(self, operations: Sequence[Operation]) -> asyncio.Future[int]:
        """Plan a write and put it in line; return what tells its revision."""
        _require_sound(operations)
        if self._doubt is not None:
            await self._resolve_doubt()
        if self._broken:
            raise StoreUnavailable(self._broken)
        if self._closed:
            raise StoreUnavailable("cannot write: the store is closed")
        if not self._waiting.has_room(len(operations)):
            raise StoreUnavailable("cannot write: too many writes wait for the disk")
        try:
            records = self._plan(operations, self._now())
        except RevisionMismatch as mismatch:
            # Who is told of a newer revision must find it when reading again, so wait until it is there.
            await self._durable(mismatch.key)
            raise
        if records:
            return self._enqueue(records)
        nothing: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        nothing.set_result(self._revision)
        return nothing

    def _enqueue(self, records: Sequence[LoggedChange]) -> asyncio.Future[int]:
        """Put a write in line for the disk; without records it only shows that the disk takes writes."""
        loop = asyncio.get_running_loop()
        write = Write(records, loop.create_future(), self._assigned)
        self._waiting.append(write)
        if self._flushing is None or self._flushing.done():
            self._flushing = loop.create_task(self._flush(), name="store writer")
        return write.done

    def _plan(self, operations: Sequence[Operation], now: float) -> Sequence[LoggedChange]:
        """Check every precondition, then assign revisions; nothing is kept when one does not hold."""
        for operation in operations:
            current = self._latest(operation.key)
            actual = current.revision if current else 0
            if operation.expected is not None and operation.expected != actual:
                raise RevisionMismatch(operation.key, actual)
            if isinstance(operation, Delete) and current is None:
                raise RevisionMismatch(operation.key, 0)
        changing = [one for one in operations if not isinstance(one, Check)]
        records = [
            record_of(operation, revision, self._latest(operation.key), now)
            for revision, operation in enumerate(changing, self._assigned + 1)
        ]
        for record in records:
            change = record.change
            after = None if change.deleted else entry_after(change)
            self._pending.put(change.key, change.revision, after)
        self._assigned += len(records)
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

    def _wake_waiters(self) -> None:
        """Wake the callers that wait for a revision which is visible now, or whose write failed."""
        left = []
        for revision, seen in self._unseen:
            if revision > self._revision and revision <= self._assigned:
                left.append((revision, seen))
            elif not seen.done():
                seen.set_result(None)
        self._unseen = left

    async def between_commits(self, call: Callable[[], T]) -> T:
        """Make a call of the engine's that no commit may meet; may block, writes wait as long."""
        return await self._on_disk(call)

    async def _on_disk(self, call: Callable[[], T]) -> T:
        """Make a call that may block."""
        if self._executor is None:
            return call()
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def _flush(self) -> None:
        try:
            await self._write_all()
        except BaseException as error:
            self._break(error)
            if not isinstance(error, Exception):
                raise

    async def _write_all(self) -> None:
        while self._waiting:
            self._in_flight = writes = self._waiting.take()
            batch = self._batch(writes)
            self._committing_since = asyncio.get_running_loop().time()
            try:
                await self._on_disk(partial(self._engine.write, batch))
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits must be told
                await self._look_after(writes, batch, error)
                self._committing_since = None
            else:
                self._committing_since = None
                await self._apply_in_slices(writes)

    def _batch(self, writes: Sequence[Write]) -> Batch:
        records = records_of(writes)
        changes = {record.change.key: record.change for record in records}
        self._forget(adding=len(records))
        return Batch(
            puts=[entry_after(change) for change in changes.values() if not change.deleted],
            deletes=[key for key, change in changes.items() if change.deleted],
            log=[logged_of(record) for record in records],
            revision=writes[-1].revision,
            floor=self._history.kept_after,
        )

    async def _look_after(self, writes: Sequence[Write], batch: Batch, error: Exception) -> None:
        """Find out whether a batch whose commit failed reached the disk all the same, and tell who waits."""
        if not isinstance(error, EngineFailed):
            log.error("writing failed unexpectedly", exc_info=error)
        try:
            revision = await self._on_disk(self._engine.revision)
        except EngineFailed:
            self._doubt = _Doubt(writes, batch)
        else:
            if batch.log and revision == batch.revision:
                self._apply(writes)
                return
        self._fail(writes, error)

    async def _resolve_doubt(self) -> None:
        """Resolve a failed commit: apply its batch if the engine's revision shows it. Raises StoreUnavailable."""
        if self._broken:
            raise StoreUnavailable(self._broken)
        doubt = self._doubt
        try:
            revision = await self._on_disk(self._engine.revision)
        except EngineFailed as error:
            self._failure = f"cannot write: {error}"
            raise StoreUnavailable(self._failure) from error
        if doubt is None or self._doubt is not doubt:
            return  # another caller was faster
        self._doubt = None
        if doubt.batch.log and revision == doubt.batch.revision:
            log.warning("a write that had failed is on disk", extra={"revision": revision})
            self._assigned = revision
            try:
                self._apply(doubt.writes)
            except Exception as error:
                self._break(error)
                raise StoreUnavailable(self._broken) from error

    async def _apply_in_slices(self, writes: Sequence[Write]) -> None:
        """Make a durable batch visible, and let others have the loop in between."""
        for start in range(0, len(writes), APPLIED_AT_ONCE):
            if start:
                await asyncio.sleep(0)
            self._apply(writes[start : start + APPLIED_AT_ONCE])

    def _apply(self, writes: Sequence[Write]) -> None:
        records = records_of(writes)
        for record in records:
            change = record.change
            if change.deleted:
                self._index.remove(change.key)
            else:
                self._index.put(entry_after(change))
            self._history.append(record)
            self._pending.settle(change.key, change.revision)
        self._revision = writes[-1].revision
        self._failure = ""
        self._publish([record.change for record in records])
        for write in writes:
            if not write.done.done():
                write.done.set_result(write.revision)
        self._wake_waiters()
        self._schedule_compaction()

    def _fail(self, writes: Sequence[Write], error: Exception) -> None:
        # What waits behind the failed batch was checked against it, so it cannot stand either.
        failed = [*writes, *self._waiting.clear()]
        self._pending.clear()
        self._assigned = self._revision
        self._wake_waiters()
        self._failure = f"cannot write: {error}"
        log.error("cannot write", extra={"reason": str(error), "writes": len(failed)})
        for write in failed:
            if not write.done.done():
                write.done.set_exception(StoreUnavailable(self._failure))
        self._try_later()

    def _break(self, error: BaseException) -> None:
        """Take no more writes and answer all callers: memory may be unlike the disk."""
        if self._broken:
            return
        # Its text may tell of an object, which not every caller may see; the log has it all.
        name = type(error).__name__
        self._broken = f"cannot write: the index may differ from the disk after a {name}"
        log.critical("the store cannot go on", exc_info=error)
        refusal = "; whether this write is on disk shows after the next start"
        for write in (*self._in_flight, *self._waiting.clear()):
            if not write.done.done():
                write.done.set_exception(StoreUnavailable(self._broken + refusal))
        for _, seen in self._unseen:
            if not seen.done():
                seen.set_exception(StoreUnavailable(self._broken))
        self._unseen = []
        self._on_broken(self._broken)

    def _try_later(self) -> None:
        if self._trial is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._trial = loop.call_later(TRIAL_SECONDS, self._start_trial)

    def _start_trial(self) -> None:
        self._trial = None
        if self._failure:
            loop = asyncio.get_running_loop()
            self._trying = loop.create_task(self._probe_disk(), name="store trial")

    async def _probe_disk(self) -> None:
        """Probe with an empty write whether the disk takes writes again; on failure probe later."""
        with suppress(StoreUnavailable):
            if self._doubt is not None:
                await self._resolve_doubt()
            if not (self._closed or self._broken):
                await self._enqueue(())
        if self._failure:
            self._try_later()
        else:
            log.info("the disk takes writes again")

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
        if self._forget():
            # More is left: the loop does what else is ready before the next step.
            self._compaction = asyncio.get_running_loop().call_soon(self._compact)
        else:
            self._schedule_compaction()

    def _forget(self, *, adding: int = 0) -> bool:
        """Make one step at forgetting changes; True when more is left."""
        before = self._history.size_bytes
        more = self._history.compact(self._now(), adding=adding)
        if self._memory is not None and (freed := before - self._history.size_bytes) > 0:
            self._memory.freed(freed)
        return more

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def size_bytes(self) -> int:
        """Return how much disk the data takes."""
        return self._engine.size_bytes()

    async def close(self) -> None:
        """Finish the writes under way and release the files."""
        if self._closed:
            return
        self._closed = True
        for handle in (self._compaction, self._trial):
            if handle is not None:
                handle.cancel()
        for task in (self._trying, self._flushing):
            if task is not None:
                await asyncio.gather(task, return_exceptions=True)
        await self._on_disk(self._engine.close)
        if isinstance(self._executor, ThreadPoolExecutor):
            self._executor.shutdown(wait=True)


def _require_sound(operations: Sequence[Operation]) -> None:
    """Refuse what would spoil the batch of others; raises ValueError."""
    written: set[str] = set()
    for operation in operations:
        key = operation.key
        segment = segment_of(key)
        parts = (segment, key[len(segment) :])
        if any(len(part.encode()) > KEY_PART_BYTES_MAX for part in parts):
            raise ValueError(f"cannot use key {key!r}: a part is over {KEY_PART_BYTES_MAX} bytes")
        if not isinstance(operation, Check):
            if key in written:
                raise ValueError(f"cannot write {key} twice in one commit")
            written.add(key)


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
