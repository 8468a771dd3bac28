import asyncio
import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

import lmdb
import pytest

from kubelite.clock import SystemClock
from kubelite.store import snapshots
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.lmdb_engine import StoreLocked, lock_readers
from kubelite.store.protocol import Compacted, Delete, Put

SOURCE = str(Path(__file__).parents[3] / "src")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def _filled(path: Path) -> EmbeddedStore:
    store = await EmbeddedStore.open(path, clock=SystemClock())
    for number in range(20):
        await store.commit(Put(f"/pods/default/{number % 7}", b"%d" % number))
    await store.commit(Delete("/pods/default/3"))
    return store


async def _elsewhere(call: str, *, fails: bool = False) -> str:
    """Make a call in another process, for LMDB opens a folder once per process; return what it printed."""
    code = "from datetime import datetime; from pathlib import Path; from kubelite.store import snapshots; "
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"{code}print({call})",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PYTHONPATH": SOURCE},
    )
    printed, _ = await process.communicate()
    assert process.returncode == int(fails)
    return printed.decode()


async def test_save_while_in_use_and_restore(tmp_path: Path) -> None:
    data, folder = tmp_path / "db", tmp_path / "snapshots"
    store = await _filled(data)
    await _elsewhere(
        f"snapshots.save(Path({str(data)!r}), Path({str(folder)!r}), datetime(2026, 1, 2, 3, 4, 5))"
    )
    [saved] = folder.iterdir()
    assert saved.name == "kubelite-20260102-030405-21.mdb"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    before = [(entry.key, entry.value) for entry in store.list("/").entries]
    await store.commit(Put("/pods/default/later", b"x"))
    with pytest.raises(StoreLocked):
        snapshots.restore(saved, data)
    await store.close()
    former = snapshots.restore(saved, data)
    assert former is not None
    assert former.exists()
    store = await EmbeddedStore.open(data, clock=SystemClock())
    assert [(entry.key, entry.value) for entry in store.list("/").entries] == before
    for revision in (21, 22):  # of the snapshot, and of the change after it that is lost
        with pytest.raises(Compacted):
            store.history("/", revision)
    assert await store.commit(Put("/pods/default/again", b"y")) > 1_000_000_000
    await store.close()
    report = await _elsewhere(f"snapshots.check(Path({str(data)!r}))")
    assert "problems=[]" in report
    assert list(folder.iterdir()) == [saved]


async def test_a_whole_folder_has_no_problems(tmp_path: Path) -> None:
    store = await _filled(tmp_path)
    report = await _elsewhere(f"snapshots.check(Path({str(tmp_path)!r}))")
    assert "objects=6" in report
    assert "revision=21, problems=[]" in report
    await store.close()


async def test_damage_is_found(tmp_path: Path) -> None:
    store = await _filled(tmp_path)
    await store.close()
    env = lmdb.open(str(tmp_path), lib_version=0, max_dbs=4, map_size=1 << 30)
    with env.begin(write=True) as transaction:
        cursor = transaction.cursor(db=env.open_db(b"objects", transaction))
        cursor.first()
        cursor.delete()
    env.close()
    report = snapshots.check(tmp_path)
    assert report.problems == ["/pods/default/0: is at 0, the log says 15"]
    with pytest.raises(snapshots.SnapshotFailed, match="the log says"):
        snapshots.restore(tmp_path / "data.mdb", tmp_path / "other")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    for call in (
        lambda: snapshots.check(tmp_path),
        lambda: snapshots.save(tmp_path, tmp_path / "s", NOW),
        lambda: snapshots.restore(tmp_path / "none", tmp_path),
    ):
        with pytest.raises(snapshots.SnapshotFailed, match=str(tmp_path)):
            call()
    (tmp_path / "data.mdb").write_bytes(b"no store" * 1000)
    with pytest.raises(snapshots.SnapshotFailed, match="cannot check"):
        snapshots.check(tmp_path)


async def test_a_crash_while_restoring_leaves_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "db"
    store = await _filled(data)
    await store.close()
    saved = snapshots.save(data, tmp_path / "snapshots", NOW)
    for call in ("unlink", "hardlink_to", "replace", "chmod"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, call, _crash)
            with pytest.raises(KeyboardInterrupt):
                snapshots.restore(saved.path, data)
        assert snapshots.check(data).revision == 21
    assert snapshots.restore(saved.path, data) == data / "data.mdb.before-restore"
    assert sorted(path.name for path in data.iterdir()) == [
        "data.mdb",
        "data.mdb.before-restore",
        "lock",
    ]


def _crash(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


async def test_a_snapshot_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    store = await _filled(tmp_path / "db")
    await store.close()
    saved = snapshots.save(tmp_path / "db", tmp_path / "snapshots", NOW)
    for size in (saved.size_bytes - 1, 3 * 4096, 100, 0):
        os.truncate(saved.path, size)
        # in another process: what goes wrong here ends it
        message = await _elsewhere(
            f"snapshots.restore(Path({str(saved.path)!r}), Path({str(tmp_path / 'db')!r}))",
            fails=True,
        )
        assert f"SnapshotFailed: cannot restore {saved.path}: " in message
    assert snapshots.check(tmp_path / "db").problems == []


@pytest.mark.parametrize("table", [b"objects", b"log"])
async def test_rows_that_cannot_be_read_are_named(tmp_path: Path, table: bytes) -> None:
    store = await _filled(tmp_path)
    await store.close()
    env = lmdb.open(str(tmp_path), lib_version=0, max_dbs=4, map_size=1 << 30)
    with env.begin(write=True) as transaction:
        cursor = transaction.cursor(db=env.open_db(table, transaction))
        cursor.first()
        cursor.put(cursor.key(), b"!")
    env.close()
    with pytest.raises(snapshots.SnapshotFailed, match=f"cannot check {tmp_path}: damaged"):
        snapshots.check(tmp_path)


async def test_a_store_that_is_read_is_not_replaced(tmp_path: Path) -> None:
    data = tmp_path / "db"
    store = await _filled(data)
    await store.close()
    saved = snapshots.save(data, tmp_path / "snapshots", NOW)
    reading = lock_readers(data, shared=True)
    assert reading is not None
    with pytest.raises(snapshots.SnapshotFailed, match="another process reads"):
        snapshots.restore(saved.path, data)
    os.close(reading)
    assert snapshots.restore(saved.path, data)
