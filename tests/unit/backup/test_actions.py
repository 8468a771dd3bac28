"""Snapshots taken, kept, deleted and restored; the bucket is a small server of the test."""

import asyncio
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.bucket import KEYS, FakeBucket, fake_bucket

from kubelite.api.auth.encryption import ensure_keys, read_keys, rotate_keys
from kubelite.api.auth.pki import Pki
from kubelite.backup import actions
from kubelite.backup.actions import Refused
from kubelite.clock import SetClock, SystemClock
from kubelite.config import Config
from kubelite.config import load as load_config
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.protocol import Put

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


def _store(folder: Path, value: bytes) -> None:
    async def fill() -> None:
        store = await EmbeddedStore.open(folder, clock=SystemClock())
        await store.commit(Put("/pods/a", value))
        await store.close()

    asyncio.run(fill())


def _value(folder: Path) -> bytes:
    async def read() -> bytes:
        store = await EmbeddedStore.open(folder, clock=SystemClock())
        entry = store.get("/pods/a")
        await store.close()
        assert entry is not None
        return entry.value

    return asyncio.run(read())


def _pki(config: Config, seed: int) -> None:
    Pki.ensure(
        Path(config.data_dir) / "pki",
        clock=SetClock(NOW),
        randomness=SeededRandomness(seed),
        names=("kubernetes",),
        addresses=("127.0.0.1",),
        node_name="alpha",
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Config:
    words = tmp_path / "words"
    words.write_text("a passphrase of a test\n")
    words.chmod(0o600)
    flags = {
        "data_dir": str(tmp_path / "one"),
        "node_name": "alpha",
        "snapshot_passphrase_file": str(words),
    }
    config = load_config(flags, {}, tmp_path / "none.yaml")
    (tmp_path / "one").mkdir()
    _pki(config, 1)
    ensure_keys(config.secrets_key_file, SeededRandomness(3))
    _store(config.store_dir, b"first")
    return config


def _with(config: Config, **changes: object) -> Config:
    fields = {name: getattr(config, name) for name in ("node_name", "snapshot_passphrase_file")}
    return load_config({**fields, "data_dir": config.data_dir, **changes}, {}, Path("/none.yaml"))


def test_another_machine_gets_state_and_keys(
    cluster: Config, tmp_path: Path, clock: SetClock
) -> None:
    path = actions.take(cluster, clock, "0.1.0")
    assert path.name.startswith("kubelite-20300102-030405-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"first" not in path.read_bytes()
    there = _with(cluster, data_dir=str(tmp_path / "two"))
    done = actions.restore(there, clock, str(path))
    assert (done.former, done.placed_keys) == (None, True)
    assert done.about is not None
    assert done.about.node == "alpha"
    assert _value(there.store_dir) == b"first"
    for name in ("ca.key", "ca.crt", "front-proxy-ca.key", "service-account.key"):
        ours, theirs = (Path(one.data_dir) / "pki" / name for one in (cluster, there))
        assert ours.read_bytes() == theirs.read_bytes()
    assert read_keys(there.secrets_key_file) == read_keys(cluster.secrets_key_file)
    assert {entry.name for entry in Path(there.data_dir).iterdir()} == {"db", "pki", "secrets.key"}
    assert {entry.name for entry in cluster.snapshots_dir.iterdir()} == {path.name}


def test_here_the_keys_stay_and_those_of_old_secrets_come_back(
    cluster: Config, clock: SetClock
) -> None:
    path = actions.take(cluster, clock, "0.1.0")
    old = read_keys(cluster.secrets_key_file).keys
    newer = rotate_keys(cluster.secrets_key_file, SeededRandomness(4)).keys[:1]
    cluster.secrets_key_file.unlink()
    ensure_keys(cluster.secrets_key_file, SeededRandomness(4))
    rotate_keys(cluster.secrets_key_file, SeededRandomness(5))
    authority = (Path(cluster.data_dir) / "pki" / "ca.key").read_bytes()
    _store(cluster.store_dir, b"second")
    done = actions.restore(cluster, clock, path.name)
    assert done.former is not None
    assert not done.placed_keys
    assert _value(cluster.store_dir) == b"first"
    assert (Path(cluster.data_dir) / "pki" / "ca.key").read_bytes() == authority
    merged = read_keys(cluster.secrets_key_file).keys
    assert merged[-1:] == old
    assert merged[0].name == newer[0].name  # the newest key goes on sealing


def test_keys_of_another_cluster_are_not_replaced(
    cluster: Config, tmp_path: Path, clock: SetClock
) -> None:
    path = actions.take(cluster, clock, "0.1.0")
    other = _with(cluster, data_dir=str(tmp_path / "two"))
    (tmp_path / "two").mkdir()
    _pki(other, 2)
    _store(other.store_dir, b"theirs")
    with pytest.raises(
        Refused, match="it has the keys of another cluster; give another --data-dir"
    ):
        actions.restore(other, clock, str(path))
    assert _value(other.store_dir) == b"theirs"
    assert not other.secrets_key_file.exists()


def test_without_a_passphrase_a_snapshot_has_no_keys(cluster: Config, clock: SetClock) -> None:
    plain = _with(cluster, snapshot_passphrase_file=None)
    path = actions.take(plain, clock, "0.1.0")
    assert path.suffix == ".mdb"
    assert actions.restore(plain, clock, path.name).about is None


def test_a_sealed_one_needs_its_passphrase(
    cluster: Config, tmp_path: Path, clock: SetClock
) -> None:
    path = actions.take(cluster, clock, "0.1.0")
    with pytest.raises(Refused, match="it is sealed; give --snapshot-passphrase-file"):
        actions.restore(_with(cluster, snapshot_passphrase_file=None), clock, path.name)
    (tmp_path / "words").write_text("another passphrase\n")
    with pytest.raises(Refused, match="the passphrase is another one"):
        actions.restore(cluster, clock, path.name)
    assert _value(cluster.store_dir) == b"first"


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("short", 0o600, "a passphrase needs 16 characters or more"),
        ("long enough as it is", 0o644, "anybody may read or change it"),
        (None, 0o600, "cannot read --snapshot-passphrase-file"),
    ],
)
def test_passphrases_that_protect_nothing_are_refused(
    cluster: Config, tmp_path: Path, clock: SetClock, content: str | None, mode: int, message: str
) -> None:
    words = tmp_path / "words"
    words.unlink()
    if content is not None:
        words.write_text(content)
        words.chmod(mode)
    with pytest.raises(Refused, match=message):
        actions.take(cluster, clock, "0.1.0")
    assert not cluster.snapshots_dir.exists()


