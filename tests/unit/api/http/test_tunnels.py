"""Tunnels through the real HTTPS server: who may open one, and what of the API reaches a node through its own."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import (
    Wanted,
    certificate_pem,
    issue,
    key_pem,
    new_key,
)
from kubelite.api.auth.pki import ADMIN, KUBELET_CLIENT, KUBELET_SERVING, Pki
from kubelite.api.auth.static_tokens import StaticTokens
from kubelite.api.auth.tls import client_context
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.errors import BadRequest, ServiceUnavailable
from kubelite.api.http import metrics
from kubelite.api.http.app import APIServer
from kubelite.api.http.assembly import assemble
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.dialer import Backend, Connected, TCPDialer
from kubelite.api.http.tunnels import PATH, PROTOCOL, TunnelDialer, Tunnels
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.nodes import (
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeDaemonEndpoints,
    NodeStatus,
)
from kubelite.api.kinds.core.pods import Pod, PodIP, PodSpec, PodStatus
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.clock import SetClock, SystemClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.limits import STREAM_BUFFER, TUNNEL_WINDOW
from kubelite.node.tunnel import Targets, Tunnel
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine
from kubelite.tasks import TaskSet

EVERYTHING = "rules: [{level: Metadata}]"
NODE_ADDRESS = "192.0.2.7"  # leads nowhere: what reaches the node went through its tunnel
PODS = "/api/v1/namespaces/default/pods/web"
OPENING = ("Connection: Upgrade", f"Upgrade: {PROTOCOL}")


class Lines(LineLog):
    def __init__(self) -> None:
        super().__init__(Path(), Bounds(), SystemClock())
        self.lines: list[bytes] = []

    def put(self, line: bytes) -> None:
        self.lines.append(line)


class QuickRandomness(SeededRandomness):
    """Has no pauses."""

    def uniform(self, low: float, high: float) -> float:
        return 0.0


class Kubelet:
    """The HTTPS endpoint of a simulated node: logs, exec and port-forward as bytes."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.written = 0  # bytes of endless logs
        self.ended = asyncio.Event()  # an endless log was cut off

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            target = head.split(b" ")[1]
            if target.startswith(b"/containerLogs/") and b"follow=true" in target:
                await self._follow(writer)
            elif target.startswith((b"/exec/", b"/portForward/")):
                upgrade = next(line for line in head.split(b"\r\n") if line[:8] == b"Upgrade:")
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n%b\r\n\r\n"
                    % upgrade
                )
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            await writer.drain()
        writer.close()

    async def _follow(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                self.written += 4096
                await writer.drain()
        finally:
            self.ended.set()


class Cluster:
    """An API server and a node that only its tunnel reaches."""

    def __init__(self, pki: Pki, folder: Path) -> None:
        self.pki = pki
        self.folder = folder
        self.tunnels = Tunnels()
        self.kubelet = Kubelet()
        self.lines = Lines()
        self.server: APIServer
        self.port = 0
        self.kubelet_port = 0
        self.pod_port = 0
        self.tasks = TaskSet()

    def identity(self, name: str, *groups: str) -> ssl.SSLContext:
        """Return the context of a client with a certificate of the cluster."""
        path = self.folder / f"{name.replace(':', '-')}.pem"
        key = new_key()
        certificate = issue(
            self.pki.authority,
            key.public_key(),
            Wanted(name, groups),
            datetime.now(UTC),
            SeededRandomness(hash(name) % 1000),
        )
        path.write_bytes(key_pem(key) + certificate_pem(certificate))
        return client_context(self.pki.ca_pem, path)

    def node(self, name: str = "one") -> ssl.SSLContext:
        return self.identity(f"system:node:{name}", "system:nodes")

    def tunnel(self, context: ssl.SSLContext | None = None) -> Tunnel:
        targets = Targets(self.kubelet_port, lambda: ["10.42.1.2"], lambda: [NODE_ADDRESS])
        return Tunnel(
            [f"https://127.0.0.1:{self.port}"],
            targets,
            ssl_context=context or self.node(),
            randomness=QuickRandomness(1),
        )

    async def open_tunnel(self) -> Tunnel:
        tunnel = self.tunnel()
        self.tasks.start(tunnel.run(), name="tunnel")
        await until(lambda: tunnel.is_connected and self.tunnels.has("one"))
        return tunnel

    async def ask(
        self, path: str, *fields: str, context: ssl.SSLContext | None = None
    ) -> Connected:
        """Send a request, as the administrator by default; `path` may begin with a method."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            self.port,
            ssl=context or self.pki.client_context(ADMIN),
            limit=16 * 1024,
        )
        line = path if " " in path else f"GET {path}"
        head = [f"{line} HTTP/1.1", "Host: x", *fields, "", ""]
        writer.write("\r\n".join(head).encode())
        return reader, writer

    async def status(
        self, path: str, *fields: str, context: ssl.SSLContext | None = None
    ) -> tuple[int, str]:
        """Return the status and the text of an answer."""
        reader, writer = await self.ask(path, "Connection: close", *fields, context=context)
        async with asyncio.timeout(20):
            answer = (await reader.read()).decode()
        writer.transport.abort()
        return int(answer.split()[1]), answer.partition("\r\n\r\n")[2]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.ensure(
        tmp_path_factory.mktemp("pki"),
        clock=SetClock(datetime.now(UTC)),
        randomness=SeededRandomness(1),
        names=("localhost",),
        addresses=("127.0.0.1",),
        node_name="one",
    )


@pytest.fixture
async def cluster(pki: Pki, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running(Cluster(pki, tmp_path)) as made:
        yield made


@asynccontextmanager
async def running(made: Cluster) -> AsyncIterator[Cluster]:
    clock, randomness = SystemClock(), SeededRandomness(1)
    plane = ControlPlane(
        EmbeddedStore(MemoryEngine(), clock=clock),
        clock=clock,
        randomness=randomness,
        signing_keys=[new_key()],
        certificates=ClientCertificates(made.pki.trusted, clock),
        config=Config(),
        static_tokens=StaticTokens(
            'root,admin,1,system:masters\none,system:node:one,2,"system:nodes"\n'
        ),
    )
    await plane.bootstrap("192.0.2.1", 6443)
    async with AsyncExitStack() as stack:
        served: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.add(asyncio.ensure_future(made.kubelet.serve(reader, writer)))

        async def end_served() -> None:
            for task in served:
                task.cancel()
            await asyncio.gather(*served, return_exceptions=True)

        stack.push_async_callback(end_served)
        endpoint = await asyncio.start_server(
            accept, "127.0.0.1", 0, ssl=made.pki.server_context(KUBELET_SERVING)
        )
        stack.callback(endpoint.close)
        made.kubelet_port = endpoint.sockets[0].getsockname()[1]
        root = plane.client(Caller("root", ("system:masters",)), "test")
        node = await root.create(Node(metadata=ObjectMeta(name="one")))
        status = NodeStatus(
            addresses=[NodeAddress(type="InternalIP", address=NODE_ADDRESS)],
            daemonEndpoints=NodeDaemonEndpoints(kubeletEndpoint=DaemonEndpoint(Port=10250)),
        )
        await root.update(msgspec.structs.replace(node, status=status), "status")
        account = ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
        await root.create(account)
        pod = await root.create(
            Pod(
                metadata=ObjectMeta(name="web", namespace="default"),
                spec=PodSpec(nodeName="one", containers=[Container(name="main", image="a")]),
            )
        )
        addressed = PodStatus(podIP="10.42.1.2", podIPs=[PodIP(ip="10.42.1.2")])
        await root.update(msgspec.structs.replace(pod, status=addressed), "status")
        parts = assemble(
            plane.verbs,
            plane.authenticator,
            plane.authorizer,
            clock=clock,
            randomness=randomness,
            node_tls=made.pki.client_context(KUBELET_CLIENT),
            address=lambda: "127.0.0.1:6443",
            destinations=Destinations(),
            tunnels=made.tunnels,
            auditor=Auditor(AuditPolicy.read(EVERYTHING), made.lines, clock, randomness),
        )
        made.server = APIServer(parts, ssl_context=made.pki.server_context())
        made.port = await made.server.start("127.0.0.1", 0)
        stack.push_async_callback(made.server.stop, 0.1)
        stack.push_async_callback(made.tasks.stop)
        yield made


# Who may open one


async def test_a_node_opens_its_own_tunnel_and_it_is_observed(cluster: Cluster) -> None:
    gauge = metrics.running("GET", "", "", "", "/v1-kubelite", "")
    before = gauge.value
    tunnel = await cluster.open_tunnel()
    assert gauge.value == before + 1
    await cluster.tasks.stop()
    assert not tunnel.is_connected
    await until(lambda: not cluster.tunnels.has("one") and gauge.value == before)
    await until(lambda: len(events(cluster)) == 3)
    stages = [(event["stage"], event["user"]["username"]) for event in events(cluster)]
    assert [stage for stage, _ in stages] == [
        "RequestReceived",
        "ResponseStarted",
        "ResponseComplete",
    ]
    assert {user for _, user in stages} == {"system:node:one"}
    assert events(cluster)[-1]["responseStatus"]["code"] == 101


def events(cluster: Cluster) -> list[dict[str, Any]]:
    decoded = [msgspec.json.decode(line) for line in cluster.lines.lines]
    return [event for event in decoded if event["requestURI"] == PATH]


@pytest.mark.parametrize(
    ("who", "groups", "fields"),
    [
        ("kubernetes-admin", ("system:masters",), ()),
        ("system:node:one", (), ()),  # without the group
        ("system:node:", ("system:nodes",), ()),
        ("one", ("system:nodes",), ()),
        ("", (), ("Authorization: Bearer one",)),  # the node's name by a token
        ("", (), ()),
        (
            "kubernetes-admin",
            ("system:masters",),
            ("Impersonate-User: system:node:one", "Impersonate-Group: system:nodes"),
        ),
        (
            "system:node:two",
            ("system:nodes", "system:masters"),
            ("Impersonate-User: system:node:one", "Impersonate-Group: system:nodes"),
        ),
        (
            "kubernetes-admin",
            ("system:masters",),
            ("X-Remote-User: system:node:one", "X-Remote-Group: system:nodes"),
        ),
    ],
)
async def test_nobody_else_opens_the_tunnel_of_a_node(
    cluster: Cluster, who: str, groups: Sequence[str], fields: Sequence[str]
) -> None:
    await cluster.open_tunnel()
    nobody = ssl.create_default_context(cadata=cluster.pki.ca_pem.decode())
    context = cluster.identity(who, *groups) if who else nobody
    reader, writer = await cluster.ask(PATH, *OPENING, *fields, context=context)
    assert (await reader.readuntil(b"\r\n\r\n")).split()[1] in (b"401", b"403")
    writer.transport.abort()
    assert (await cluster.status(f"{PODS}/log"))[1] == "hello"  # the node's own is still there


async def test_a_token_beside_the_certificate_changes_nothing(cluster: Cluster) -> None:
    reader, writer = await cluster.ask(
        PATH, *OPENING, "Authorization: Bearer one", context=cluster.node("two")
    )
    assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"101"
    assert cluster.tunnels.has("two")
    assert not cluster.tunnels.has("one")
    writer.transport.abort()


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        (PATH, (), 400),
        (PATH, ("Connection: Upgrade", "Upgrade: websocket"), 400),
        (PATH, ("Connection: Upgrade", "Upgrade: kubelite-tunnel/2"), 400),
        (f"POST {PATH}", ("Connection: Upgrade", f"Upgrade: {PROTOCOL}", "Content-Length: 0"), 403),
        (PATH + "/", OPENING, 403),
        (PATH + "/one", OPENING, 403),
    ],
)
async def test_requests_that_open_no_tunnel(
    cluster: Cluster, line: str, fields: Sequence[str], status: int
) -> None:
    reader, writer = await cluster.ask(line, *fields, context=cluster.node())
    assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"%d" % status
    assert not cluster.tunnels.has("one")
    writer.transport.abort()


# What goes through


async def test_logs_exec_and_port_forward_go_through(cluster: Cluster) -> None:
    await cluster.open_tunnel()
    assert await cluster.status(f"{PODS}/log") == (200, "hello")
    assert await cluster.status("/api/v1/nodes/one/proxy/healthz") == (200, "hello")
    websocket = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
        "Sec-WebSocket-Protocol: v5.channel.k8s.io",
    )
    spdy = ("Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 0")
    for path, fields in (
        (f"{PODS}/exec?command=cat&stdin=true", websocket),
        (f"POST {PODS}/exec?command=cat&stdin=true", spdy),
        (f"POST {PODS}/portforward", spdy),
    ):
        reader, writer = await cluster.ask(path, *fields)
        assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"101"
        sent = bytes(range(256)) * 4000
        writer.write(sent)
        async with asyncio.timeout(20):
            assert await reader.readexactly(len(sent)) == sent
        writer.transport.abort()
    await until(lambda: cluster.tunnels._by_node["one"].stream_count == 0)


async def test_a_slow_reader_of_logs_is_waited_for_and_stalls_nobody(cluster: Cluster) -> None:
    await cluster.open_tunnel()
    kubelet = cluster.kubelet
    reader, writer = await cluster.ask(f"{PODS}/log?follow=true")
    assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == b"200"
    before = -1
    while kubelet.written != before:  # until all buffers on the way are full
        before = kubelet.written
        for _ in range(20):
            assert await cluster.status(f"{PODS}/log") == (200, "hello")
    # Windows, relay and TLS hold little; most of it lies in the sockets of the kernel.
    assert kubelet.written < 24 * 1024 * 1024 + TUNNEL_WINDOW.value + 4 * STREAM_BUFFER.value
    async with asyncio.timeout(20):
        for _ in range(64):
            await reader.readexactly(65536)
    await until(lambda: kubelet.written > before)
    writer.transport.abort()
    async with asyncio.timeout(20):
        await kubelet.ended.wait()


async def test_without_a_tunnel_the_node_is_dialed_as_before(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialed: list[str] = []

    async def connect(host: str = "", port: int = 0, **_: object) -> Connected:
        dialed.append(f"{host}:{port}")
        raise ConnectionRefusedError(111, "Connection refused")

    reader, writer = await cluster.ask(f"{PODS}/log", "Connection: close")
    monkeypatch.setattr(asyncio, "open_connection", connect)
    assert b" 503 " in await reader.readline()
    assert dialed == [f"{NODE_ADDRESS}:10250"]
    writer.transport.abort()


async def test_what_the_node_refuses_is_said(cluster: Cluster) -> None:
    await cluster.open_tunnel()
    with pytest.raises(
        ServiceUnavailable, match=r"10\.42\.9\.9:80 through the tunnel of node one: the address"
    ):
        await cluster.tunnels.connect("one", "10.42.9.9", 80)
    with pytest.raises(ServiceUnavailable, match="node two has no tunnel"):
        await cluster.tunnels.connect("two", "10.42.1.2", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "::1", "192.0.2.50"])
async def test_forbidden_addresses_stay_forbidden_through_a_tunnel(
    cluster: Cluster, host: str
) -> None:
    """A node reports the addresses of its pods, so a tunnel must not make one of them the server's own."""
    await cluster.open_tunnel()
    guard = Destinations(own=lambda: ["192.0.2.50"], port=6443)
    dialer = TunnelDialer(cluster.tunnels, guard, TCPDialer(guard))
    with pytest.raises(BadRequest, match="address not allowed"):
        await dialer.dial(Backend(host, 6443, node="one"))
    assert cluster.tunnels._by_node["one"].stream_count == 0


async def test_the_node_at_the_other_end_must_be_the_one_that_was_meant(cluster: Cluster) -> None:
    """The certificate is checked inside the tunnel, whatever the tunnel's own connection proved."""
    tunnel = cluster.tunnel(cluster.node("two"))
    cluster.tasks.start(tunnel.run(), name="tunnel")
    await until(lambda: cluster.tunnels.has("two"))
    dialer = TunnelDialer(cluster.tunnels, Destinations(), TCPDialer(Destinations()))
    backend = Backend(
        NODE_ADDRESS, 10250, cluster.pki.client_context(KUBELET_CLIENT), "two", proves_node=True
    )
    with pytest.raises(ServiceUnavailable, match=r"Hostname mismatch|not system:node:two"):
        await dialer.dial(backend)
    assert cluster.kubelet.heads == []


# Ends


async def test_a_new_tunnel_replaces_the_old_one_and_its_streams_end(cluster: Cluster) -> None:
    first = await cluster.open_tunnel()
    mux = cluster.tunnels._by_node["one"]
    reader, writer = await cluster.ask(f"{PODS}/log?follow=true")
    await reader.readuntil(b"\r\n\r\n")
    await cluster.status(f"{PODS}/log")
    second = cluster.tunnel()
    cluster.tasks.start(second.run(), name="second tunnel")
    with suppress(ConnectionError):
        async with asyncio.timeout(20):
            while await reader.read(65536):
                pass
    assert mux.reason == "the node has opened another tunnel"
    assert first is not second
    writer.transport.abort()


async def test_a_node_comes_back_when_its_connection_breaks(cluster: Cluster) -> None:
    tunnel = await cluster.open_tunnel()
    for _ in range(3):
        mux = cluster.tunnels._by_node["one"]
        assert mux._transport is not None
        mux._transport.abort()
        await until(lambda mux=mux: cluster.tunnels._by_node.get("one") not in (None, mux))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        await until(lambda: tunnel.is_connected)
        assert await cluster.status(f"{PODS}/log") == (200, "hello")


async def test_a_renewed_certificate_is_used_for_the_next_connection(cluster: Cluster) -> None:
    tunnel = cluster.tunnel(ssl.create_default_context(cadata=cluster.pki.ca_pem.decode()))
    cluster.tasks.start(tunnel.run(), name="tunnel")
    await until(lambda: "403" in tunnel._trouble or "401" in tunnel._trouble)
    assert not tunnel.is_connected
    tunnel.ssl_context = cluster.node()
    await until(lambda: tunnel.is_connected)


async def test_tunnels_end_at_a_graceful_shutdown(cluster: Cluster) -> None:
    await cluster.open_tunnel()
    mux = cluster.tunnels._by_node["one"]
    async with asyncio.timeout(5):
        await cluster.server.stop(60)
    assert mux.reason
    assert not cluster.tunnels.has("one")
