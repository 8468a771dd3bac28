"""What an administrator does to a data folder: certificates, keys of Secrets, and taking kubelite off a host.

All of it blocks and runs in a process of its own. What changes files that a server holds refuses while one runs.
"""

import asyncio
import contextlib
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kubelite.api.auth.encryption import (
    EncryptedEngine,
    EncryptionFailed,
    Transformer,
    retire_keys,
    rotate_keys,
)
from kubelite.api.auth.pki import ClockNotSet, KeysDamaged, Leaf, Pki
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.preparation import own_address, pki_arguments
from kubelite.randomness import SystemRandomness
from kubelite.store.engine import StoreUnreadable
from kubelite.store.lmdb_engine import LMDBEngine, StoreLocked, lock_folder

ENGINE_STOP_SECONDS = 30.0


class Refused(Exception):
    """The command cannot be carried out; the message is one line for the user."""


def certificates(config: Config) -> Sequence[Leaf]:
    """Return the authorities and certificates of a server; raises Refused."""
    return _pki(config).list_certificates()


def rotate_certificates(config: Config) -> Sequence[str]:
    """Make all certificates anew; return their names. Raises Refused."""
    with _stopped(config):
        return _pki(config).renew(force=True)


def rotate_authority(config: Config) -> None:
    """Replace the cluster CA and all certificates; clients that trust the old one go on. Raises Refused."""
    with _stopped(config):
        _pki(config).rotate_authority()


def rotate_secrets_key(config: Config) -> int:
    """Make a new key for Secrets, seal all of them with it, forget the older keys; return how many were sealed anew.

    Raises Refused.
    """
    if not config.secrets_key_file.exists():
        raise Refused("cannot rotate: Secrets are not encrypted (see --secrets-encryption)")
    try:
        engine = LMDBEngine(config.store_dir)
    except (StoreLocked, StoreUnreadable, OSError) as error:
        raise Refused(f"cannot rotate: {error}") from error
    try:
        keys = rotate_keys(config.secrets_key_file, SystemRandomness())
        sealed = EncryptedEngine(engine, Transformer(keys)).rewrite()
        # What the window of changes still holds is sealed with older keys, so they stay until it has moved on.
        if not any(row.key.startswith("/secrets.core/") for row in engine.log()):
            retire_keys(config.secrets_key_file)
    except EncryptionFailed as error:
        raise Refused(str(error)) from error
    finally:
        engine.close()
    return sealed


def reset(config: Config, say: Callable[[str], None]) -> None:
    """Remove all that kubelite made on this host: containers, network, mounts, files. Raises Refused."""
    from kubelite.net.nftables import RulesRefused, RulesUnavailable
    from kubelite.net.reset import remove_network

    with _stopped(config):
        removed = asyncio.run(_remove_containers(config))
        say(f"removed {removed} containers")
        try:
            asyncio.run(remove_network())
        except (RulesUnavailable, RulesRefused, OSError) as error:
            raise Refused(f"cannot remove the network: {error}") from error
        say("removed the network")
        _unmount_below(Path(config.data_dir))
    for path in (Path(config.data_dir), Path(config.write_kubeconfig)):
        _remove(path)
        say(f"removed {path}")


async def _remove_containers(config: Config) -> int:
    from kubelite.node.docker import DockerRuntime
    from kubelite.node.engine import EngineFolders, answers, find_socket
    from kubelite.node.machine import read_machine
    from kubelite.node.runtime import EngineUnavailable

    data = Path(config.data_dir) / "agent"
    folders = EngineFolders(data / "docker", config.run_dir / "docker")
    given = Path(config.docker_socket) if config.docker_socket else None
    socket = await find_socket(given, folders)
    if not await answers(socket):
        return 0
    machine = await asyncio.to_thread(read_machine, Path("/"))
    runtime = DockerRuntime(socket, config.name_of_node, machine.architecture, SystemClock())
    try:
        records = await runtime.records()
        for record in sorted(records, key=lambda one: one.is_sandbox):
            await runtime.remove(record.id)
    except EngineUnavailable as error:
        raise Refused(f"cannot remove containers: {error}") from error
    finally:
        await runtime.close()
    if socket == folders.socket:
        await asyncio.to_thread(_stop_engine, folders.run / "docker.pid")
    return len(records)


def _stop_engine(pid_file: Path) -> None:
    """End the engine that kubelite has started, and wait for it."""
    try:
        process = int(pid_file.read_text())
        descriptor = os.pidfd_open(process)
    except (OSError, ValueError):
        return
    try:
        os.kill(process, signal.SIGTERM)
        if not select.select([descriptor], [], [], ENGINE_STOP_SECONDS)[0]:
            raise Refused(f"cannot stop the container engine: process {process} does not end")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _stopped(config: Config) -> Iterator[None]:
    """Hold the data folder's lock; refuses while a server runs on it."""
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


def _pki(config: Config) -> Pki:
    folder = Path(config.data_dir) / "pki"
    if not folder.is_dir():
        raise Refused(f"cannot use {folder}: there are no certificates in it")
    try:
        return Pki.ensure(
            folder,
            clock=SystemClock(),
            randomness=SystemRandomness(),
            **pki_arguments(config, config.node_ip or own_address()),
        )
    except (ClockNotSet, KeysDamaged, OSError) as error:
        raise Refused(str(error)) from error


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((one for one in mounts if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False)  # noqa: S603, S607 - fixed words and a mount of ours


def _remove(path: Path) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"cannot remove {path}: {error.strerror}") from error