def test_what_a_killed_process_left_is_removed(cluster: Config, clock: SetClock) -> None:
    left = cluster.snapshots_dir / f"{actions.WORK}x"
    left.mkdir(parents=True)
    (left / "data.mdb").write_bytes(b"plain")
    actions.take(cluster, clock, "0.1.0")
    assert not left.exists()


def test_two_processes_do_not_take_each_others_work_away(cluster: Config, clock: SetClock) -> None:
    path = actions.take(cluster, clock, "0.1.0")
    data = os.open(cluster.data_dir, os.O_RDONLY)  # as a restore that runs
    fcntl.flock(data, fcntl.LOCK_EX)
    work = Path(cluster.data_dir) / f"{actions.WORK}other"
    work.mkdir()
    second = threading.Thread(target=actions.restore, args=(cluster, clock, path.name))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    assert work.exists()
    os.close(data)
    second.join()
    assert not work.exists()


def test_a_disk_without_room_for_two_is_not_filled(
    cluster: Config, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(cluster.data_dir)
    values = list(real)
    values[3] = values[4] = 1
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    with pytest.raises(Refused, match="0 MB are free there, and 64 MB are needed"):
        actions.take(cluster, clock, "0.1.0")
    assert {entry.name for entry in cluster.snapshots_dir.iterdir()} == set()


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_key)
    with fake_bucket() as bucket:
        yield bucket


def _in_bucket(cluster: Config, there: FakeBucket, **changes: object) -> Config:
    return _with(
        cluster,
        snapshot_s3_bucket="backups",
        snapshot_s3_endpoint=there.url,
        snapshot_s3_folder="edge/alpha",
        snapshot_retention=2,
        **changes,
    )


