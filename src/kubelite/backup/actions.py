"""What an administrator and the schedule do with snapshots: take, list, delete, restore, here and in a bucket.

All functions block and run in a process of their own: LMDB opens a folder once per process.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from kubelite.api.auth.encryption import EncryptionFailed, merge_keys
from kubelite.backup import names
from kubelite.backup.contents import LAYOUT, About, Unpacked, pack, unpack
from kubelite.backup.s3 import Bucket, BucketClient, BucketFailed, Credentials
from kubelite.backup.sealed import MAGIC, PASSPHRASE_LENGTH_MIN, CannotOpen
from kubelite.clock import Clock
from kubelite.config import Config
from kubelite.prerequisites import CannotStart, secret_text
from kubelite.progress import SILENT, Progress, size_of
from kubelite.store import snapshots
from kubelite.store.lmdb_engine import StoreLocked, sync

WORK: Final = ".kubelite-work-"  # folders that a killed process may leave
DEFAULT_PROFILE: Final = "default"
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL
)


class Refused(Exception):
    """The command cannot be carried out; the message is one line for the user."""


class Kept(Struct, frozen=True):
    """A snapshot, and where it is."""

    name: str
    size_bytes: int
    is_here: bool
    is_in_bucket: bool


class Restored(Struct, frozen=True):
    """What a restore did."""

    source: str
    former: Path | None  # the former store
    about: About | None  # None: the snapshot has no keys
    placed_keys: bool


def take(
    config: Config,
    clock: Clock,
    version: str,
    *,
    is_scheduled: bool = False,
    progress: Progress = SILENT,
) -> Path:
    """Take a snapshot, sealed if there is a passphrase, and return its path. Raises Refused."""
    prefix = names.prefix_of(config.name_of_node) if is_scheduled else snapshots.PREFIX
    passphrase = _passphrase(config) if config.snapshot_passphrase_file else ""
    with _working(config) as work:
        try:
            saved = snapshots.save(config.store_dir, work, clock.now(), prefix, progress)
            ready = saved.path
            if passphrase:
                ready = saved.path.with_suffix(names.SEALED)
                about = About(LAYOUT, version, config.name_of_node, clock.now().isoformat())
                with ready.open("xb") as target:
                    ready.chmod(0o600)
                    pki = Path(config.data_dir) / "pki"
                    pack(saved.path, pki, config.secrets_key_file, about, target, passphrase)
                sync(ready)
            final = config.snapshots_dir / ready.name
            ready.rename(final)
            sync(config.snapshots_dir)
        except snapshots.SnapshotFailed as error:
            raise Refused(str(error)) from error
        except OSError as error:
            raise Refused(f"cannot save a snapshot: {error}; see --snapshot-dir") from error
    return final


def put_into_bucket(config: Config, clock: Clock) -> Sequence[str]:
    """Upload the sealed snapshots of the folder that the bucket does not have; return their names. Raises Refused."""
    try:
        bucket = _bucket(config, clock)
        there = {stored.name for stored in bucket.list()}
        missing = [
            name
            for name in names.by_date(_files(config))
            if name.endswith(names.SEALED) and name not in there
        ]
        for name in missing:
            bucket.put(config.snapshots_dir / name, name)
    except (BucketFailed, OSError) as error:
        raise Refused(str(error)) from error
    return missing


def prune(config: Config, clock: Clock, *, in_bucket: bool) -> Sequence[str]:
    """Delete this server's scheduled snapshots beyond the retention; return their names. Raises Refused."""
    node, retention = config.name_of_node, config.snapshot_retention
    gone = list(names.surplus(_files(config), node, retention))
    try:
        for name in gone:
            (config.snapshots_dir / name).unlink(missing_ok=True)
        if in_bucket:
            bucket = _bucket(config, clock)
            there = names.surplus((stored.name for stored in bucket.list()), node, retention)
            for name in there:
                bucket.delete(name)
            gone += [name for name in there if name not in gone]
    except (BucketFailed, OSError) as error:
        raise Refused(str(error)) from error
    return gone


