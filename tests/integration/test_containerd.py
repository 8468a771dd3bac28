"""A containerd of kubelite's own, and the pod network as its CNI plugin, in real namespaces.

What it is asked here goes over the wire as CRI has it, in messages of this file: the engine is tested, not its client.
"""

import asyncio
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from integration.net_namespaces import in_new_namespace, shell
from kubelite.net.pod_network import PodNetwork, link_name
from kubelite.node import pause_image
from kubelite.node.cni.plugin import install
from kubelite.node.cni.server import PluginCalls, PluginServer
from kubelite.node.containerd import ContainerdFolders
from kubelite.node.engine import OwnEngine, stop_engine, until_answers
from kubelite.node.network import HostPort, namespace_path
from kubelite.node.volumes.tmpfs import mounts_below, unmount_below
from kubelite.tasks import TaskSet

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64")
MISSING = shutil.which("containerd") is None or os.geteuid() != 0
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(MISSING and not os.environ.get("CI"), reason="needs root and containerd"),
]

Fields = dict[int, "int | str | Fields"]


def encode(fields: Fields) -> bytes:
    """Encode a protobuf message by field numbers."""
    data = b""
    for number, value in fields.items():
        if isinstance(value, int):
            data += varint(number << 3) + varint(value)
        else:
            inner = value.encode() if isinstance(value, str) else encode(value)
            data += varint(number << 3 | 2) + varint(len(inner)) + inner
    return data


def varint(number: int) -> bytes:
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def decode(data: bytes) -> dict[int, bytes]:
    """Return the texts and messages of a protobuf message; short numbers are skipped."""
    found, position = {}, 0
    while position < len(data):
        (key, position) = _number(data, position)
        (size, position) = _number(data, position)
        if key & 7 == 2:
            found[key >> 3] = data[position : position + size]
            position += size
    return found


def _number(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[position] & 127) << shift
        shift += 7
        position += 1
        if data[position - 1] < 128:
            return number, position


class Refused(Exception):
    """The engine answered without a message; `str()` has what its trailers hold, encoded or not."""


def call(path: Path, method: str, request: Fields) -> bytes:
    """Make one call of the runtime service on a connection of its own. Blocking."""
    names = {":method": "POST", ":scheme": "http", ":path": f"/runtime.v1.RuntimeService/{method}"}
    names |= {":authority": "localhost", "content-type": "application/grpc", "te": "trailers"}
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in names.items()
    )
    message = encode(request)
    data = b"\0" + struct.pack(">I", len(message)) + message
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        connection.sendall(frame(1, 4, 1, block) + frame(0, 1, 1, data))
        with connection.makefile("rb") as stream:
            answer, texts = _answer(stream.read)
    if not answer:
        raise Refused(texts)
    return answer[5:]


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, number) + payload


def _answer(read: Callable[[int], bytes]) -> tuple[bytes, str]:
    answer = texts = b""
    while True:
        head = read(9)
        assert len(head) == 9, "the engine closed the connection"
        payload = read(int.from_bytes(head[:3]))
        if head[3] == 0:
            answer += payload
        elif head[3] == 1:
            texts += payload
        if head[3] in (0, 1) and head[4] & 1:
            return answer, texts.decode("latin-1")


class Sandbox:
    """A pod's sandbox of the engine."""

    def __init__(self, path: Path, uid: str, attempt: int = 0) -> None:
        metadata: Fields = {1: uid, 2: uid, 3: "default", 4: attempt}
        security: Fields = {1: {2: 1}}  # a PID namespace for each container
        config: Fields = {1: metadata, 8: {1: f"/kubelite/pod{uid}", 2: security}}
        self._path = path
        self.id = decode(call(path, "RunPodSandbox", {1: config}))[1].decode()

    @property
    def address(self) -> str:
        status = decode(call(self._path, "PodSandboxStatus", {1: self.id}))[1]
        return decode(decode(status)[5])[1].decode()

    @property
    def pid(self) -> int:
        [shim] = self.shims()
        return int(Path(f"/proc/{shim}/task/{shim}/children").read_text().split()[0])

    def shims(self) -> list[str]:
        """Return the numbers of its shims: one while it runs."""
        line = ["pgrep", "-f", f"containerd-shim.*-id {self.id}"]
        return subprocess.run(line, capture_output=True, text=True).stdout.split()

    def remove(self) -> None:
        for method in ("StopPodSandbox", "RemovePodSandbox"):
            call(self._path, method, {1: self.id})


