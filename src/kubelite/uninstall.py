"""Uninstalls kubelite from a host: removes what the server or agent of one data folder made, and nothing else.

What is removed is found out first, so that a user sees it before answering. All functions block and run in a process of
their own, with the server stopped.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from kubelite.api.auth.audit_log import backups_of
from kubelite.api.auth.secret_files import temporary_of
from kubelite.backup.actions import WORK
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.joining.files import LOCK_FILE, AgentFiles, AlreadyRuns
from kubelite.maintenance import Refused, stopped
from kubelite.progress import SILENT, Progress
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.node.engine import EngineProgram
    from kubelite.node.engine_choice import Engine
    from kubelite.node.runtime import ContainerRecord

STORAGE = "storage"  # the default folder of a node's volumes; another one is outside and stays
ENGINE_START_SECONDS = 30.0
AGAIN = "mend that, and run reset again"
KUBECONFIG_BYTES_MAX = 1 << 20
# Each engine makes them wherever it is told to have its files, and makes them again when it needs them.
SHARED_RUN = tuple(
    Path("/run", name) for name in ("containerd/s", "containerd", "docker/plugins", "docker")
)
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class _Cluster(Struct, rename={"authorities": "certificate-authority-data"}):
    authorities: bytes = b""  # in base64 on the wire


class _NamedCluster(Struct):
    cluster: _Cluster


class _Kubeconfig(Struct):
    clusters: list[_NamedCluster] = []


class Removal(Struct, frozen=True):
    """What a reset of one data folder removes."""

    data: Path
    entries: tuple[Path, ...]  # of kubelite, in the data folder; the store last
    foreign: tuple[Path, ...]  # of others, in the data folder; they stay
    kubeconfig: Path | None  # None: there is none, or it is not this cluster's
    has_node: bool  # False: only a control plane ran here, so the host's containers and network are others'

    def describe(self) -> Iterator[str]:
        """Yield a line for each thing that is removed."""
        if self.has_node:
            yield f"the containers of {self.data}, and the container engine if kubelite started it"
            yield "the pods' network on this host"
        for path in self.entries:
            data = " with the data of all volumes in it" if path == self.data / STORAGE else ""
            yield f"{path}{data}"
        if self.kubeconfig is not None:
            yield str(self.kubeconfig)


def plan_removal(config: Config) -> Removal:
    """Return what `reset` would remove; nothing is changed. Raises Refused, as `reset` does."""
    with _held(config):
        return _plan(config)


def foresee_removal(config: Config) -> Removal:
    """Return what `reset` would remove once the server has stopped. Raises Refused."""
    return _plan(config)


def has_data(config: Config) -> bool:
    """Return whether a server or an agent has run on a data folder."""
    return config.store_dir.exists() or AgentFiles(config.agent_dir).has_joined


@contextlib.contextmanager
def _held(config: Config) -> Iterator[None]:
    """Hold the data folder of a server or an agent. Raises Refused if there is none, or while one runs."""
    files = AgentFiles(config.agent_dir)
    if config.store_dir.exists() or not files.has_joined:
        with stopped(config):
            yield
        return
    try:
        lock = files.lock()
    except (AlreadyRuns, OSError) as error:
        raise Refused(f"{error}; stop the agent first") from error
    try:
        yield
    finally:
        os.close(lock)


def _plan(config: Config) -> Removal:
    data, kubeconfig = _absolute(config.data_dir), _absolute(config.write_kubeconfig)
    for path in (data, kubeconfig):
        if path.is_symlink():
            raise Refused(f"cannot remove {path}: it is a link; name what it leads to")
    store = config.store_dir.name
    try:
        ours = _is_of_this_cluster(kubeconfig, data / "pki" / "ca.crt")
        own = _own_paths(config, kubeconfig if ours else None)
        # Without a store a folder counts as no cluster's, so after a failure the rest could not be removed any more.
        present = sorted(data.iterdir(), key=lambda path: (path.name == store, path.name))
    except OSError as error:
        raise Refused(f"cannot read {error.filename}: {error.strerror}; run as root") from error
    return Removal(
        data=data,
        entries=tuple(path for path in present if path in own),
        foreign=tuple(path for path in present if path not in own),
        kubeconfig=kubeconfig if ours else None,
        has_node=config.agent_dir.is_dir(),
    )


def _own_paths(config: Config, kubeconfig: Path | None) -> frozenset[Path]:
    """Return all that a server writes directly into its data folder; anything else there is the user's."""
    data, key, audit = Path(config.data_dir), config.secrets_key_file, config.audit_log_file
    own = {
        config.store_dir,
        config.snapshots_dir,
        data / "pki",
        data / "agent",
        data / STORAGE,
        key,
    }
    own |= {temporary_of(key), audit, *backups_of(audit), *data.glob(f"{WORK}*")}
    manifests = config.manifests_dir
    if manifests.is_dir() and not any(manifests.iterdir()):  # else with files of the user's
        own.add(manifests.parent)
    if kubeconfig is not None:
        own |= {kubeconfig, temporary_of(kubeconfig)}
    return frozenset(map(_absolute, own))


