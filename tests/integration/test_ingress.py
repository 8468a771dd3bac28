"""A node's ingress over the real API's rights, with its process, real sockets and backends that come and go."""

import asyncio
import base64
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from fakes.network_objects import endpoint, endpoint_slice, service

from integration.net_namespaces import in_new_namespace, needs_root, shell
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.self_signed import self_signed
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.events import EventRecorder
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    ServiceBackendPort,
)
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.ingress import front
from kubelite.ingress.front import FrontSettings
from kubelite.ingress.node import NodeIngress
from kubelite.ingress.service import IngressService
from kubelite.offload import AtOnce
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine
from kubelite.tasks import TaskSet

pytestmark = needs_root

NOW = datetime(2026, 9, 1, tzinfo=UTC)
PODS = ("10.99.0.1", "10.99.0.2", "10.99.0.3")  # of backends, on this namespace's loopback link


class Backend:
    """An HTTP server as a pod has it: on SIGTERM it stops listening, and ends when its requests are answered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.served = 0
        self.delay_seconds = 0.0
        self._server: asyncio.Server | None = None
        STARTED.append(self)
        self._open: set[asyncio.StreamWriter] = set()
        self._busy: set[asyncio.StreamWriter] = set()

    async def start(self, address: str) -> None:
        self._server = await asyncio.start_server(self._serve, address, 8080)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while self._server is not None:
                head = await reader.readuntil(b"\r\n\r\n")
                self._busy.add(writer)
                await self._answer(head, reader, writer)
                self._busy.discard(writer)
                self.served += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._busy.discard(writer)
            self._open.discard(writer)
            writer.close()

    async def _answer(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if b"/big" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
            for _ in range(BIG // PIECE):
                writer.write(b"x" * PIECE)
                await writer.drain()
            return
        await asyncio.sleep(self.delay_seconds)
        text = self.name.encode() + b" " + head.split()[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    async def terminate(self) -> None:
        """End as a server does on SIGTERM."""
        assert self._server is not None
        server, self._server = self._server, None
        server.close()
        for writer in self._open - self._busy:
            writer.close()
        while self._busy:
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        """End as a process does on SIGKILL."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._open):
            writer.transport.abort()


STARTED: list[Backend] = []  # which are killed when a test is over
BIG, PIECE = 64 << 20, 1 << 16


class Bed:
    """A control plane in memory, and a node's ingress on ports 80 and 443."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.root = plane.client(Caller("root", ("system:masters",)), "test")
        self.services: list[IngressService] = []
        self.node = NodeIngress(
            plane.client(Caller("system:kube-proxy", ("system:authenticated",)), "kube-proxy"),
            lambda: self._make(plane),
        )
        self._certificates: dict[str, bytes] = {}

    def _make(self, plane: ControlPlane) -> IngressService:
        network = plane.client(Caller("system:kube-proxy", ("system:authenticated",)), "kube-proxy")
        node = Caller("system:node:one", ("system:nodes", "system:authenticated"))
        self.services.append(
            IngressService(
                node=plane.client(node, "kubelet"),
                network=network,
                node_name="one",
                events=EventRecorder(
                    network, SetClock(NOW), SeededRandomness(2), component="kubelite-ingress"
                ),
                offload=AtOnce(),
                settings=FrontSettings(own_ports={6443: "the API server"}),
                default_certificate=lambda: self_signed("default.test", datetime.now(UTC)),
            )
        )
        return self.services[-1]

    @property
    def pid(self) -> int:
        return self.services[-1].front.pid

    async def serving(self) -> None:
        async with asyncio.timeout(20):
            while not self.services:
                await asyncio.sleep(0.01)
            await self.services[-1].front.ready.wait()

    async def expose(self, *paths: tuple[str, str], tls: Sequence[IngressTLS] = ()) -> None:
        rules = [
            IngressRule(
                host=host,
                http=HTTPIngressRuleValue(
                    paths=[
                        HTTPIngressPath(
                            path=path,
                            pathType="Prefix",
                            backend=IngressBackend(
                                service=IngressServiceBackend(
                                    name="web", port=ServiceBackendPort(number=80)
                                )
                            ),
                        )
                    ]
                ),
            )
            for host, path in paths
        ]
        await self.root.create(
            Ingress(
                metadata=ObjectMeta(name="web", namespace="default"),
                spec=IngressSpec(rules=rules, tls=list(tls)),
            )
        )

    async def endpoints(self, *addresses: str, ready: bool = True) -> None:
        wanted = endpoint_slice(*(endpoint(one, ready=ready) for one in addresses))
        if await self.root.list(EndpointSlice, "default", field_selector="metadata.name=web-1"):
            await self.root.update(wanted)
        else:
            await self.root.create(wanted)

    async def secret(
        self,
        name: str,
        host: str,
        *,
        data: dict[str, str] | None = None,
        namespace: str = "default",
    ) -> None:
        pem = await asyncio.to_thread(self_signed, host, datetime.now(UTC))
        chain, _, key = pem.partition(b"-----BEGIN PRIVATE KEY-----")
        content = {
            "tls.crt": base64.b64encode(chain).decode(),
            "tls.key": base64.b64encode(b"-----BEGIN PRIVATE KEY-----" + key).decode(),
        }
        wanted = Secret(
            metadata=ObjectMeta(name=name, namespace=namespace),
            data=content if data is None else data,
        )
        if await self.root.list(Secret, namespace, field_selector=f"metadata.name={name}"):
            await self.root.update(wanted)
        else:
            await self.root.create(wanted)


@asynccontextmanager
async def running() -> AsyncIterator[Bed]:
    clock = SetClock(NOW)
    plane = ControlPlane(
        EmbeddedStore(MemoryEngine(), clock=clock),
        clock=clock,
        randomness=SeededRandomness(1),
        signing_keys=[new_key()],
        certificates=ClientCertificates([], clock),
        config=Config(),
    )
    await plane.bootstrap("192.0.2.1", 6443)
    bed, tasks = Bed(plane), TaskSet()
    with suppress(Exception):
        await bed.root.create(Namespace(metadata=ObjectMeta(name="default")))
    await bed.root.create(Node(metadata=ObjectMeta(name="one")))
    await bed.root.create(service())
    tasks.start(bed.node.run(), name="ingress")
    try:
        yield bed
    finally:
        await tasks.stop()
        while STARTED:
            STARTED.pop().kill()


def on_a_node(test: Callable[[Bed], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def main(_: ExitStack) -> None:
            for address in PODS:
                shell(f"ip addr add {address}/32 dev lo")
            async with running() as bed:
                await test(bed)

        in_new_namespace(main)

    run.__name__ = test.__name__
    return run


async def get(
    host: str, path: str = "/", *, port: int = 80, tls: ssl.SSLContext | None = None
) -> tuple[int, str]:
    """Return status and body of a request of its own connection."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname=host if tls else None
    )
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


