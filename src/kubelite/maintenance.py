"""Maintenance of a data folder: certificates and encryption keys of Secrets.

All functions block and run in a process of their own. Those that change files of a server fail while one runs.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from kubelite.api.auth.encryption import (
    EncryptedEngine,
    EncryptionFailed,
    Transformer,
    read_keys,
    retire_keys,
    rotate_keys,
)
from kubelite.api.auth.pki import ClockNotSet, KeysDamaged, Leaf, Pki
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.net.host_addresses import HostView
from kubelite.preparation import pki_arguments
from kubelite.prerequisites import CannotStart, host_addresses
from kubelite.randomness import SystemRandomness
from kubelite.store.engine import EngineFailed, StoreUnreadable
from kubelite.store.lmdb_engine import (
    DATA_FILE,
    FOLDER_LOCK_FILE,
    LMDBEngine,
    StoreLocked,
    lock_folder,
)


class Refused(Exception):
    """The command cannot be carried out; the message is one line for the user."""


def certificates(config: Config) -> Sequence[Leaf]:
    """Return the authorities and certificates of a server; raises Refused."""
    folder = _pki_folder(config)
    try:
        # Nothing is created: a running server may have other names in its certificates than those given here.
        pki = Pki.read(folder, clock=SystemClock(), randomness=SystemRandomness())
    except (KeysDamaged, OSError) as error:
        raise Refused(str(error)) from error
    return pki.list_certificates()


def rotate_certificates(config: Config) -> Sequence[str]:
    """Renew all certificates; return their names. Raises Refused."""
    with stopped(config):
        return _pki(config).renew(force=True)


def rotate_authority(config: Config) -> None:
    """Replace the cluster CA and all certificates; the old CA stays trusted. Raises Refused."""
    with stopped(config):
        _pki(config).rotate_authority()


def rotate_secrets_key(config: Config) -> int:
    """Rotate the key of Secrets: re-encrypt all with a new key and delete the old keys; return their number.

    Afterwards nothing on disk is encrypted with an old key, not even in free pages. Raises Refused.
    """
    path = config.secrets_key_file
    if not path.exists():
        raise Refused("cannot rotate: Secrets are not encrypted (see --secrets-encryption)")
    with _engine(config, "rotate") as engine:
        sealed = _rewritten(engine, Transformer(rotate_keys(path, SystemRandomness())))
        retire_keys(path)
    return sealed


def disable_secrets_encryption(config: Config) -> int:
    """Decrypt all Secrets on disk and remove the keys; return the number of Secrets. Raises Refused."""
    path = config.secrets_key_file
    if not path.exists():
        raise Refused("cannot disable: Secrets are not encrypted; nothing is to be done")
    with _engine(config, "disable") as engine:
        opened = _rewritten(engine, Transformer(read_keys(path), seals=False))
        path.unlink()
    return opened


@contextlib.contextmanager
def _engine(config: Config, what: str) -> Iterator[LMDBEngine]:
    """Hold the store's engine of a stopped server. Raises Refused."""
    try:
        engine = LMDBEngine(config.store_dir)
    except (StoreLocked, StoreUnreadable, OSError) as error:
        raise Refused(_advised(error, f"cannot {what}: ")) from error
    try:
        yield engine
    except (EncryptionFailed, StoreUnreadable, EngineFailed, OSError) as error:
        raise Refused(
            f"cannot {what}: {error}; make room or mend that, and run it again"
        ) from error
    finally:
        engine.close()


def _rewritten(engine: LMDBEngine, transformer: Transformer) -> int:
    """Rewrite all Secrets on disk and return their number. Callers delete old keys only afterwards.

    Raises Refused.
    """
    sealed = EncryptedEngine(engine, transformer)
    count = sealed.rewrite()
    if not sealed.finish():
        raise Refused(
            "cannot finish: another process reads the data file (a snapshot?); run it again"
        )
    return count


def _advised(error: Exception, what: str = "") -> str:
    """Return why a data folder cannot be held, and what to do."""
    if isinstance(error, StoreLocked):
        return f"{what}{error}"  # it says which process to stop
    return f"{what}{error}; run as root, or see --data-dir"


@contextlib.contextmanager
def stopped(config: Config) -> Iterator[None]:
    """Hold the data folder's lock. Raises Refused without a cluster or while a server runs."""
    # A folder may have a "db" of something else in it, and gets no lock file of ours then.
    if not any((config.store_dir / name).is_file() for name in (DATA_FILE, FOLDER_LOCK_FILE)):
        raise Refused(f"cannot use {config.data_dir}: there is no cluster in it; see --data-dir")
    try:
        lock = lock_folder(config.store_dir)
    except (StoreLocked, OSError) as error:
        raise Refused(_advised(error)) from error
    try:
        yield
    finally:
        os.close(lock)


def _pki_folder(config: Config) -> Path:
    folder = Path(config.data_dir) / "pki"
    if not folder.is_dir():
        raise Refused(f"cannot use {folder}: there are no certificates in it; see --data-dir")
    return folder


def _pki(config: Config) -> Pki:
    folder = _pki_folder(config)
    try:
        return Pki.ensure(
            folder,
            clock=SystemClock(),
            randomness=SystemRandomness(),
            **pki_arguments(config, _host_view(config)),
        )
    except (ClockNotSet, KeysDamaged, OSError) as error:
        raise Refused(str(error)) from error


def _host_view(config: Config) -> HostView:
    """Return the addresses of this host; raises Refused."""
    try:
        with contextlib.closing(host_addresses(config, config.cluster)) as host:
            return host.read()
    except (CannotStart, OSError) as error:
        raise Refused(str(error)) from error