class Bench:
    """The engine, the network and the plugin's socket."""

    def __init__(self, folder: Path) -> None:
        self.engine = ContainerdFolders(folder / "data", folder / "run")
        self.network = PodNetwork()
        self.pods: dict[str, list[HostPort]] = {"one": [], "two": []}
        self._plugin_socket = folder / "run" / "cni" / "cni.sock"
        self._tasks = TaskSet()
        self._server: PluginServer | None = None

    async def start(self) -> None:
        await self.network.start("10.42.0.0/24")
        install(self._plugin_socket, self.engine.programs, self.engine.networks)
        await self.serve()
        self.start_engine()
        await self.until_up()
        archive = self.engine.top / "pause.tar"
        archive.write_bytes(pause_image.pause_archive(ARCHITECTURE))
        await asyncio.to_thread(
            shell, f"ctr -a {self.engine.socket} -n k8s.io images import {archive}"
        )

    def start_engine(self) -> None:
        self._tasks.supervise(OwnEngine(self.engine).run, name="engine")

    async def until_up(self) -> None:
        async with asyncio.timeout(60):
            await until_answers(self.engine)

    async def serve(self) -> None:
        self._server = PluginServer(self._plugin_socket, PluginCalls(self.network, self.pods.get))
        await self._server.start()

    async def leave(self) -> None:
        """Stop what kubelite does, and leave the engine."""
        if self._server is not None:
            await self._server.stop()
            self._server = None
        await self._tasks.stop()

    async def run(self, uid: str, attempt: int = 0) -> Sandbox:
        return await asyncio.to_thread(Sandbox, self.engine.socket, uid, attempt)

    async def close(self) -> None:
        await self.leave()
        await stop_engine(self.engine)
        await asyncio.to_thread(self.engine.end_remains)
        await self.network.stop()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Bench]:
    bench = Bench(folder)
    try:
        await bench.start()
        yield bench
    finally:
        await bench.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(mkdtemp(prefix="kubelite-containerd-"))
    yield folder
    unmount_below(folder)
    shutil.rmtree(folder)


def processes_of(folder: Path) -> list[str]:
    lines = subprocess.run(["ps", "axwwo", "args"], capture_output=True, text=True).stdout
    return [line for line in lines.splitlines() if str(folder) in line]


def test_pods_have_the_pod_network_from_the_engines_call_on(folder: Path) -> None:
    async def main(stack: ExitStack) -> None:
        async with running(folder) as bench:
            one, two = await bench.run("one"), await bench.run("two")
            assert (one.address, two.address) == ("10.42.0.2", "10.42.0.3")
            # The node attaches again what the engine has attached, and learns the addresses by it.
            path = namespace_path(one.pid)
            assert await bench.network.attach("one", "default/one", path) == ("10.42.0.2",)
            shell(f"nsenter -t {one.pid} -n busybox ping -c1 -W1 {two.address}")
            shell(f"nsenter -t {one.pid} -n busybox ping -c1 -W1 127.0.0.1")
            with pytest.raises(Refused):
                await bench.run("stranger")
            assert "10.42.0.4" not in bench.network.pod_addresses
            again = await bench.run("one", 1)
            await asyncio.to_thread(one.remove)
            assert again.address == "10.42.0.2"
            shell(f"nsenter -t {again.pid} -n busybox ping -c1 -W1 {two.address}")
            await asyncio.to_thread(again.remove)
            assert link_name("one") not in shell("ip -o link")
            await asyncio.to_thread(two.remove)

    in_new_namespace(main)


def test_without_kubelite_sandboxes_can_be_removed_but_not_made(folder: Path) -> None:
    async def main(stack: ExitStack) -> None:
        async with running(folder) as bench:
            one = await bench.run("one")
            await bench.leave()
            with pytest.raises(Refused):
                await bench.run("two")
            await asyncio.to_thread(one.remove)
            assert one.shims() == []
            await bench.serve()
            two = await bench.run("two")
            assert two.address != ""
            await asyncio.to_thread(two.remove)

    in_new_namespace(main)


def test_the_engine_is_started_again_adopted_and_leaves_nothing(folder: Path) -> None:
    async def main(stack: ExitStack) -> None:
        async with running(folder) as bench:
            one = await bench.run("one")
            first = bench.engine.pid()
            os.kill(first, 9)
            async with asyncio.timeout(60):
                while not await bench.engine.answers() or bench.engine.pid() == first:
                    await asyncio.sleep(0.05)
            assert one.address == "10.42.0.2"
            second = bench.engine.pid()
            await bench.leave()
            assert await bench.engine.answers()
            bench.start_engine()  # another run of kubelite adopts it
            await bench.until_up()
            assert bench.engine.pid() == second
        assert processes_of(folder / "run") == []

    in_new_namespace(main)
    assert all(str(folder / "run") in str(mount) for mount in mounts_below(folder))
    unmount_below(folder)
    assert mounts_below(folder) == []
