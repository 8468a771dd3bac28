from pathlib import Path

import pytest

from kubelite.api.auth.encryption import (
    PREFIX,
    EncryptedEngine,
    EncryptionFailed,
    Transformer,
    ensure_keys,
    read_keys,
    retire_keys,
    rotate_keys,
)
from kubelite.clock import SystemClock
from kubelite.randomness import SystemRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.lmdb_engine import LMDBEngine
from kubelite.store.protocol import Delete, Put

RANDOM = SystemRandomness()
KEY = "/secrets.core/default/password"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.key"
    ensure_keys(path, RANDOM)
    return path


def on_disk(folder: Path) -> dict[str, bytes]:
    engine = LMDBEngine(folder)
    values = {entry.key: bytes(entry.value) for entry in engine.entries()}
    engine.close()
    return values


async def open_store(folder: Path, key_file: Path) -> EmbeddedStore:
    engine = EncryptedEngine(LMDBEngine(folder), Transformer(read_keys(key_file)))
    return EmbeddedStore(engine, clock=SystemClock())


def test_key_file_is_for_the_owner_only(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    key_file.chmod(0o640)
    with pytest.raises(EncryptionFailed, match="others may read it"):
        read_keys(key_file)


def test_ensure_keeps_the_key(key_file: Path) -> None:
    before = key_file.read_bytes()
    ensure_keys(key_file, RANDOM)
    assert key_file.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"keys":[]}',
        b'{"keys":[{"name":"key1","secret":"YQ=="}]}',
        b'{"keys":[{"name":"key1","secret":"!"}]}',
    ],
)
def test_bad_key_files(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    with pytest.raises(EncryptionFailed):
        Transformer(read_keys(key_file))


def test_missing_key_file(tmp_path: Path) -> None:
    with pytest.raises(EncryptionFailed, match="does not exist"):
        read_keys(tmp_path / "none")


def test_sealing(key_file: Path) -> None:
    transformer = Transformer(read_keys(key_file))
    sealed = transformer.encrypt(KEY, b"s3cret")
    assert sealed.startswith(b"k8s:enc:aesgcm:v1:key1:")
    assert b"s3cret" not in sealed
    assert transformer.decrypt(KEY, sealed) == b"s3cret"
    assert transformer.decrypt(KEY, b"plain") == b"plain"
    assert transformer.encrypt(KEY, b"s3cret") != sealed


def test_changed_or_moved_values_do_not_open(key_file: Path) -> None:
    transformer = Transformer(read_keys(key_file))
    sealed = transformer.encrypt(KEY, b"s3cret")
    for place, value in (
        ("/secrets.core/default/other", sealed),
        (KEY, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (KEY, sealed[:30]),
        (KEY, sealed.replace(b":key1:", b":key9:")),
    ):
        with pytest.raises(EncryptionFailed):
            transformer.decrypt(place, value)


async def test_only_secrets_are_sealed_on_disk(tmp_path: Path, key_file: Path) -> None:
    store = await open_store(tmp_path / "db", key_file)
    await store.commit(Put(KEY, b"s3cret"), Put("/configmaps.core/default/a", b"plain"))
    await store.close()
    values = on_disk(tmp_path / "db")
    assert values[KEY].startswith(PREFIX)
    assert values["/configmaps.core/default/a"] == b"plain"
    again = await open_store(tmp_path / "db", key_file)
    found = again.get(KEY)
    assert found is not None
    assert found.value == b"s3cret"
    await again.close()


async def test_history_is_sealed_too(tmp_path: Path, key_file: Path) -> None:
    store = await open_store(tmp_path / "db", key_file)
    await store.commit(Put(KEY, b"first s3cret"))
    await store.commit(Put(KEY, b"second s3cret"))
    await store.commit(Delete(KEY))
    await store.close()
    assert b"s3cret" not in (tmp_path / "db" / "data.mdb").read_bytes()
    again = await open_store(tmp_path / "db", key_file)
    history = again.history("/secrets.core/", 1)
    assert [change.value for change in history] == [b"second s3cret", b"second s3cret"]
    assert history[0].previous == b"first s3cret"
    await again.close()


async def test_mixed_states_are_readable_and_rewritten(tmp_path: Path, key_file: Path) -> None:
    plain = EmbeddedStore(LMDBEngine(tmp_path / "db"), clock=SystemClock())
    await plain.commit(Put(KEY, b"old"))
    await plain.close()
    store = await open_store(tmp_path / "db", key_file)
    await store.commit(Put(KEY + "2", b"new"))
    await store.close()
    rotate_keys(key_file, RANDOM)
    engine = EncryptedEngine(LMDBEngine(tmp_path / "db"), Transformer(read_keys(key_file)))
    revision = engine.revision()
    assert engine.rewrite() == 2
    assert engine.rewrite() == 0
    assert engine.revision() == revision
    engine.close()
    assert all(value.startswith(PREFIX + b"key2:") for value in on_disk(tmp_path / "db").values())
    store = await open_store(tmp_path / "db", key_file)
    assert [entry.value for entry in store.list("/secrets.core/").entries] == [b"old", b"new"]
    await store.close()


def test_retired_keys_are_gone(key_file: Path) -> None:
    sealed = Transformer(read_keys(key_file)).encrypt(KEY, b"s3cret")
    assert [key.name for key in rotate_keys(key_file, RANDOM).keys] == ["key2", "key1"]
    assert Transformer(read_keys(key_file)).decrypt(KEY, sealed) == b"s3cret"
    retire_keys(key_file)
    with pytest.raises(EncryptionFailed, match="no key key1"):
        Transformer(read_keys(key_file)).decrypt(KEY, sealed)
