"""Engines of the tests' own, each with all its state in one folder, for the contract of container runtimes."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from testbed.crio import CrioFolders
from testbed.waiting import wait_for

from integration.node_host import ARCHITECTURE, HELLO, NAME
from kubelite.clock import SystemClock
from kubelite.node.cni.plugin import install
from kubelite.node.cni.server import PluginCalls, PluginServer
from kubelite.node.container_owner import ensure_owner
from kubelite.node.containerd import ContainerdFolders
from kubelite.node.cri.runtime import CriRuntime
from kubelite.node.cri_socket import cri_answers
from kubelite.node.docker import DockerRuntime
from kubelite.node.engine import EngineFolders, answers
from kubelite.node.network import HostPort
from kubelite.node.pause_image import pause_archive
from kubelite.node.profiles import Profiles
from kubelite.node.runtime import ContainerRuntime
from kubelite.node.volumes.tmpfs import mounts_below, unmount
from kubelite.randomness import SystemRandomness

# Folders of programs that no package of the host has: containerd 2 with its shim and ctr; crio and pinns.
NEWER_CONTAINERD, CRIO = "KUBELITE_NEWER_CONTAINERD", "KUBELITE_CRIO"
needs_crio = pytest.mark.skipif(
    CRIO not in os.environ and shutil.which("crio") is None, reason=f"needs crio or {CRIO}"
)
T = TypeVar("T")
Open = Callable[[Path], ContainerRuntime]  # over an agent's folder


def _apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop of its own while the test's waits."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class RunningEngine:
    """An engine that runs, and how to connect to it."""

    def __init__(self, folder: Path, socket: Path, open_runtime: Open) -> None:
        self.folder = folder
        self.socket = socket
        self.agent = folder / "agent"
        self.agent.mkdir()
        self._open = open_runtime
        self.image = _apart(self._load())

    def open(self) -> ContainerRuntime:
        """Connect to it."""
        return self._open(self.agent)

    async def _load(self) -> str:
        archive = self.folder / "hello.tar"
        subprocess.run([sys.executable, str(HELLO), str(archive)], check=True)
        runtime = self.open()
        try:
            await runtime.load(archive)
            image = await runtime.image(NAME)
            assert image is not None
            return image.id
        finally:
            await runtime.close()


def _docker_open(socket: Path) -> Open:
    def open_runtime(agent: Path) -> ContainerRuntime:
        owner = ensure_owner(agent, "node-1", SystemRandomness())
        profiles = Profiles(agent / "seccomp")
        return DockerRuntime(socket, owner, ARCHITECTURE, SystemClock(), profiles)

    return open_runtime


@contextmanager
def _running(folder: Path, line: list[str], socket: Path) -> Iterator[None]:
    """Run an engine until the end; `socket` is where it answers Docker's API."""
    with (folder / "engine.log").open("ab") as log:
        # Podman's helper leaves a file where the service runs when a container is out of memory.
        process = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True, cwd=folder)
    try:
        wait_for(lambda: _apart(answers(socket)), "container engine")
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-engine-"))
    folder.chmod(0o711)  # as the folders of engines are, for users of other user namespaces
    try:
        yield folder
    finally:
        for mount in mounts_below(folder):
            with suppress(OSError):
                unmount(mount)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def docker() -> Iterator[RunningEngine]:
    """Run a Docker engine."""
    with _folder() as folder:
        folders = EngineFolders(folder / "data", folder / "run")
        folders.run.mkdir()
        with _running(folder, folders.arguments(), folders.socket):
            yield RunningEngine(folder, folders.socket, _docker_open(folders.socket))


def podman_line(folder: Path) -> list[str]:
    """Return how a Podman service is started with all its state in a folder."""
    return [
        "podman",
        f"--root={folder / 'data'}",
        f"--runroot={folder / 'run'}",
        f"--tmpdir={folder / 'libpod'}",
        "--runtime=runc",
        "--cgroup-manager=cgroupfs",
        "--events-backend=file",
        "system",
        "service",
        "--time=0",
        f"unix://{folder / 'podman.sock'}",
    ]