def _absolute(path: str | Path) -> Path:
    """Return a path without `..` and by its full name; unlike `resolve` it follows no link."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `resolve` follows links


def _is_of_this_cluster(kubeconfig: Path, authorities: Path) -> bool:
    """Return whether all clusters of a kubeconfig have an authority of this one's. Raises OSError.

    A reset of one data folder must not take away the kubeconfig of another, which is at the same place by default.
    """
    if not kubeconfig.is_file() or not authorities.is_file():
        return False
    ours = set(_CERTIFICATE.findall(authorities.read_bytes()))
    with kubeconfig.open("rb") as file:
        bundles = _authorities(file.read(KUBECONFIG_BYTES_MAX))
    return bool(bundles) and all(not ours.isdisjoint(bundle) for bundle in bundles)


def _authorities(content: bytes) -> Sequence[Sequence[bytes]]:
    """Return the certificates of authorities of each cluster of a kubeconfig; empty if it cannot be read."""
    try:
        read = msgspec.yaml.decode(content, type=_Kubeconfig)
    except (ValueError, RecursionError):
        return []
    return [_CERTIFICATE.findall(named.cluster.authorities) for named in read.clusters]


def reset(config: Config, say: Callable[[str], None], progress: Progress = SILENT) -> None:
    """Remove all that kubelite made on this host: containers, network, mounts, files. Raises Refused."""
    # The lock is held until all is removed: a service manager may start the server again at any moment.
    with _held(config):
        is_agent = not config.store_dir.exists()
        removal = _plan(config)
        if removal.has_node:
            _remove_node(config, say, progress)
        else:
            say("no node ran here: containers and network of this host are left alone")
        _remove_root_link(config)
        _unmount_below(removal.data)
        # The kubeconfig goes before the authority that proves whose it is, so that a failed reset can be repeated.
        for path in (*_kubeconfig_elsewhere(removal), *removal.entries):
            if path == _absolute(config.agent_dir):
                _empty_agent_folder(path)
            with progress.step(f"remove {path}"):
                _remove(path)
            say(f"removed {path}")
    if removal.kubeconfig is None and (path := Path(config.write_kubeconfig)).exists():
        say(f"left {path}: it is not, or not only, of this cluster")
    _remove_data_folder(removal, say)
    if is_agent:
        say("the cluster still has the node: see kubectl get nodes, and kubectl delete node NAME")


def _empty_agent_folder(folder: Path) -> None:
    """Remove all but the lock, by which a folder counts as an agent's: after a failure a reset can be repeated."""
    for path in sorted(folder.iterdir()):
        if path.name != LOCK_FILE:
            _remove(path)


