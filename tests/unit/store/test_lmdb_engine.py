"""What only the disk can show."""

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import pytest

from kubelite.clock import SystemClock
from kubelite.limits import STORE_PAGES
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.engine import Batch, EngineFailed, Logged, StoreUnreadable
from kubelite.store.lmdb_engine import (
    LOOK_ROWS,
    LMDBEngine,
    StoreLocked,
    UnknownFormat,
    lock_readers,
    mapped_bytes,
)
from kubelite.store.protocol import Delete, Entry, Put, StoreUnavailable
from kubelite.store.snapshots import check

OBJECTS = 1000
VALUE = b"x" * 1200
WINDOW = 2000
# The bound of docs/architecture.md: objects, twice the window, one batch; a third for half-filled pages.
FILE_BYTES_MAX = (OBJECTS + 2 * WINDOW * 2 + 500) * 2048 * 4 // 3


def _rewrite(engine: LMDBEngine, rounds: int) -> None:
    """Write all objects anew again and again, 500 a batch."""
    revision = engine.revision()
    for _ in range(rounds):
        for start in range(0, OBJECTS, 500):
            log, puts = [], []
            for number in range(start, start + 500):
                revision += 1
                key = f"/pods/default/{number}"
                puts.append(Entry(key, VALUE, 1, revision))
                log.append(Logged(revision, key, (VALUE, 1, 1), None, 0.0))
            engine.write(Batch(puts, [], log, revision, revision - WINDOW))


def test_rewriting_the_same_objects_does_not_grow_the_file(tmp_path: Path) -> None:
    engine = LMDBEngine(tmp_path)
    _rewrite(engine, 6)
    settled = engine.size_bytes()
    assert settled < FILE_BYTES_MAX
    _rewrite(engine, 20)
    assert engine.size_bytes() <= settled * 1.1
    engine.close()


def test_a_reader_that_was_killed_does_not_keep_old_pages(tmp_path: Path) -> None:
    engine = LMDBEngine(tmp_path)
    _rewrite(engine, 6)
    settled = engine.size_bytes()
    code = (
        "import lmdb, os, sys; env = lmdb.open(sys.argv[1], lib_version=0, readonly=True, max_dbs=4); "
        "reading = env.begin(); reading.stat(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=30)
    assert done.returncode == -9
    _rewrite(engine, 20)
    assert engine.size_bytes() <= settled * 1.1
    engine.close()


def test_what_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"no store" * 1000)
    with pytest.raises(
        StoreUnreadable, match=f"cannot open store in {tmp_path}: File is not an LMDB file"
    ):
        LMDBEngine(tmp_path)
    (tmp_path / "data.mdb").unlink()
    LMDBEngine(tmp_path).close()  # the lock was let go


@pytest.mark.parametrize("table", [b"objects", b"log"])
def test_damaged_rows_are_named(tmp_path: Path, table: bytes) -> None:
    engine = LMDBEngine(tmp_path)
    _rewrite(engine, 1)
    engine.close()
    _overwrite_first(tmp_path, table)
    engine = LMDBEngine(tmp_path)
    with pytest.raises(StoreUnreadable, match="damaged"):
        list(engine.entries() if table == b"objects" else engine.log())
    engine.close()


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    LMDBEngine(tmp_path).close()
    _overwrite_first(tmp_path, b"meta")
    with pytest.raises(UnknownFormat, match="it has format !, this version knows 1"):
        LMDBEngine(tmp_path)


def _overwrite_first(folder: Path, table: bytes) -> None:
    env = lmdb.open(str(folder), lib_version=0, max_dbs=4, map_size=1 << 30)
    with env.begin(write=True) as transaction:
        cursor = transaction.cursor(db=env.open_db(table, transaction))
        cursor.first()
        cursor.put(cursor.key(), b"!")
    env.close()


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