@contextmanager
def podman() -> Iterator[RunningEngine]:
    """Run a Podman service."""
    with _folder() as folder, _running(folder, podman_line(folder), folder / "podman.sock"):
        yield RunningEngine(folder, folder / "podman.sock", _docker_open(folder / "podman.sock"))


class PodsWithoutNetwork:
    """A pod network that gives every pod an interface and connects none; what a contract asks needs no more."""

    async def attach(
        self, pod_uid: str, pod_key: str, netns: str, *, host_ports: Sequence[HostPort] = ()
    ) -> tuple[str, ...]:
        del pod_uid, pod_key, host_ports
        line = ["nsenter", f"--net={netns}", "ip", "link", "add", "eth0", "type", "veth"]
        subprocess.run(line, check=True)
        return ("10.42.0.9",)

    async def addresses_in(self, pod_uid: str, netns: str) -> tuple[str, ...]:
        del pod_uid, netns
        return ("10.42.0.9",)

    async def detach(self, pod_uid: str) -> None:
        del pod_uid

    async def restore(self, live: Mapping[str, int]) -> None:
        del live


@contextmanager
def _plugin_served(path: Path) -> Iterator[None]:
    """Answer the calls of the CNI plugin in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = PluginServer(path, PluginCalls(PodsWithoutNetwork(), lambda _: ()))
    asyncio.run_coroutine_threadsafe(server.start(), loop).result()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _cri_open(socket: Path, logs: Path) -> Open:
    def open_runtime(agent: Path) -> ContainerRuntime:
        owner = ensure_owner(agent, "node-1", SystemRandomness())
        profiles = Profiles(agent / "seccomp")
        return CriRuntime(socket, owner, SystemClock(), profiles, logs=logs)

    return open_runtime


@contextmanager
def programs_first(folder: str) -> Iterator[None]:
    """Find programs in a folder before all others; an empty name changes nothing."""
    before = os.environ["PATH"]
    if folder:
        os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


@contextmanager
def crio() -> Iterator[RunningEngine]:
    """Run a CRI-O, with the image of sandboxes."""
    with _folder() as folder, _plugin_served(folder / "cni.sock"):
        folders = CrioFolders(folder / "c")
        folders.prepare()
        install(folder / "cni.sock", folders.programs, folders.networks)
        with (folder / "engine.log").open("ab") as log:
            process = subprocess.Popen(
                folders.arguments(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            open_runtime = _cri_open(folders.socket, folder / "logs")
            wait_for(lambda: _apart(cri_answers(folders.socket)), "CRI-O")
            pause = folder / "pause.tar"
            pause.write_bytes(pause_archive(ARCHITECTURE))
            _apart(_loaded(open_runtime, folder, pause))
            yield RunningEngine(folder, folders.socket, open_runtime)
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def containerd() -> Iterator[RunningEngine]:
    """Run a containerd, with the image of sandboxes."""
    with _folder() as folder, _plugin_served(folder / "cni.sock"):
        folders = ContainerdFolders(folder / "data", folder / "run")
        folders.prepare()
        install(folder / "cni.sock", folders.programs, folders.networks)
        with (folder / "engine.log").open("ab") as log:
            process = subprocess.Popen(
                folders.arguments(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_for(lambda: _apart(folders.answers()), "containerd")
            pause = folder / "pause.tar"
            pause.write_bytes(pause_archive(ARCHITECTURE))
            open_runtime = _cri_open(folders.socket, folder / "logs")
            _apart(_loaded(open_runtime, folder, pause))
            yield RunningEngine(folder, folders.socket, open_runtime)
        finally:
            process.terminate()
            process.wait(30)
            folders.end_remains()


async def _loaded(open_runtime: Open, folder: Path, archive: Path) -> None:
    (folder / "agent-of-pause").mkdir()
    runtime = open_runtime(folder / "agent-of-pause")
    try:
        await runtime.load(archive)
    finally:
        await runtime.close()
