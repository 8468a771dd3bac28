"""Maintenance of a data folder: certificates, encryption keys of Secrets, and uninstalling kubelite from a host.

All functions block and run in a process of their own. Those that change files of a server fail while one runs.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
from kubelite.preparation import CannotStart, host_addresses, pki_arguments
from kubelite.randomness import SystemRandomness
from kubelite.store.engine import EngineFailed, StoreUnreadable
from kubelite.store.lmdb_engine import LMDBEngine, StoreLocked, lock_folder
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.node.engine import EngineFolders

ENGINE_START_SECONDS = 30.0


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
    with _stopped(config):
        return _pki(config).renew(force=True)


def rotate_authority(config: Config) -> None:
    """Replace the cluster CA and all certificates; the old CA stays trusted. Raises Refused."""
    with _stopped(config):
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
        raise Refused("cannot disable: Secrets are not encrypted")
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
        raise Refused(f"cannot {what}: {error}") from error
    try:
        yield engine
    except (EncryptionFailed, StoreUnreadable, EngineFailed, OSError) as error:
        raise Refused(f"cannot {what}: {error}") from error
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


def reset(config: Config, say: Callable[[str], None]) -> None:
    """Remove all that kubelite made on this host: containers, network, mounts, files. Raises Refused."""
    from kubelite.net.nftables import RulesRefused, RulesUnavailable
    from kubelite.net.reset import remove_network
    from kubelite.node.cgroups import remove_all as remove_groups

    data = Path(config.data_dir)
    with _stopped(config):
        try:
            say(f"removed {asyncio.run(_remove_containers(config))} containers")
            asyncio.run(remove_network())
        except TimeoutError as error:
            raise Refused("cannot stop the container engine: it does not end") from error
        except (RulesUnavailable, RulesRefused, OSError) as error:
            raise Refused(f"cannot remove the network: {error}") from error
        say("removed the network")
        _unmount_below(data)
        remove_groups()
    for path in (data, Path(config.write_kubeconfig)):
        _remove(path)
        say(f"removed {path}")


async def _remove_containers(config: Config) -> int:
    """Remove this data folder's containers, and its own engine if it has one; return the number of containers."""
    from kubelite.node.engine import EngineFolders, answers, find_socket, stop_engine
    from kubelite.node.runtime import EngineUnavailable, RuntimeFailure

    data = Path(config.data_dir) / "agent"
    folders = EngineFolders(data / "docker", config.run_dir / "docker")
    given = Path(config.docker_socket) if config.docker_socket else None
    socket = await find_socket(given, folders)
    is_own = socket == folders.socket and folders.data.is_dir()
    try:
        if await answers(socket):
            return await _empty_engine(config, socket)
        if is_own:
            return await _empty_own_engine(config, folders)
        if _has_entries(data / "pods"):
            what = (
                f"the container engine does not answer on {socket}, and pods of this node are on it"
            )
            raise Refused(f"cannot remove containers: {what}; start it first")
    except (EngineUnavailable, RuntimeFailure, TimeoutError) as error:
        raise Refused(f"cannot remove containers: {error}") from error
    finally:
        if is_own:
            await stop_engine(folders)
            await asyncio.to_thread(_remove_run, folders.run)
    return 0


async def _empty_own_engine(config: Config, folders: "EngineFolders") -> int:
    """Restart our own engine to remove its containers, which outlive it; return their number."""
    from kubelite.node.engine import OwnEngine, until_answers

    tasks = TaskSet()
    tasks.start(OwnEngine(folders).run(), name="container engine")
    try:
        async with asyncio.timeout(ENGINE_START_SECONDS):
            await until_answers(folders.socket)
        return await _empty_engine(config, folders.socket)
    finally:
        await tasks.stop()


async def _empty_engine(config: Config, socket: Path) -> int:
    from kubelite.node import pause_image
    from kubelite.node.container_owner import read_owner
    from kubelite.node.docker import DockerRuntime
    from kubelite.node.log_links import LogLinks
    from kubelite.node.machine import read_machine
    from kubelite.node.runtime import RuntimeFailure

    machine = await asyncio.to_thread(read_machine, Path("/"))
    owner = await asyncio.to_thread(
        read_owner, Path(config.data_dir) / "agent", config.name_of_node
    )
    runtime = DockerRuntime(socket, owner, machine.architecture, SystemClock())
    try:
        records = await runtime.records()
        for record in sorted(records, key=lambda one: one.is_sandbox):
            await runtime.remove(record.id)
        logs = LogLinks(Path(config.container_log_dir))
        for uid in {record.pod_uid for record in records}:
            await logs.remove_pod(uid)
        await logs.remove_folders()
        with contextlib.suppress(RuntimeFailure):  # another node on this engine uses it
            await runtime.remove_image(pause_image.NAME)
    finally:
        await runtime.close()
    return len(records)


def _has_entries(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@contextlib.contextmanager
def _stopped(config: Config) -> Iterator[None]:
    """Hold the data folder's lock. Raises Refused without a cluster or while a server runs."""
    if not config.store_dir.is_dir():
        raise Refused(f"cannot use {config.data_dir}: there is no cluster in it")
    try:
        lock = lock_folder(config.store_dir)
    except (StoreLocked, OSError) as error:
        raise Refused(f"{error}; stop the server first") from error
    try:
        yield
    finally:
        os.close(lock)


def _pki_folder(config: Config) -> Path:
    folder = Path(config.data_dir) / "pki"
    if not folder.is_dir():
        raise Refused(f"cannot use {folder}: there are no certificates in it")
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
        with contextlib.closing(host_addresses(config)) as host:
            return host.read()
    except (CannotStart, OSError) as error:
        raise Refused(str(error)) from error


def _remove_run(folder: Path) -> None:
    """Remove an engine's run-time folder, and its parent if that is empty."""
    from kubelite.node.untrusted_files import remove_path

    _unmount_below(folder)
    with contextlib.suppress(OSError):
        remove_path(folder)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _unmount_below(folder: Path) -> None:
    from kubelite.node.volumes.tmpfs import unmount_below

    try:
        unmount_below(folder)
    except OSError as error:
        raise Refused(f"cannot unmount {error.filename}: {error.strerror}") from error


def _remove(path: Path) -> None:
    from kubelite.node.untrusted_files import empty, opened_folder, remove_path

    if path.is_symlink():
        raise Refused(f"cannot remove {path}: it is a link; name the folder itself")
    try:
        if path.is_mount():  # an administrator's disk: remove its content, not the mount
            with opened_folder(path) as folder:
                empty(folder)
        elif path.parent.is_dir():
            remove_path(path)
    except OSError as error:
        raise Refused(f"cannot remove {path}: {error.strerror}") from error