async def test_a_store_that_cannot_be_loaded_lets_go_of_its_folder(tmp_path: Path) -> None:
    engine = LMDBEngine(tmp_path)
    _rewrite(engine, 1)
    engine.close()
    _overwrite_first(tmp_path, b"log")
    for _ in range(2):
        with pytest.raises(StoreUnreadable, match="damaged"):
            await EmbeddedStore.open(tmp_path, clock=SystemClock())


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
    engine = LMDBEngine(tmp_path, map_size_bytes=256 * 1024)
    store = EmbeddedStore(engine, clock=SystemClock(), executor=ThreadPoolExecutor(1))
    await store.commit(Put("/pods/small", b"1"))
    with pytest.raises(StoreUnavailable, match="cannot write"):
        await store.commit(Put("/pods/big", b"x" * 1024 * 1024))
    assert store.get("/pods/big") is None
    assert await store.commit(Put("/pods/small", b"2")) == 2
    await store.close()


def _filled(folder: Path) -> LMDBEngine:
    """Return an engine with small and large values, replaced and removed ones among them."""
    engine, revision = LMDBEngine(folder), 0
    for number in range(300):
        revision += 1
        key = f"/secrets.core/n/{number}"
        old = b"plaintext-%d" % number * (1 + number % 3 * 300)
        row = Logged(revision, key, None, None, 0.0)
        engine.write(Batch([Entry(key, old, revision, revision)], [], [row], revision, 0))
    for number in range(0, 300, 3):
        revision += 1
        key = f"/secrets.core/n/{number}"
        replaced = (b"plaintext-replaced", number + 1, number + 1)
        row = Logged(revision, key, replaced, (b"plaintext-final", number + 1), 0.0)
        engine.write(Batch([], [key], [row], revision, 0))
    return engine


def _sealed(_key: str, value: bytes) -> bytes:
    return value.replace(b"plaintext", b"sealed")


def test_rewritten_and_compacted_nothing_of_the_old_values_is_left(tmp_path: Path) -> None:
    engine = _filled(tmp_path)
    before = list(engine.entries())
    keys, revisions = [entry.key for entry in before], [row.revision for row in engine.log()]
    assert engine.rewrite([*keys, "/secrets.core/n/gone"], [*revisions, 10**6], _sealed) == 200
    assert engine.rewrite(keys, revisions, _sealed) == 0
    assert b"plaintext" in (tmp_path / "data.mdb").read_bytes()
    size = engine.size_bytes()
    assert engine.compact()
    assert b"plaintext" not in (tmp_path / "data.mdb").read_bytes()
    assert engine.size_bytes() < size
    assert not (tmp_path / "compacting").exists()
    after = list(engine.entries())
    assert [(one.key, one.created_revision, one.revision) for one in after] == [
        (one.key, one.created_revision, one.revision) for one in before
    ]
    assert [one.value for one in after] == [_sealed("", one.value) for one in before]
    row = Logged(401, "/pods/n/a", None, None, 0.0)
    engine.write(Batch([Entry("/pods/n/a", b"new", 401, 401)], [], [row], 401, 0))
    engine.close()
    report = check(tmp_path)
    assert (report.problems, report.revision, report.objects) == ([], 401, 201)


def test_the_former_file_is_overwritten(tmp_path: Path) -> None:
    engine = _filled(tmp_path)
    with (tmp_path / "data.mdb").open("rb") as former:
        assert engine.compact()
        assert not former.read().strip(b"\0")
    engine.close()