async def until(asked: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    last = None
    try:
        async with asyncio.timeout(20):
            while (last := await asked()) != wanted:
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"it stays {last!r}, not {wanted!r}") from None


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


async def certified(host: str, port: int = 443) -> str:
    """Return the name in the certificate that is shown for a host."""

    def ask() -> str:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            shown = x509.load_der_x509_certificate(secured.getpeercert(True) or b"")
        return str(shown.subject.rfc4514_string()).removeprefix("CN=")

    return await asyncio.to_thread(ask)


def trusting_nothing() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@on_a_node
async def test_from_the_first_ingress_to_the_last(bed: Bed) -> None:
    backend = Backend("one")
    await backend.start(PODS[0])
    assert not listens(80)
    assert not bed.services
    await bed.expose(("a.x", "/app"), ("*.wild.x", "/"))
    await bed.endpoints(PODS[0])
    await bed.serving()
    await until(lambda: get("a.x", "/app/1"), (200, "one /app/1"))
    assert await get("b.wild.x", "/") == (200, "one /")
    assert (await get("a.x", "/other"))[0] == 404
    assert (await get("c.b.wild.x", "/"))[0] == 404
    status = Path(f"/proc/{bed.pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "CapEff:\t0000000000000000" in status
    await bed.endpoints(PODS[0], ready=False)
    await until(
        lambda: get("a.x", "/app"),
        (503, "503 Service Unavailable: no endpoint of the backend is ready\n"),
    )
    await bed.root.delete(Ingress, "web", "default")
    await until(lambda: asyncio.to_thread(listens, 80), False)


@on_a_node
async def test_tls_by_name_with_live_reload(bed: Bed) -> None:
    backend = Backend("one")
    await backend.start(PODS[0])
    await bed.endpoints(PODS[0])
    await bed.secret("own", "first.test")
    tls = [
        IngressTLS(hosts=["a.x"], secretName="own"),
        IngressTLS(hosts=["b.x"], secretName="bad"),
    ]
    await bed.secret("bad", "unused", data={"tls.crt": "bm9uc2Vuc2U=", "tls.key": "bm9uc2Vuc2U="})
    await bed.expose(("a.x", "/"), ("b.x", "/"), tls=tls)
    await bed.serving()
    await until(lambda: certified("a.x"), "first.test")
    assert await certified("b.x") == "default.test"
    assert await certified("unknown") == "default.test"
    assert await get("a.x", port=443, tls=trusting_nothing()) == (200, "one /")
    assert (await get("a.x"))[0] == 308
    await bed.secret("own", "second.test")
    await until(lambda: certified("a.x"), "second.test")
    await bed.secret("bad", "third.test")
    await until(lambda: certified("b.x"), "third.test")

    async def reasons() -> set[str]:
        return {one.reason for one in await bed.root.list(Event, "default")}

    await until(reasons, {"InvalidCertificate"})


class Load:
    """Clients that ask without a pause, over connections that they keep."""

    def __init__(self, clients: int) -> None:
        self.answers: list[int] = []
        self.failures: list[str] = []
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(clients)]
        self._is_over = False

    async def _ask(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        try:
            while not self._is_over:
                writer.write(b"GET /%d HTTP/1.1\r\nHost: a.x\r\n\r\n" % number)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                self.answers.append(int(head.split()[1]))
                if self.answers[-1] != 200:
                    self.failures.append(body.decode())
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.failures.append(repr(error))
        finally:
            writer.close()

    async def stop(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


@on_a_node
async def test_a_rolling_update_under_load_fails_no_request(bed: Bed) -> None:
    backends = [Backend(str(number)) for number in range(8)]
    for backend in backends:
        backend.delay_seconds = 0.002
    await backends[0].start(PODS[0])
    await bed.endpoints(PODS[0])
    await bed.expose(("a.x", "/"))
    await bed.serving()
    await until(lambda: get("a.x"), (200, "0 /"))
    load = Load(8)
    for number in range(1, len(backends)):
        old, new = backends[number - 1], backends[number]
        await new.start(PODS[number % 3])
        await bed.endpoints(PODS[(number - 1) % 3], PODS[number % 3])
        while not new.served:
            await asyncio.sleep(0.01)
        await bed.endpoints(PODS[number % 3])  # the old one is told at the same time
        await old.terminate()
        before = len(load.answers)
        while len(load.answers) < before + 50:
            await asyncio.sleep(0.01)
    await load.stop()
    assert not load.failures
    assert all(backend.served for backend in backends)


@on_a_node
async def test_a_backend_and_the_proxy_itself_may_die(bed: Bed) -> None:
    backends = [Backend(str(number)) for number in range(3)]
    for backend, address in zip(backends, PODS, strict=True):
        backend.delay_seconds = 0.002
        await backend.start(address)
    await bed.endpoints(*PODS)
    await bed.expose(("a.x", "/"))
    await bed.serving()
    await until(lambda: asyncio.sleep(0, (backends[0].served > 0)), False)
    load = Load(4)
    for backend in backends[:2]:
        before = len(load.answers)
        while len(load.answers) < before + 50:
            await asyncio.sleep(0.01)
        backend.kill()
    before = len(load.answers)
    while len(load.answers) < before + 50:
        await asyncio.sleep(0.01)
    await load.stop()
    assert not load.failures
    os.kill(bed.pid, signal.SIGKILL)
    assert await get("a.x") == (200, "2 /")  # it waits in the socket for the next process


@on_a_node
async def test_a_big_body_for_a_slow_client_is_not_held(bed: Bed) -> None:
    backend = Backend("one")
    await backend.start(PODS[0])
    await bed.endpoints(PODS[0])
    await bed.expose(("a.x", "/"), tls=[])
    await bed.serving()
    await until(lambda: get("a.x"), (200, "one /"))
    before = resident_bytes(bed.pid)
    clients = [await asyncio.open_connection("127.0.0.1", 80, limit=4096) for _ in range(20)]
    for _, writer in clients:
        writer.write(b"GET /big HTTP/1.1\r\nHost: a.x\r\nConnection: close\r\n\r\n")
    for reader, _ in clients:
        await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.5)
    assert resident_bytes(bed.pid) - before < 20 << 20
    assert await get("a.x") == (200, "one /")  # nobody waits for them
    reader, _ = clients[0]
    left = BIG
    while left:
        left -= len(await reader.read(1 << 20))
    for _, writer in clients:
        writer.transport.abort()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@on_a_node
async def test_a_port_in_use_is_told_and_taken_once_it_is_free(bed: Bed) -> None:
    backend = Backend("one")
    await backend.start(PODS[0])
    await bed.endpoints(PODS[0])
    other = socket.create_server(("0.0.0.0", 80))
    before, front.TAKEN_SECONDS = front.TAKEN_SECONDS, (0.1, 0.1, 0.1)
    try:
        await bed.expose(("a.x", "/"))
        await bed.serving()
        await until(lambda: get("a.x", port=443, tls=trusting_nothing()), (200, "one /"))
        events = await bed.root.list(Event, "default")
        assert [one.reason for one in events] == ["IngressPortTaken"]
        other.close()
        await until(lambda: asyncio.to_thread(listens, 80), True)
        await until(lambda: get("a.x"), (200, "one /"))
    finally:
        front.TAKEN_SECONDS = before
