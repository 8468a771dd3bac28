"""A real kubelet over a real Docker engine of its own; the API is in memory, the pod network without links."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.server import Server

from kubelite.api.client.events import EventRecorder
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.container_status import ContainerStatus
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.clock import SystemClock
from kubelite.grpc.client import GrpcClient
from kubelite.node.container_owner import ensure_owner
from kubelite.node.dependencies import Collaborators, NodeFacts
from kubelite.node.devices.node_devices import NodeDevices
from kubelite.node.docker import DockerRuntime
from kubelite.node.engine import EngineFolders, OwnEngine, answers
from kubelite.node.kubelet import Kubelet
from kubelite.node.log_links import LogLinks
from kubelite.node.name_resolution import DNSSettings
from kubelite.node.plugins.registry import PluginRegistry
from kubelite.node.probes import NetworkProber
from kubelite.node.profiles import Profiles, apparmor_enabled
from kubelite.node.simulated.network import AddressPool, SimulatedNetwork
from kubelite.node.sysctls import allow_list
from kubelite.node.volumes.host import HostVolumes
from kubelite.node.volumes.recursive import is_supported
from kubelite.node.volumes.tmpfs import mounts_below, unmount
from kubelite.randomness import SystemRandomness
from kubelite.tasks import TaskSet

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64")
TIMEOUT_SECONDS = 60.0
NAME = "kubelite.local/hello:1"
HELLO = Path(__file__).parents[2] / "examples" / "hello" / "image.py"
TERM = "trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"
EVERYTHING = {"cpu": "64", "memory": "64Gi", "ephemeral-storage": "64Gi", "pods": "110"}

MISSING = shutil.which("dockerd") is None or not Path("/bin/busybox").exists() or os.geteuid() != 0
needs_engine = [
    pytest.mark.docker,
    pytest.mark.skipif(
        MISSING and not os.environ.get("CI"), reason="needs root, dockerd and busybox"
    ),
]


class Engine:
    """A Docker engine whose state is all below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folders = EngineFolders(folder / "data", folder / "run")
        self._tasks = TaskSet()

    @property
    def socket(self) -> Path:
        return self.folders.socket

    async def start(self) -> None:
        self._tasks.supervise(OwnEngine(self.folders).run, name="engine")
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not await answers(self.socket):
                await asyncio.sleep(0.05)

    def pid(self) -> int:
        return int((self.folders.run / "docker.pid").read_text())

    async def stop(self) -> None:
        await self._tasks.stop()
        if not await answers(self.socket):
            return
        containers = self.docker("ps", "-aq").split()
        if containers:
            self.docker("rm", "-f", *containers)
        pid = self.pid()
        os.kill(pid, 15)
        with suppress(ChildProcessError):  # of another process when the engine was taken over
            await asyncio.to_thread(os.waitpid, pid, 0)

    def docker(self, *arguments: str) -> str:
        line = ["docker", "-H", f"unix://{self.socket}", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


async def provide_hello(runtime: DockerRuntime, folder: Path) -> None:
    """Load the image of examples/hello unless the engine has it."""
    if await runtime.image(NAME) is None:
        archive = folder / "hello.tar"
        subprocess.run([sys.executable, str(HELLO), str(archive)], check=True)
        await runtime.load(archive)


def engine_folder() -> Iterator[Path]:
    """Give a folder for an engine and remove it, with what is mounted in it, at the end."""
    folder = Path(tempfile.mkdtemp(prefix="kubelite-node-"))
    try:
        yield folder
    finally:
        for mount in mounts_below(folder):
            with suppress(OSError):
                unmount(mount)
        shutil.rmtree(folder, ignore_errors=True)


class RealNode:
    """One node; `start` and `stop` are those of the node agent."""

    def __init__(self, engine: Engine, folder: Path, *, unsafe_sysctls: Sequence[str] = ()) -> None:
        self.engine = engine
        self.folder = folder
        self.name = "node-1"
        self.sysctls = allow_list(os.uname().release, unsafe_sysctls)
        self.enforces_apparmor = apparmor_enabled()
        self.server = Server()
        self.client = self.server.client
        self.logs = LogLinks(folder / "log")
        self.network = SimulatedNetwork(AddressPool())
        self._tasks: TaskSet | None = None
        self._events: EventRecorder | None = None
        self.runtime: DockerRuntime = self._runtime()
        self.kubelet: Kubelet | None = None

    def _runtime(self) -> DockerRuntime:
        profiles = Profiles(self.folder / "seccomp")
        owner = ensure_owner(self.folder, self.name, SystemRandomness())
        return DockerRuntime(self.engine.socket, owner, ARCHITECTURE, SystemClock(), profiles)

    async def set_up(self) -> None:
        await self.client.create(Namespace(metadata=ObjectMeta(name="default")))
        await provide_hello(self.runtime, self.folder)
        await self.start()

    async def start(self) -> None:
        clock, randomness = SystemClock(), SystemRandomness()
        self._tasks = TaskSet()
        events = EventRecorder(self.client, clock, randomness, component="kubelet", host=self.name)
        self._events = events
        volumes = HostVolumes(
            self.folder, self.client, clock, randomness, DNSSettings(("10.43.0.10",))
        )
        prober = NetworkProber(self.runtime)
        devices = NodeDevices(self.folder, self.name, self.client)
        await devices.restore()
        parts = Collaborators(
            self.client,
            self.runtime,
            self.network,
            volumes,
            prober,
            clock,
            events,
            self.logs,
            devices=devices,
        )
        facts = NodeFacts(
            self.name,
            ("127.0.0.1",),
            EVERYTHING,
            64 << 30,
            sysctls=self.sysctls,
            enforces_apparmor=self.enforces_apparmor,
            recursive_read_only=is_supported(),
        )
        self.node_devices, self.devices = devices, devices.plugins
        self.kubelet = Kubelet(facts, parts)
        devices.plugins.active = self.kubelet.active_pods
        devices.on_health = self.kubelet.wake
        devices.on_driver = self.kubelet.retry
        devices.pods = self.kubelet.workers.active_pods
        registry = PluginRegistry(
            self.folder / "plugins_registry", {"DRAPlugin": devices}, GrpcClient
        )
        self._tasks.supervise(devices.run, name="devices")
        self._tasks.supervise(registry.run, name="plugins")
        self._tasks.supervise(self.kubelet.run, name="kubelet")

    async def stop(self) -> None:
        if self._tasks is not None:
            await self._tasks.stop()
            self._tasks = None
        if self._events is not None:
            await self._events.close()

    async def restart(self) -> None:
        """Restart the agent, with nothing remembered but the containers."""
        await self.stop()
        await self.runtime.close()
        self.runtime = self._runtime()
        await self.start()

    async def tear_down(self) -> None:
        for pod in await self.client.list(Pod, "default"):
            await self.client.delete(Pod, pod.metadata.name, "default", grace_seconds=0)
        assert self.kubelet is not None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self.kubelet.memories:
                await asyncio.sleep(0.05)
        await self.stop()
        await self.runtime.close()

    async def create(self, spec: dict[str, Any], name: str = "pod", **meta: Any) -> Pod:
        spec = {"nodeName": "node-1", "terminationGracePeriodSeconds": 5, **spec}
        body = {"metadata": {"name": name, "namespace": "default", **meta}, "spec": spec}
        return await self.client.create(msgspec.convert(body, Pod))

    async def until(self, look: Callable[[Pod], Any], name: str = "pod") -> Pod:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + TIMEOUT_SECONDS
        while True:
            pod = await self.client.get(Pod, name, "default")
            if look(pod):
                return pod
            assert loop.time() < deadline, (msgspec.json.encode(pod.status), await self.events())
            await asyncio.sleep(0.02)

    async def until_gone(self, name: str = "pod") -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                try:
                    await self.client.get(Pod, name, "default")
                except NotFound:
                    return
                await asyncio.sleep(0.02)

    async def events(self) -> list[str]:
        found = await self.client.list(Event, "default")
        return [f"{event.type} {event.reason} {event.message}" for event in found]

    async def exec(self, pod: Pod, *command: str) -> tuple[int, str]:
        return await self.exec_in(pod.status.containerStatuses[0], *command)

    async def exec_in(self, status: ContainerStatus, *command: str) -> tuple[int, str]:
        container_id = status.containerID.partition("//")[2]
        session = await self.runtime.exec(container_id, command, tty=False, stdin=False)
        output = b""
        while (piece := await session.read()) is not None:
            output += piece[1]
        code = await session.exit_code()
        await session.close()
        return code, output.decode()


@asynccontextmanager
async def running_node(
    folder: Path, *, unsafe_sysctls: Sequence[str] = ()
) -> AsyncIterator[RealNode]:
    """Run a node over an engine in `folder`; both end here, and after a success the node's pods first."""
    engine = Engine(folder)
    await engine.start()
    made = RealNode(engine, Path(tempfile.mkdtemp(dir=folder)), unsafe_sysctls=unsafe_sysctls)
    try:
        await made.set_up()
        yield made
        await made.tear_down()
    finally:
        await made.stop()
        await engine.stop()


def container(name: str = "app", script: str = "", **fields: Any) -> dict[str, Any]:
    """Return a container that runs a shell script, or the hello server."""
    made = {"name": name, "image": NAME, "imagePullPolicy": "IfNotPresent", **fields}
    if script:
        made["command"] = ["/bin/sh", "-c", script]
    return made


def is_ready(pod: Pod) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