@pytest.mark.parametrize("call", ["hardlink_to", "replace", "unlink"])
def test_what_a_crash_left_is_overwritten_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    engine = _filled(tmp_path)
    before = list(engine.entries())
    with (tmp_path / "data.mdb").open("rb") as former:
        with monkeypatch.context() as patch:
            patch.setattr(Path, call, crash)
            with pytest.raises(KeyboardInterrupt):
                engine.compact()
        engine.close()
        engine = LMDBEngine(tmp_path)
        assert list(engine.entries()) == before
        assert engine.compact()
        assert not former.read().strip(b"\0")
    assert list(engine.entries()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.mdb", "lock", "lock.mdb"]
    engine.close()
    assert check(tmp_path).problems == []


def test_a_former_file_that_somebody_kept_is_left_alone(tmp_path: Path) -> None:
    engine = _filled(tmp_path)
    kept = tmp_path / "kept"
    kept.hardlink_to(tmp_path / "data.mdb")
    before = kept.read_bytes()
    assert engine.compact()
    assert kept.read_bytes() == before
    engine.close()


def test_a_file_that_is_read_is_not_replaced(tmp_path: Path) -> None:
    engine = _filled(tmp_path)
    reading = lock_readers(tmp_path, shared=True)
    assert reading is not None
    inode = (tmp_path / "data.mdb").stat().st_ino
    assert not engine.compact()
    assert (tmp_path / "data.mdb").stat().st_ino == inode
    os.close(reading)
    assert engine.compact()
    assert (tmp_path / "data.mdb").stat().st_ino != inode
    engine.close()


@pytest.mark.parametrize("call", ["mkdir", "replace", "unlink"])
def test_a_compaction_that_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    engine = _filled(tmp_path)
    before = list(engine.entries())
    with monkeypatch.context() as patch:
        patch.setattr(Path, call, fail)
        with pytest.raises(EngineFailed, match="No space left"):
            engine.compact()
    assert list(engine.entries()) == before
    row = Logged(401, "/pods/n/a", None, None, 0.0)
    engine.write(Batch([Entry("/pods/n/a", b"new", 401, 401)], [], [row], 401, 0))
    assert engine.revision() == 401
    engine.close()
    assert check(tmp_path).problems == []


def test_the_form_is_kept(tmp_path: Path) -> None:
    engine = LMDBEngine(tmp_path)
    assert engine.form() == ""
    engine.set_form("sealed by key1")
    assert engine.compact()
    assert engine.form() == "sealed by key1"
    engine.close()


BIG = b"x" * 4000


def _batch(engine: LMDBEngine, keys: Iterable[str]) -> Batch:
    revision = engine.revision()
    entries = [Entry(key, BIG, 1, revision + place) for place, key in enumerate(keys, 1)]
    rows = [Logged(one.revision, one.key, None, None, 0.0) for one in entries]
    last = revision + len(entries)
    return Batch(puts=entries, deletes=[], log=rows, revision=last, floor=last)


def test_pages_that_were_read_do_not_stay_in_memory(tmp_path: Path) -> None:
    engine = LMDBEngine(tmp_path)
    engine.write(_batch(engine, (f"/pods/{number:05}" for number in range(8000))))
    before = mapped_bytes()
    assert sum(1 for _ in engine.entries()) == 8000
    assert mapped_bytes() - before > 30_000_000
    engine.release_pages()
    assert mapped_bytes() - before < 1_000_000
    assert sum(1 for _ in engine.entries()) == 8000
    engine.close()


def test_writes_all_over_the_file_map_no_more_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STORE_PAGES, "value", 4 * 1024 * 1024)
    engine = LMDBEngine(tmp_path)
    keys = [f"/pods/{number:05}" for number in range(8000)]
    engine.write(_batch(engine, keys))
    engine.release_pages()
    before, reached = mapped_bytes(), STORE_PAGES.times_reached
    most = 0
    for start in range(100):
        engine.write(_batch(engine, keys[start::100]))
        most = max(most, mapped_bytes() - before)
    assert STORE_PAGES.times_reached > reached
    # What one more look's worth of writes maps comes on top.
    assert most < 4 * 1024 * 1024 + 2 * LOOK_ROWS * 20 * 4096
    assert engine.revision() == 16_000
    engine.close()


async def test_what_was_loaded_does_not_count_twice(tmp_path: Path) -> None:
    engine = LMDBEngine(tmp_path)
    engine.write(_batch(engine, (f"/pods/{number:05}" for number in range(8000))))
    engine.close()
    before = mapped_bytes()
    store = await EmbeddedStore.open(tmp_path, clock=SystemClock())
    assert store.count("/pods/") == 8000
    assert mapped_bytes() - before < 4_000_000
    await store.close()
