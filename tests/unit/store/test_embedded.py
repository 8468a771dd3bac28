"""Trouble with the disk: what fails, what waits, what goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from kubelite.clock import SetClock, SystemClock
from kubelite.collector import FreedMemory
from kubelite.limits import WAITING_WRITES
from kubelite.store import embedded, history, waiting
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.engine import Batch, EngineFailed
from kubelite.store.history import HistoryLimits
from kubelite.store.memory_engine import MemoryEngine
from kubelite.store.protocol import (
    Change,
    Compacted,
    Delete,
    FutureRevision,
    Put,
    RevisionMismatch,
    StoreUnavailable,
)


class FaultyEngine(MemoryEngine):
    """Fails or waits on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.error: str = ""
        self.is_silent = False
        self.unexpected: Exception | None = None
        self.batches: list[Batch] = []
        self.applies_all_the_same = False
        self.may_write = threading.Event()
        self.may_write.set()

    def revision(self) -> int:
        if self.is_silent:
            raise EngineFailed("Input/output error")
        return super().revision()

    def write(self, batch: Batch) -> None:
        self.may_write.wait(10)
        self.batches.append(batch)
        if self.unexpected:
            raise self.unexpected
        if not self.error or self.applies_all_the_same:
            super().write(batch)
        if self.error:
            raise EngineFailed(self.error)


@pytest.fixture
def engine() -> FaultyEngine:
    return FaultyEngine()


@pytest.fixture
async def store(engine: FaultyEngine) -> AsyncIterator[EmbeddedStore]:
    store = EmbeddedStore(engine, clock=SystemClock(), executor=ThreadPoolExecutor(1))
    yield store
    engine.may_write.set()
    await store.close()


async def test_a_failed_write_is_not_applied_and_the_next_one_works(
    engine: FaultyEngine, store: EmbeddedStore
) -> None:
    seen: list[Change] = []
    store.subscribe("/pods/", seen.extend)
    await store.commit(Put("/pods/a", b"1"))
    engine.error = "No space left on device"
    with pytest.raises(StoreUnavailable, match="cannot write: No space left on device"):
        await store.commit(Put("/pods/a", b"2"))
    entry = store.get("/pods/a")
    assert entry is not None
    assert (entry.value, store.revision, len(seen)) == (b"1", 1, 1)
    engine.error = ""
    assert await store.commit(Put("/pods/a", b"3", expected=1)) == 2