def _remove_node(config: Config, say: Callable[[str], None], progress: Progress) -> None:
    from kubelite.net.nftables import RulesRefused, RulesUnavailable
    from kubelite.net.reset import remove_network
    from kubelite.node.cgroups import remove_all as remove_groups
    from kubelite.node.shutdown.logind import remove_override
    from kubelite.node.volumes import loop_devices
    from kubelite.node.volumes.block_devices import mark_of

    try:
        pods = _pod_folders(config)
        with progress.step("remove the containers"):
            records = asyncio.run(_remove_containers(config, say))
        say(f"removed {len(records)} containers")
        own = {*pods, *(record.pod_uid for record in records)}
        with progress.step("remove the network"):
            is_removed = asyncio.run(remove_network(own))
    except TimeoutError as error:
        raise Refused(f"cannot stop the container engine: it does not end; {AGAIN}") from error
    except (RulesUnavailable, RulesRefused, OSError) as error:
        raise Refused(f"cannot remove the network: {error}; {AGAIN}") from error
    if left := asyncio.run(_disconnect(config)):
        say(f"{left} pods could not be disconnected by the CNI plugins of --cni-bin-dir")
    if is_removed:
        say("removed the network")
    else:
        say("left the network: pods of another data folder are connected to it")
    remove_groups()
    try:
        loop_devices.detach(mark_of(config.agent_dir))
    except OSError as error:
        raise Refused(f"cannot detach a loop device: {error.strerror}; {AGAIN}") from error
    try:
        if remove_override():
            say("removed the settings of logind")
    except OSError as error:
        raise Refused(f"cannot remove {error.filename}: {error.strerror}; {AGAIN}") from error


async def _disconnect(config: Config) -> int:
    """Undo the connections that CNI plugins made; return how many could not be undone."""
    from kubelite.net.cni.network import CniNetwork

    network = CniNetwork(
        files=config.cni_connections,
        configs=Path(config.cni_conf_dir),
        programs=[Path(folder) for folder in config.cni_bin_dirs],
    )
    return await network.disconnect_all()


def _remove_root_link(config: Config) -> None:
    """Remove the path at which plugins found the kubelet's folders, if it is this node's link."""
    from kubelite.node.kubelet_folders import is_shown

    root = config.kubelet_root
    if is_shown(config.agent_dir, root):
        root.unlink()


def _kubeconfig_elsewhere(removal: Removal) -> tuple[Path, ...]:
    if removal.kubeconfig is None or removal.kubeconfig in removal.entries:
        return ()
    return (removal.kubeconfig,)


def _remove_data_folder(removal: Removal, say: Callable[[str], None]) -> None:
    """Remove the data folder itself, unless it is a mount or holds something that is not kubelite's."""
    if removal.foreign:
        names = ", ".join(path.name for path in removal.foreign)
        say(f"left {removal.data}: it holds {names}, which kubelite did not make")
    elif not removal.data.is_mount():
        try:
            removal.data.rmdir()
        except OSError as error:
            raise Refused(f"cannot remove {removal.data}: {error.strerror}; {AGAIN}") from error
        say(f"removed {removal.data}")


async def _remove_containers(
    config: Config, say: Callable[[str], None]
) -> Sequence["ContainerRecord"]:
    """Remove this data folder's containers, and its own engines if it has any; return what was removed."""
    from kubelite.node.cni.plugin import remove_noted
    from kubelite.node.containerd import remove_traces
    from kubelite.node.engine_choice import Wanted, choose, own_engines, used_engines
    from kubelite.node.runtime import EngineUnavailable, RuntimeFailure

    own = own_engines(config.agent_dir, config.run_dir)
    current = await choose(Wanted(*config.wanted_engine), own, config.agent_dir)
    left = {engine for engine, program in own.all if program.data.is_dir()}
    others = {*used_engines(config.agent_dir), *left} - {current}
    records: list[ContainerRecord] = []
    try:
        for engine in (current, *sorted(others, key=lambda one: one.socket)):
            found = await _empty(config, engine, own.program(engine))
            if found is not None:
                records += found
            elif engine == current and _pod_folders(config):
                what = f"the container engine does not answer on {engine.socket}"
                raise Refused(
                    f"cannot remove containers: {what}, and pods of this node are on it; start it first"
                )
            elif engine != current:
                say(f"left what may be on {engine.socket}, used before: nothing answers there")
    except (EngineUnavailable, RuntimeFailure) as error:
        raise Refused(f"cannot remove containers: {error}; {AGAIN}") from error
    # Its plugin makes the engine able to remove sandboxes, so it goes last.
    await asyncio.to_thread(remove_noted, config.agent_dir)
    await asyncio.to_thread(_remove_run, config.run_dir / "cni")
    if any(engine.dialect == "cri" for engine in (current, *others)):
        await asyncio.to_thread(remove_traces)
    return records