def listed(config: Config, clock: Clock, *, in_bucket: bool) -> Sequence[Kept]:
    """Return the snapshots of the folder, and of the bucket if asked, oldest first. Raises Refused."""
    here = {name: (config.snapshots_dir / name).stat().st_size for name in _files(config)}
    try:
        stored = _bucket(config, clock).list() if in_bucket else ()
    except BucketFailed as error:
        raise Refused(str(error)) from error
    there = {one.name: one.size_bytes for one in stored}
    return [
        Kept(name, here.get(name, there.get(name, 0)), name in here, name in there)
        for name in names.by_date({*here, *there})
    ]


def delete(config: Config, clock: Clock, name: str, *, in_bucket: bool) -> None:
    """Delete one snapshot of the folder, and of the bucket if asked. Raises Refused."""
    if not names.is_snapshot(name) or "/" in name:
        raise Refused(f'cannot delete "{name}": it is no snapshot; see kubelite snapshot list')
    path = config.snapshots_dir / name
    if not in_bucket and not path.is_file():
        raise Refused(
            f"cannot delete {path}: there is no such snapshot; see kubelite snapshot list"
        )
    try:
        path.unlink(missing_ok=True)
        if in_bucket:
            _bucket(config, clock).delete(name)
    except (BucketFailed, OSError) as error:
        raise Refused(str(error)) from error


def restore(
    config: Config,
    clock: Clock,
    name: str,
    *,
    from_bucket: bool = False,
    progress: Progress = SILENT,
) -> Restored:
    """Put a snapshot, by its name or as a file, in place of the state; the server must be stopped. Raises Refused.

    A sealed one also brings the cluster's keys onto a machine that has none, and the keys of its Secrets.
    """
    try:
        with _work_folder(Path(config.data_dir)) as work:
            source = Path(name) if "/" in name else config.snapshots_dir / name
            if from_bucket:
                source = work / "downloaded"
                with progress.step(f"fetch {name}") as step:
                    step.measure = partial(size_of, source)
                    _bucket(config, clock).get(name, source)
            if not source.is_file():
                raise Refused(
                    f"cannot restore {source}: there is no such snapshot; see kubelite snapshot list"
                )
            if not _is_sealed(source):
                former = snapshots.restore(source, config.store_dir, progress=progress)
                return Restored(name if from_bucket else str(source), former, None, False)
            opened = _opened(config, source, work)
            is_new = not (Path(config.data_dir) / "pki" / "ca.crt").is_file()
            former = snapshots.restore(
                opened.store, config.store_dir, lambda: _place_keys(config, opened), progress
            )
            where = name if from_bucket else str(source)
            return Restored(where, former, opened.about, is_new)
    except (BucketFailed, snapshots.SnapshotFailed, StoreLocked, EncryptionFailed) as error:
        raise Refused(str(error)) from error
    except OSError as error:
        raise Refused(f"cannot restore {name}: {error}; see --data-dir") from error


def _is_sealed(source: Path) -> bool:
    with source.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _opened(config: Config, source: Path, work: Path) -> Unpacked:
    if not config.snapshot_passphrase_file:
        raise Refused(f"cannot restore {source}: it is sealed; give --snapshot-passphrase-file")
    try:
        with source.open("rb") as file:
            return unpack(file, work, _passphrase(config))
    except CannotOpen as error:
        raise Refused(
            f"cannot restore {source}: {error}; try another one, see kubelite snapshot list"
        ) from error