async def test_what_waits_behind_a_failed_write_fails_with_it(
    engine: FaultyEngine, store: EmbeddedStore
) -> None:
    engine.may_write.clear()
    engine.error = "Input/output error"
    first = asyncio.ensure_future(store.commit(Put("/pods/a", b"1")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    behind = asyncio.ensure_future(store.commit(Put("/pods/a", b"2", expected=1)))
    await asyncio.sleep(0)
    engine.may_write.set()
    done = await asyncio.gather(first, behind, return_exceptions=True)
    assert [type(error) for error in done] == [StoreUnavailable] * 2
    assert store.get("/pods/a") is None
    engine.error = ""
    assert await store.commit(Put("/pods/a", b"1", expected=0)) == 1


async def test_an_error_after_the_batch_reached_the_disk_is_no_failure(
    engine: FaultyEngine, store: EmbeddedStore
) -> None:
    engine.error, engine.applies_all_the_same = "Input/output error", True
    assert await store.commit(Put("/pods/a", b"1")) == 1
    assert store.get("/pods/a") is not None


async def test_an_unexpected_failure_reaches_who_waits(
    engine: FaultyEngine, store: EmbeddedStore
) -> None:
    engine.unexpected = MemoryError("no memory")
    with pytest.raises(StoreUnavailable, match="cannot write: no memory"):
        await store.commit(Put("/pods/a", b"1"))
    engine.unexpected = None
    assert await store.commit(Put("/pods/a", b"1", expected=0)) == 1


@pytest.mark.parametrize("is_applied", [True, False])
async def test_a_disk_that_falls_silent_amid_a_commit_is_asked_again(
    engine: FaultyEngine, store: EmbeddedStore, is_applied: bool
) -> None:
    seen: list[Change] = []
    store.subscribe("/pods/", seen.extend)
    engine.error, engine.applies_all_the_same, engine.is_silent = "EIO", is_applied, True
    with pytest.raises(StoreUnavailable):
        await store.commit(Put("/pods/a", b"1"))
    with pytest.raises(StoreUnavailable, match="Input/output error"):
        await store.commit(Put("/pods/b", b"1"))  # what it builds on is not known
    assert len(engine.batches) == 1
    engine.error, engine.is_silent = "", False
    revision = await store.commit(Put("/pods/b", b"1"))
    assert revision == (2 if is_applied else 1)
    assert (store.get("/pods/a") is not None) is is_applied
    assert [change.revision for change in seen] == list(range(1, revision + 1))


async def test_a_store_nobody_writes_to_recovers(
    engine: FaultyEngine, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "TRIAL_SECONDS", 0.0)
    engine.error = "No space left on device"
    with pytest.raises(StoreUnavailable):
        await store.commit(Put("/pods/a", b"1"))
    while len(engine.batches) < 3:
        await asyncio.sleep(0)
    assert store.problem == "cannot write: No space left on device"
    engine.error = ""
    while store.problem:
        await asyncio.sleep(0)
    assert (store.revision, engine.revision()) == (0, 0)
    assert await store.commit(Put("/pods/a", b"1")) == 1


async def test_many_writes_that_waited_enter_the_index_bit_by_bit(
    engine: FaultyEngine, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BATCH_OPERATIONS_MAX", 4)
    engine.may_write.clear()
    writes = [asyncio.ensure_future(store.commit(Put(f"/p/{n}", b"1"))) for n in range(10)]
    for _ in range(10):
        await asyncio.sleep(0)
    engine.may_write.set()
    assert await asyncio.gather(*writes) == list(range(1, 11))
    assert max(len(batch.log) for batch in engine.batches) == 4


async def test_changes_that_expire_together_are_forgotten_step_by_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "COMPACTION_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(history, "STEP_CHANGES", 10)
    clock = SetClock(datetime(2026, 1, 1, tzinfo=UTC))
    store = EmbeddedStore(MemoryEngine(), clock=clock, limits=HistoryLimits(seconds=0.001))
    await store.commit(*(Put(f"/pods/{n}", b"") for n in range(55)))
    clock.date += timedelta(seconds=1)
    floors = {store.oldest}
    while store.oldest < 55:
        await asyncio.sleep(0)
        floors.add(store.oldest)
    assert floors >= {0, 10, 20, 30, 40, 50, 55}
    await store.close()


async def test_closing_twice_is_closing_once(store: EmbeddedStore) -> None:
    await store.close()
    await store.close()


async def test_a_slow_disk_holds_writes_only(engine: FaultyEngine, store: EmbeddedStore) -> None:
    await store.commit(Put("/pods/a", b"1"))
    engine.may_write.clear()
    writes = [asyncio.ensure_future(store.commit(Put("/pods/a", b"%d" % n))) for n in range(5)]
    for _ in range(10):
        await asyncio.sleep(0)
    entry = store.get("/pods/a")
    assert entry is not None
    assert entry.value == b"1"
    assert not any(write.done() for write in writes)
    engine.may_write.set()
    assert await asyncio.gather(*writes) == [2, 3, 4, 5, 6]


async def test_a_disk_that_does_not_answer_is_a_problem(
    engine: FaultyEngine, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.may_write.clear()
    write = asyncio.ensure_future(store.commit(Put("/pods/a", b"1")))
    for _ in range(3):
        await asyncio.sleep(0)
    assert store.problem == ""
    monkeypatch.setattr(embedded, "COMMIT_SECONDS_MAX", 0.0)
    assert store.problem == "cannot write: the disk has not answered for 0 s"
    engine.may_write.set()
    await write
    assert store.problem == ""


async def test_a_caller_that_gives_up_does_not_stop_its_write(
    engine: FaultyEngine, store: EmbeddedStore
) -> None:
    engine.may_write.clear()
    given_up = asyncio.ensure_future(store.commit(Put("/pods/a", b"1")))
    await asyncio.sleep(0)
    given_up.cancel()
    engine.may_write.set()
    assert await store.commit(Put("/pods/b", b"2")) == 2
    assert store.get("/pods/a") is not None


async def test_waiting_writes_are_bounded(
    engine: FaultyEngine, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WAITING_WRITES, "value", 3)
    before = WAITING_WRITES.times_reached
    engine.may_write.clear()
    writes = [asyncio.ensure_future(store.commit(Put("/pods/a", b"1"))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too many writes wait"):
        await store.commit(Put("/pods/a", b"2"))
    assert WAITING_WRITES.times_reached == before + 1
    engine.may_write.set()
    await asyncio.gather(*writes)


async def test_a_closed_store_takes_no_writes(store: EmbeddedStore) -> None:
    await store.commit(Put("/pods/a", b"1"))
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.commit(Delete("/pods/a"))


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_the_window_begins_right_behind_its_floor(is_restarted: bool) -> None:
    engine = MemoryEngine()
    store = EmbeddedStore(engine, clock=SystemClock(), limits=HistoryLimits(changes=3))
    for number in range(1, 9):
        await store.commit(Put(f"/pods/{number}", b"%d" % number))
    if is_restarted:
        store = EmbeddedStore(engine, clock=SystemClock(), limits=HistoryLimits(changes=3))
    floor = store.oldest
    assert floor == 5
    # Whoever has seen the floor's own change misses nothing that came later.
    assert [change.revision for change in store.history("/pods/", floor)] == [6, 7, 8]
    assert [entry.key for entry in store.list("/pods/", revision=floor).entries] == [
        f"/pods/{number}" for number in range(1, 6)
    ]
    with pytest.raises(Compacted) as refused:
        store.history("/pods/", floor - 1)
    assert (refused.value.asked, refused.value.oldest) == (floor - 1, floor)
    with pytest.raises(Compacted):
        store.list("/pods/", revision=floor - 1)
    # The newest revision has no changes behind it; the next one is the future.
    assert store.history("/pods/", store.revision) == []
    with pytest.raises(FutureRevision) as early:
        store.history("/pods/", store.revision + 1)
    assert (early.value.asked, early.value.current) == (9, 8)
    await store.close()


async def test_a_store_without_a_past_begins_at_its_revision() -> None:
    store = EmbeddedStore(MemoryEngine(), clock=SystemClock())
    assert (store.oldest, store.history("/pods/", 0)) == (0, [])
    with pytest.raises(FutureRevision):
        store.history("/pods/", 1)
    await store.close()


async def test_what_leaves_the_window_goes_back_to_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    freed: list[int] = []
    memory = FreedMemory(lambda: None)
    monkeypatch.setattr(memory, "freed", freed.append)
    store = EmbeddedStore(
        MemoryEngine(), clock=SystemClock(), limits=HistoryLimits(changes=2), memory=memory
    )
    await store.commit(Put("/pods/a", b"12345"))
    await store.commit(Put("/pods/a", b"123"))
    await store.commit(Delete("/pods/a", value=b"1234567"))
    assert freed == []  # the first change replaced nothing
    await store.commit(Put("/pods/b", b"1"))
    assert freed == [5]
    await store.commit(Put("/pods/b", b"2"))
    # What was removed had a last state of its own.
    assert freed == [5, 3 + 7]
    await store.close()


async def test_whoever_collided_with_a_write_that_fails_is_told(
    engine: FaultyEngine, store: EmbeddedStore
) -> None:
    engine.may_write.clear()
    engine.error = "Input/output error"
    first = asyncio.ensure_future(store.commit(Put("/pods/a", b"1")))
    await asyncio.sleep(0)
    collided = asyncio.ensure_future(store.commit(Put("/pods/a", b"2", expected=0)))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not collided.done()
    engine.may_write.set()
    async with asyncio.timeout(5):
        done = await asyncio.gather(first, collided, return_exceptions=True)
    assert [type(error) for error in done] == [StoreUnavailable, RevisionMismatch]


async def test_a_batch_has_the_revision_of_its_last_write(
    engine: FaultyEngine, store: EmbeddedStore
) -> None:
    await asyncio.gather(*(store.commit(Put(f"/pods/{name}", b"1")) for name in "abc"))
    assert len(engine.batches) == 1
    assert engine.revision() == store.revision == engine.batches[0].revision == 3


async def test_an_ended_subscription_takes_no_room(store: EmbeddedStore) -> None:
    ends = [store.subscribe(prefix, lambda _: None) for prefix in ("/pods/", "/pods/", "/", "/p")]
    for end in ends:
        end()
    assert store._listeners == {}