async def _empty(
    config: Config, engine: "Engine", program: "EngineProgram | None"
) -> Sequence["ContainerRecord"] | None:
    """Remove this data folder's containers from one engine, and the engine if it is our own; None: it is silent."""
    from kubelite.node.engine import stop_engine
    from kubelite.node.engine_choice import engine_answers

    is_own = program is not None and program.data.is_dir()
    try:
        if await engine_answers(engine):
            return await _empty_engine(config, engine)
        return await _empty_own_engine(config, engine, program) if program and is_own else None
    except TimeoutError as error:
        raise Refused(
            f"cannot remove containers: {program and program.name} is silent; {AGAIN}"
        ) from error
    finally:
        if program is not None and is_own:
            await stop_engine(program)
            await asyncio.to_thread(program.end_remains)
            await asyncio.to_thread(_remove_run, program.run)
            await asyncio.to_thread(_remove_empty, SHARED_RUN)


async def _empty_own_engine(
    config: Config, engine: "Engine", program: "EngineProgram"
) -> Sequence["ContainerRecord"]:
    """Restart an engine of our own to remove its containers, which outlive it; return what was removed."""
    from kubelite.node.engine import OwnEngine, until_answers

    tasks = TaskSet()
    tasks.start(OwnEngine(program).run(), name="container engine")
    try:
        async with asyncio.timeout(ENGINE_START_SECONDS):
            await until_answers(program)
        return await _empty_engine(config, engine)
    finally:
        await tasks.stop()


async def _empty_engine(config: Config, engine: "Engine") -> Sequence["ContainerRecord"]:
    from kubelite.node import pause_image
    from kubelite.node.container_owner import read_owner
    from kubelite.node.engine_client import connect
    from kubelite.node.log_links import LogLinks
    from kubelite.node.machine import read_machine
    from kubelite.node.runtime import RuntimeFailure

    machine = await asyncio.to_thread(read_machine, Path("/"))
    owner = await asyncio.to_thread(
        read_owner, Path(config.data_dir) / "agent", config.name_of_node
    )
    runtime = connect(engine, owner, machine.architecture, SystemClock())
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
    return records


def _pod_folders(config: Config) -> Sequence[str]:
    """Return the uids of pods that have a folder. Raises OSError."""
    folder = Path(config.data_dir) / "agent" / "pods"
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _remove_run(folder: Path) -> None:
    """Remove an engine's run-time folder, and its parent if that is empty."""
    from kubelite.node.untrusted_files import remove_path

    _unmount_below(folder)
    with contextlib.suppress(OSError):
        remove_path(folder)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _unmount_below(folder: Path) -> None:
    from kubelite.node.volumes.tmpfs import unmount_below

    try:
        unmount_below(folder)
    except OSError as error:
        raise Refused(f"cannot unmount {error.filename}: {error.strerror}; {AGAIN}") from error


def _remove(path: Path) -> None:
    from kubelite.node.untrusted_files import remove_path

    try:
        remove_path(path)
    except OSError as error:
        raise Refused(f"cannot remove {path}: {error.strerror}; {AGAIN}") from error
