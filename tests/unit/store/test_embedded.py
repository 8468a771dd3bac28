"""Trouble with the disk: what fails, what waits, what goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kubelite.clock import SystemClock
from kubelite.store import embedded
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.engine import Batch, EngineFailed
from kubelite.store.memory_engine import MemoryEngine
from kubelite.store.protocol import Change, Delete, Put, StoreUnavailable


class FaultyEngine(MemoryEngine):
    """Fails or waits on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.error: str = ""
        self.applies_all_the_same = False
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, batch: Batch) -> None:
        self.may_write.wait(10)
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
    monkeypatch.setattr(embedded, "WAITING_OPERATIONS_MAX", 3)
    engine.may_write.clear()
    writes = [asyncio.ensure_future(store.commit(Put("/pods/a", b"1"))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too many writes wait"):
        await store.commit(Put("/pods/a", b"2"))
    engine.may_write.set()
    await asyncio.gather(*writes)


async def test_a_closed_store_takes_no_writes(store: EmbeddedStore) -> None:
    await store.commit(Put("/pods/a", b"1"))
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.commit(Delete("/pods/a"))
