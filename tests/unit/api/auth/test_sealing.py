"""Switching encryption on, changing its key and switching it off: what is in the data file, byte by byte."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubelite import maintenance
from kubelite.api.auth import sealing
from kubelite.api.auth.encryption import PREFIX, read_keys, rotate_keys
from kubelite.api.auth.sealing import seal_all
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.preparation import OpenedStore, open_store
from kubelite.prerequisites import CannotStart
from kubelite.randomness import SystemRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.lmdb_engine import lock_readers
from kubelite.store.protocol import Change, Delete, Put
from kubelite.store.snapshots import check

SECRET = b"opensesame"
OLD_KEY = PREFIX + b"key1:"
COUNT = 150


@dataclass(frozen=True)
class Folder:
    """A data folder, and how to run on it."""

    path: Path

    def config(self, *, wanted: bool = False) -> Config:
        return Config(data_dir=str(self.path), secrets_encryption=wanted)

    async def opened(self, *, wanted: bool = False) -> OpenedStore:
        return await open_store(self.config(wanted=wanted), SystemClock(), SystemRandomness())

    async def sealed(self) -> None:
        """Run as a server does that is stopped once all is sealed."""
        opened = await self.opened(wanted=True)
        await self.seal(opened)
        await opened.store.close()

    async def seal(self, opened: OpenedStore) -> None:
        assert opened.sealing is not None
        await seal_all(opened.sealing, self.key_file, opened.store.between_commits)

    @property
    def key_file(self) -> Path:
        return self.config().secrets_key_file

    def holds(self, text: bytes) -> bool:
        return text in (self.path / "db" / "data.mdb").read_bytes()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def fill(store: EmbeddedStore) -> None:
    """Write small and large Secrets, change some and remove others."""
    for number in range(COUNT):
        value = SECRET * (1 + number % 5 * 400)
        await store.commit(Put(f"/secrets.core/default/s{number}", value))
    for number in range(0, COUNT, 3):
        await store.commit(Put(f"/secrets.core/default/s{number}", b"again " + SECRET))
    for number in range(1, COUNT, 3):
        await store.commit(Delete(f"/secrets.core/default/s{number}"))
    await store.commit(Put("/configmaps.core/default/plain", b"not secret"))


async def test_switching_on_leaves_nothing_in_the_clear(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store, none = await folder.opened()
    assert none is None
    await fill(store)
    entries, history = store.list("/").entries, store.history("/", 0)
    await store.close()
    assert folder.holds(SECRET)

    opened = await folder.opened(wanted=True)
    heard: list[Sequence[Change]] = []
    opened.store.subscribe("/", heard.append)
    await folder.seal(opened)
    assert not folder.holds(SECRET)
    assert folder.holds(b"not secret")
    assert heard == []
    assert opened.store.list("/").entries == entries
    assert opened.store.history("/", 0) == history
    await opened.store.commit(Put("/secrets.core/default/new", SECRET))
    await opened.store.close()
    assert not folder.holds(SECRET)
    assert [
        line.message for line in caplog.records if line.name == "kubelite.api.auth.sealing"
    ] == [
        "sealing Secrets on disk",
        "Secrets are sealed and the data file is compacted",
    ]
    assert caplog.records[-1].__dict__["secrets"] == COUNT * 2 // 3

    again, engine = await folder.opened()
    assert engine is not None
    assert engine.is_finished
    assert [one for one in again.list("/").entries if not one.key.endswith("/new")] == entries
    assert again.history("/", 0)[: len(history)] == history
    await again.close()
    assert check(folder.path / "db").problems == []


async def test_a_removed_secret_is_not_left_in_free_pages(folder: Folder) -> None:
    store, _ = await folder.opened()
    await store.commit(Put("/secrets.core/default/a", SECRET))
    await store.commit(Delete("/secrets.core/default/a"))
    await store.close()
    await folder.sealed()
    assert not folder.holds(SECRET)


async def test_sealing_goes_on_where_it_was_cut_short(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = await folder.opened()
    await fill(store)
    await store.close()
    store, engine = await folder.opened(wanted=True)
    assert engine is not None
    before = engine.stale
    steps = 0

    async def twice(call: Callable[[], Any]) -> Any:
        nonlocal steps
        steps += 1
        if steps > 3:  # the first one asks whether there is something to do
            raise asyncio.CancelledError
        return await store.between_commits(call)

    with pytest.raises(asyncio.CancelledError):
        await seal_all(engine, folder.key_file, twice)
    await store.close()
    store, engine = await folder.opened(wanted=True)
    assert engine is not None
    assert 0 < engine.stale < before
    await seal_all(engine, folder.key_file, store.between_commits)
    await store.close()
    assert not folder.holds(SECRET)


async def test_writes_go_on_meanwhile(folder: Folder) -> None:
    store, _ = await folder.opened()
    await fill(store)
    await store.close()
    store, engine = await folder.opened(wanted=True)
    assert engine is not None
    key = "/secrets.core/default/s0"

    async def writing(call: Callable[[], Any]) -> Any:
        result = await store.between_commits(call)
        await store.commit(Put(key, b"newest " + SECRET))
        return result

    await seal_all(engine, folder.key_file, writing)
    found = store.get(key)
    await store.close()
    assert not folder.holds(SECRET)
    store, _ = await folder.opened()
    assert store.get(key) == found
    await store.close()


async def test_while_the_file_is_read_it_is_compacted_later(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = await folder.opened()
    await fill(store)
    await store.close()
    opened = await folder.opened(wanted=True)
    reading = lock_readers(folder.path / "db", shared=True)
    assert reading is not None
    await folder.seal(opened)
    assert "until the next start" in caplog.text
    os.close(reading)
    await opened.store.close()
    assert folder.holds(SECRET)
    await folder.sealed()
    assert not folder.holds(SECRET)


async def test_rotation_leaves_nothing_of_the_older_key(folder: Folder) -> None:
    store, _ = await folder.opened(wanted=True)
    await fill(store)
    await store.close()
    await folder.sealed()
    assert folder.holds(OLD_KEY)
    assert maintenance.rotate_secrets_key(folder.config()) == COUNT * 2 // 3
    assert not folder.holds(OLD_KEY)
    assert [key.name for key in read_keys(folder.key_file).keys] == ["key2"]
    store, engine = await folder.opened()
    assert engine is not None
    assert engine.is_finished
    assert len(store.history("/secrets.core/", 0)) == COUNT * 5 // 3
    await store.close()


async def test_a_rotation_cut_short_is_finished_by_the_server(folder: Folder) -> None:
    store, _ = await folder.opened(wanted=True)
    await fill(store)
    await store.close()
    await folder.sealed()
    rotate_keys(folder.key_file, SystemRandomness())
    await folder.sealed()
    assert not folder.holds(OLD_KEY)
    assert [key.name for key in read_keys(folder.key_file).keys] == ["key2"]


async def test_without_the_flag_the_keys_stay_in_use(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store, _ = await folder.opened(wanted=True)
    await store.close()
    store, engine = await folder.opened(wanted=False)
    assert engine is not None
    await store.commit(Put("/secrets.core/default/a", SECRET))
    await store.close()
    assert "Secrets stay encrypted" in caplog.text
    assert not folder.holds(SECRET)


async def test_switching_off_writes_all_in_the_clear(folder: Folder) -> None:
    store, _ = await folder.opened(wanted=True)
    await fill(store)
    entries, history = store.list("/").entries, store.history("/", 0)
    await store.close()
    assert maintenance.disable_secrets_encryption(folder.config()) == COUNT * 2 // 3
    assert not folder.key_file.exists()
    assert not folder.holds(PREFIX)
    store, none = await folder.opened()
    assert none is None
    assert (store.list("/").entries, store.history("/", 0)) == (entries, history)
    await store.close()
    with pytest.raises(maintenance.Refused, match="not encrypted"):
        maintenance.disable_secrets_encryption(folder.config())
    await folder.sealed()  # and on again
    assert not folder.holds(SECRET)


async def test_plain_writes_between_two_times_of_the_same_key_are_noticed(folder: Folder) -> None:
    await folder.sealed()
    key = folder.key_file.read_bytes()
    folder.key_file.unlink()
    store, _ = await folder.opened()  # there was nothing sealed
    await store.commit(Put("/secrets.core/default/a", SECRET))
    await store.commit(Delete("/secrets.core/default/a"))
    await store.close()
    folder.key_file.write_bytes(key)
    folder.key_file.chmod(0o600)
    await folder.sealed()
    assert not folder.holds(SECRET)


@pytest.mark.parametrize("wanted", [True, False])
async def test_without_its_key_file_a_sealed_store_is_not_opened(
    folder: Folder, wanted: bool
) -> None:
    store, _ = await folder.opened(wanted=True)
    await store.commit(Put("/secrets.core/default/a", SECRET))
    await store.close()
    key = folder.key_file.rename(folder.path / "kept")
    with pytest.raises(CannotStart, match=r"encrypted, and the key file .* does not exist"):
        await folder.opened(wanted=wanted)
    assert not folder.key_file.exists()
    key.rename(folder.key_file)
    store, _ = await folder.opened(wanted=wanted)
    assert store.get("/secrets.core/default/a") is not None
    await store.close()


async def test_maintenance_waits_for_readers(folder: Folder) -> None:
    store, _ = await folder.opened(wanted=True)
    await fill(store)
    await store.close()
    for call in (maintenance.rotate_secrets_key, maintenance.disable_secrets_encryption):
        reading = lock_readers(folder.path / "db", shared=True)
        assert reading is not None
        with pytest.raises(maintenance.Refused, match="run it again"):
            call(folder.config())
        os.close(reading)
        store, _ = await folder.opened()  # all keys are kept until it is done
        assert len(store.list("/secrets.core/").entries) == COUNT * 2 // 3
        await store.close()
