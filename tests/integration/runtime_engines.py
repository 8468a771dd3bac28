"""Engines of the tests' own, each with all its state in one folder, for the contract of container runtimes."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from testbed.waiting import wait_for

from integration.node_host import ARCHITECTURE, HELLO, NAME
from kubelite.clock import SystemClock
from kubelite.node.container_owner import ensure_owner
from kubelite.node.docker import DockerRuntime
from kubelite.node.engine import EngineFolders, answers, command_line
from kubelite.node.profiles import Profiles
from kubelite.node.runtime import ContainerRuntime
from kubelite.node.volumes.tmpfs import mounts_below, unmount
from kubelite.randomness import SystemRandomness

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
        with _running(folder, command_line(folders), folders.socket):
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
