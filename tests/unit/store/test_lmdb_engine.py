"""What only the disk can show."""

from pathlib import Path

import pytest

from kubelite.clock import SystemClock
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.lmdb_engine import LMDBEngine, StoreLocked
from kubelite.store.protocol import Delete, Put


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(tmp_path, clock=SystemClock())
    await store.commit(Put("/pods/a", b"1"))
    await store.commit(Put("/pods/a", b"2"), Put("/nodes/n", b"3"))
    await store.commit(Delete("/nodes/n"))
    await store.commit(Put("/pods/a", b"5"))
    before = store.history("/", 0)
    await store.close()
    store = await EmbeddedStore.open(tmp_path, clock=SystemClock())
    assert store.revision == 5
    assert store.history("/", 0) == before
    assert [entry.value for entry in store.list("/pods/", revision=2).entries] == [b"2"]
    assert await store.commit(Put("/pods/b", b"6")) == 6
    await store.close()


async def test_long_keys_fit(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(tmp_path, clock=SystemClock())
    key = f"/{'r' * 63}.{'g' * 253}/{'n' * 63}/{'o' * 253}"
    await store.commit(Put(key, b"1"))
    await store.close()
    store = await EmbeddedStore.open(tmp_path, clock=SystemClock())
    assert store.get(key) is not None
    await store.close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    engine = LMDBEngine(tmp_path)
    with pytest.raises(StoreLocked, match=r"cannot open store in .*: process \d+ uses it"):
        LMDBEngine(tmp_path)
    engine.close()
    LMDBEngine(tmp_path).close()


async def test_a_full_disk_fails_the_write_and_recovers(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from kubelite.store.protocol import StoreUnavailable

    engine = LMDBEngine(tmp_path, map_size_bytes=256 * 1024)
    store = EmbeddedStore(engine, clock=SystemClock(), executor=ThreadPoolExecutor(1))
    await store.commit(Put("/pods/small", b"1"))
    with pytest.raises(StoreUnavailable, match="cannot write"):
        await store.commit(Put("/pods/big", b"x" * 1024 * 1024))
    assert store.get("/pods/big") is None
    assert await store.commit(Put("/pods/small", b"2")) == 2
    await store.close()