def test_scheduled_ones_go_to_the_bucket_and_the_oldest_go_away(
    cluster: Config, tmp_path: Path, clock: SetClock, there: FakeBucket
) -> None:
    config = _in_bucket(cluster, there)
    manual = actions.take(config, clock, "0.1.0").name
    there.objects["edge/alpha/scheduled-beta-20200101-000000-1.sealed"] = b""
    taken = []
    for hour in range(4):
        clock.date = NOW + timedelta(hours=hour)
        taken.append(actions.take(config, clock, "0.1.0", is_scheduled=True).name)
        actions.prune(config, clock, in_bucket=False)
        actions.put_into_bucket(config, clock)
        actions.prune(config, clock, in_bucket=True)
    kept = actions.listed(config, clock, in_bucket=True)
    assert [(one.name, one.is_here, one.is_in_bucket) for one in kept] == [
        ("scheduled-beta-20200101-000000-1.sealed", False, True),
        (manual, True, True),
        (taken[2], True, True),
        (taken[3], True, True),
    ]
    two = _in_bucket(cluster, there, data_dir=str(tmp_path / "two"))
    assert actions.restore(two, clock, taken[3], from_bucket=True).placed_keys
    assert _value(two.store_dir) == b"first"
    assert {entry.name for entry in Path(two.data_dir).iterdir()} == {"db", "pki", "secrets.key"}


def test_what_the_bucket_missed_while_it_was_away_goes_there_later(
    cluster: Config, clock: SetClock, there: FakeBucket
) -> None:
    config = _in_bucket(cluster, there)
    there.down = True
    first = actions.take(config, clock, "0.1.0").name
    with pytest.raises(Refused, match="503 SlowDown"):
        actions.put_into_bucket(config, clock)
    there.down = False
    assert actions.put_into_bucket(config, clock) == [first]
    assert actions.put_into_bucket(config, clock) == []


def test_credentials_come_from_a_file_that_others_cannot_read(
    cluster: Config, tmp_path: Path, clock: SetClock, there: FakeBucket
) -> None:
    file = tmp_path / "credentials"
    config = _in_bucket(cluster, there, snapshot_s3_credentials_file=str(file))
    file.write_text(
        f"[default]\naws_access_key_id = {KEYS.access_key}\naws_secret_access_key={KEYS.secret_key}\n"
    )
    file.chmod(0o644)
    with pytest.raises(Refused, match="anybody may read or change it"):
        actions.listed(config, clock, in_bucket=True)
    file.chmod(0o600)
    assert actions.listed(config, clock, in_bucket=True) == []
    for content, message in (
        ("[default]\n", "there are no credentials"),
        ("[other]\n", r"a section \[default\]"),
        ("no ini", "cannot read --snapshot-s3-credentials-file"),
    ):
        file.write_text(content)
        with pytest.raises(Refused, match=message) as refused:
            actions.listed(config, clock, in_bucket=True)
        assert KEYS.secret_key not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["../one/db/data.mdb", "data.mdb", ".lock", "x/kubelite-20260102-030405-1.mdb"]
)
def test_only_snapshots_are_deleted(cluster: Config, clock: SetClock, name: str) -> None:
    with pytest.raises(Refused, match="it is no snapshot"):
        actions.delete(cluster, clock, name, in_bucket=False)
    assert _value(cluster.store_dir) == b"first"


def test_a_snapshot_is_deleted_once(cluster: Config, clock: SetClock) -> None:
    name = actions.take(cluster, clock, "0.1.0").name
    actions.delete(cluster, clock, name, in_bucket=False)
    with pytest.raises(Refused, match="there is no such snapshot"):
        actions.delete(cluster, clock, name, in_bucket=False)


def test_another_process_is_given_the_same_settings(cluster: Config, tmp_path: Path) -> None:
    config = _with(
        cluster, snapshot_retention=7, snapshot_schedule_cron="@daily", snapshot_dir="/x/y"
    )
    again = load_config({}, actions.environment_of(config), tmp_path / "none.yaml")
    for field in (name for name in config.__struct_fields__ if name.startswith("snapshot_")):
        assert getattr(again, field) == getattr(config, field), field
    assert (again.data_dir, again.node_name) == (config.data_dir, config.node_name)