def _place_keys(config: Config, opened: Unpacked) -> None:
    """Put the snapshot's keys where there are none; those of another cluster stay. Raises Refused, OSError."""
    pki = Path(config.data_dir) / "pki"
    theirs = opened.pki / "ca.crt"
    if (pki / "ca.crt").is_file():
        # Newer than the snapshot's, if anything, and former authorities stay trusted.
        ours = set(_CERTIFICATE.findall((pki / "ca.crt").read_bytes()))
        if theirs.is_file() and ours.isdisjoint(_CERTIFICATE.findall(theirs.read_bytes())):
            raise Refused(
                f"cannot restore into {config.data_dir}: it has the keys of another cluster; "
                f"give another --data-dir, or move {pki} away"
            )
    elif theirs.is_file():
        shutil.rmtree(pki, ignore_errors=True)
        opened.pki.rename(pki)
        sync(pki.parent)
    if opened.secrets_key.is_file():
        merge_keys(config.secrets_key_file, opened.secrets_key)


def _passphrase(config: Config) -> str:
    path = Path(config.snapshot_passphrase_file)
    try:
        text = secret_text(path).strip()
    except CannotStart as error:
        raise Refused(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"cannot read --snapshot-passphrase-file {path}: {error}") from error
    if len(text) < PASSPHRASE_LENGTH_MIN:
        raise Refused(
            f"cannot use {path}: a passphrase needs {PASSPHRASE_LENGTH_MIN} characters or more"
        )
    return text


def _bucket(config: Config, clock: Clock) -> BucketClient:
    if not config.snapshot_s3_bucket:
        raise Refused("there is no bucket; give --snapshot-s3-bucket")
    return BucketClient(
        Bucket(
            endpoint=config.snapshot_s3_endpoint,
            region=config.snapshot_s3_region,
            name=config.snapshot_s3_bucket,
            folder=config.snapshot_s3_folder,
            credentials=_credentials(config),
            authorities=config.snapshot_s3_endpoint_ca,
        ),
        clock,
    )


def _credentials(config: Config) -> Credentials:
    found: dict[str, str] = {
        name.lower(): value for name, value in os.environ.items() if name.startswith("AWS_")
    }
    if config.snapshot_s3_credentials_file:
        import configparser

        path = Path(config.snapshot_s3_credentials_file)
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(secret_text(path))
            found = dict(parser[DEFAULT_PROFILE])
        except CannotStart as error:
            raise Refused(str(error)) from error
        except KeyError as error:
            raise Refused(
                f"cannot use {path}: it must have a section [{DEFAULT_PROFILE}]"
            ) from error
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            reason = " ".join(str(error).split("\n")[0].split())
            raise Refused(f"cannot read --snapshot-s3-credentials-file {path}: {reason}") from None
    access, secret = found.get("aws_access_key_id", ""), found.get("aws_secret_access_key", "")
    if not access or not secret:
        raise Refused(
            "there are no credentials for the bucket: give --snapshot-s3-credentials-file, "
            "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return Credentials(access, secret, found.get("aws_session_token", ""))


def _files(config: Config) -> Sequence[str]:
    try:
        return [
            path.name for path in config.snapshots_dir.iterdir() if names.is_snapshot(path.name)
        ]
    except FileNotFoundError:
        return ()


@contextmanager
def _working(config: Config) -> Iterator[Path]:
    """Yield a folder to work in, beside the snapshots. Raises Refused."""
    folder = config.snapshots_dir
    try:
        with _work_folder(folder) as work:
            yield work
    except OSError as error:
        raise Refused(f"cannot use {folder}: {error.strerror}; see --snapshot-dir") from error


@contextmanager
def _work_folder(parent: Path) -> Iterator[Path]:
    """Yield a folder to work in, below `parent`, which is made; one process at a time has one there. Raises OSError."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        _remove_leftovers(parent)
        with tempfile.TemporaryDirectory(dir=parent, prefix=WORK) as work:
            yield Path(work)
    finally:
        os.close(held)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{WORK}*"):
        with suppress(OSError):
            shutil.rmtree(path)


def environment_of(config: Config) -> dict[str, str]:
    """Return the environment in which another process of kubelite has this configuration's snapshots."""
    fields = (
        "data_dir",
        "node_name",
        *(name for name in msgspec.structs.asdict(config) if name.startswith("snapshot_")),
    )
    return {f"KUBELITE_{name.upper()}": str(getattr(config, name)) for name in fields}
