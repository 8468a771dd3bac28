"""Proxying: logs, upgrades and pages, against a backend on a loopback port."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import msgspec
import pytest
from fakes.serving import AllowEverything, parts_of, serving

from kubelite.api.auth.caller import Allowed, Attributes, Caller
from kubelite.api.errors import BadRequest, Forbidden, Invalid, NotFound, ServiceUnavailable
from kubelite.api.http.backends import Backends, split_identifier
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.dialer import Backend, TCPDialer
from kubelite.api.http.dispatch import Stream
from kubelite.api.http.html_links import rewrite_links
from kubelite.api.http.pod_streams import (
    PodLog,
    PodStream,
    chosen_container,
    log_parameters,
    stream_parameters,
)
from kubelite.api.http.proxies import Proxy
from kubelite.api.http.relay import Relay
from kubelite.api.http.request import parse_query
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.options import ReadOptions
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.verbs import Listed, Verbs
from kubelite.offload import AtOnce
from kubelite.randomness import SeededRandomness

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PODS = "/api/v1/namespaces/default/pods"


class Cluster(Verbs):
    """A node, a pod and a service, whose addresses are a backend of the test."""

    def __init__(self, port: int) -> None:
        self.resources = builtin_table()
        self.offload = AtOnce()
        self.objects: dict[tuple[str, str], dict[str, Any]] = {
            ("nodes", "n1"): {
                "metadata": {"name": "n1"},
                "status": {
                    "addresses": [
                        {"type": "Hostname", "address": "nowhere"},
                        {"type": "InternalIP", "address": "127.0.0.1"},
                    ],
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
                },
            },
            ("pods", "web"): {
                "metadata": {"name": "web"},
                "spec": {
                    "nodeName": "n1",
                    "containers": [{"name": "main", "ports": [{"containerPort": port}]}],
                },
                "status": {"podIPs": [{"ip": "127.0.0.1"}]},
            },
            ("pods", "new"): {
                "metadata": {"name": "new"},
                "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
            },
            ("services", "web"): {
                "metadata": {"name": "web"},
                "spec": {"ports": [{"name": "http", "port": 80}]},
            },
        }
        self.slices: list[dict[str, Any]] = [
            {
                "ports": [{"name": "http", "port": port}],
                "endpoints": [
                    {
                        "addresses": ["127.0.0.1"],
                        "conditions": {"ready": True},
                        "targetRef": {"kind": "Pod", "namespace": "default", "name": "web"},
                    }
                ],
            }
        ]

        self.opened: list[dict[str, Any]] = []  # the options of connections
        self.change: dict[str, Any] = {}  # what admission makes of them

    async def connect(
        self, allowed: Allowed, resource: Resource, options: dict[str, Any], form: Shape
    ) -> None:
        if allowed.attributes.name == "guarded":
            raise Forbidden("admission says no")
        form.complete(dict(options))
        self.opened.append(dict(options))
        options |= self.change

    async def get(self, allowed: Allowed, options: ReadOptions) -> bytes:
        attributes = allowed.attributes
        found = self.objects.get((attributes.resource, attributes.name))
        if found is None:
            raise NotFound(f'{attributes.resource} "{attributes.name}" not found')
        return msgspec.json.encode(found)

    async def list(self, allowed: Allowed, options: ReadOptions) -> Listed:
        assert options.label_selector == "kubernetes.io/service-name=web"
        return Listed(
            items=[msgspec.json.encode(item) for item in self.slices], resource_version="1"
        )


class NoCreate(AllowEverything):
    """Allows reading only."""

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        if attributes.verb == "create":
            raise Forbidden("cannot create")
        return super().authorize(caller, attributes)


class LoopbackToo(Destinations):
    """Lets the backends of these tests in, which are on this host."""

    def check(self, addresses: Sequence[str], port: int, node: str = "") -> None:
        super().check([one for one in addresses if one != "127.0.0.1"] or ["192.0.2.1"], port, node)


@asynccontextmanager
async def proxied(
    serve: Serve,
    authorizer: AllowEverything | None = None,
    destinations: Destinations | None = None,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Cluster]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        writer.close()

    backend = await asyncio.start_server(answer, "127.0.0.1", 0)
    cluster = Cluster(backend.sockets[0].getsockname()[1])
    doors = authorizer or AllowEverything()
    found = Backends(cluster, doors, SeededRandomness(1), node_tls=None)
    relay = Relay(TCPDialer(destinations or LoopbackToo()))
    proxy = Proxy(found, relay, doors)
    streams: dict[tuple[str, str], Stream] = {
        ("pods", "log"): PodLog(found, relay),
        ("pods", "exec"): PodStream(found, relay, doors, "exec"),
        ("pods", "portforward"): PodStream(found, relay, doors, "portForward"),
        ("pods", "proxy"): proxy,
        ("nodes", "proxy"): proxy,
        ("services", "proxy"): proxy,
    }
    parts = parts_of(cluster, authorizer=doors, streams=streams)
    async with backend, serving(parts) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer, cluster
        finally:
            writer.close()


def asking(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: outside", *headers, "", ""]).encode()


def echo(*head: str, body: bytes = b"") -> tuple[Serve, list[bytes]]:
    """Return a backend that answers with `head` and `body`, and the request heads it saw."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()

    return serve, seen


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (
            "pods/web/exec?command=ls&command=-l&stdin=true&tty=false&container=main",
            {"kind": "PodExecOptions", "command": ["ls", "-l"], "stdin": True, "container": "main"},
        ),
        ("pods/web/portforward?ports=80", {"kind": "PodPortForwardOptions", "ports": [80]}),
        ("pods/web/proxy/a%20b/?c=d", {"kind": "PodProxyOptions", "path": "/a b/"}),
        ("services/web/proxy/", {"kind": "ServiceProxyOptions", "path": "/"}),
    ],
)
async def test_admission_judges_a_connection(path: str, options: dict[str, Any]) -> None:
    serve, _ = echo("HTTP/1.1 200 OK", "Content-Length: 0")
    async with proxied(serve) as (reader, writer, cluster):
        writer.write(asking(f"/api/v1/namespaces/default/{path}"))
        await reader.readuntil(b"\r\n\r\n")
        assert cluster.opened == [{"apiVersion": "v1", **options}]


async def test_a_connection_that_admission_refuses_reaches_no_backend() -> None:
    serve, seen = echo("HTTP/1.1 200 OK", "Content-Length: 0")
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/guarded/exec?command=ls", method="POST"))
        assert b" 403 " in await reader.readuntil(b"\r\n\r\n")
        assert seen == []


async def test_admission_may_change_what_is_run() -> None:
    serve, seen = echo("HTTP/1.1 200 OK", "Content-Length: 0")
    async with proxied(serve) as (reader, writer, cluster):
        cluster.change = {"command": ["id"]}
        path = f"{PODS}/web/exec?command=ls&stdout=true&x=1"
        writer.write(asking(path, "Connection: Upgrade", "Upgrade: SPDY/3.1", method="POST"))
        await reader.readuntil(b"\r\n\r\n")
        assert seen[0].startswith(b"POST /exec/default/web/main?output=1&command=id ")


@pytest.mark.parametrize("query", ["ports=x", "dryRun=All"])
async def test_a_connection_with_bad_options(query: str) -> None:
    serve, seen = echo("HTTP/1.1 200 OK", "Content-Length: 0")
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/web/portforward?{query}", method="POST"))
        assert b" 400 " in await reader.readuntil(b"\r\n\r\n")
        assert seen == []


async def test_logs_flow_as_they_are_written() -> None:
    more = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"GET /containerLogs/default/web/main?follow=true&tailLines=5 HTTP")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
        await more.wait()
        writer.write(b"4\r\ntwo\n\r\n0\r\n\r\n")

    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/web/log?follow=true&tailLines=5"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Type: text/plain\r\n" in head
        assert await reader.readuntil(b"one\n\r\n") == b"4\r\none\n\r\n"
        more.set()
        assert await reader.read() == b"4\r\ntwo\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("protocols", "kind", "expected"),
    [
        (("binary.k8s.io",), aiohttp.WSMsgType.BINARY, b"one\n"),
        ((), aiohttp.WSMsgType.BINARY, b"one\n"),
        (("base64.binary.k8s.io",), aiohttp.WSMsgType.TEXT, "b25lCg=="),
    ],
)
async def test_logs_over_websocket(
    protocols: tuple[str, ...], kind: aiohttp.WSMsgType, expected: bytes | str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"pgrade" not in head
        assert b"WebSocket" not in head
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n0\r\n\r\n"
        )

    async with (
        proxied(serve) as (_, writer, _),
        aiohttp.ClientSession() as session,
    ):
        host, port = writer.get_extra_info("peername")
        url = f"http://{host}:{port}{PODS}/web/log?follow=true"
        async with session.ws_connect(url, protocols=protocols) as log:
            assert log.protocol == (protocols[0] if protocols else None)
            message = await log.receive()
            assert (message.type, message.data) == (kind, expected)
            assert (await log.receive()).type == aiohttp.WSMsgType.CLOSE


async def test_a_client_that_leaves_ends_the_log_at_the_node() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            await reader.read()
        ended.set()

    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/web/log?follow=true"))
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await ended.wait()


async def test_a_refused_log_is_a_status() -> None:
    serve, _ = echo("HTTP/1.1 400 Bad Request", body=b'container "main" is waiting to start')
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/web/log"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"is waiting to start" in await reader.readuntil(b'"code":400}')


async def test_an_upgrade_becomes_a_pipe() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(
            b"POST /exec/default/web/main?input=1&output=1&command=a&command=b+c "
        )
        assert b"Upgrade: SPDY/3.1\r\n" in head
        assert b"Secret" not in head
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\nhello ")
        data = await reader.readexactly(1_000_000)
        writer.write(data[::-1])
        await writer.drain()

    path = f"{PODS}/web/exec?stdin=true&stdout=true&command=a&command=b%20c"
    async with proxied(serve) as (reader, writer, _):
        writer.write(
            asking(
                path,
                "Connection: Upgrade",
                "Upgrade: SPDY/3.1",
                "Authorization: Bearer Secret",
                method="POST",
            )
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(6) == b"hello "
        writer.write(b"x" * 999_999 + b"y")
        assert await reader.read(1) == b"y"
        assert len(await reader.read(-1)) == 999_999


async def test_a_token_among_the_protocols_stays_with_the_server() -> None:
    serve, seen = echo("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket")
    protocols = (
        "Sec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0",
        "Sec-WebSocket-Protocol: v4.channel.k8s.io",
    )
    path = f"{PODS}/web/exec?command=a"
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(path, "Connection: Upgrade", "Upgrade: websocket", *protocols))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert b"c2VjcmV0" not in seen[0]
    assert b"\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n" in seen[0]


async def test_exec_by_get_needs_the_right_to_create() -> None:
    serve, seen = echo("HTTP/1.1 101 Switching Protocols")
    async with proxied(serve, NoCreate()) as (reader, writer, _):
        writer.write(
            asking(f"{PODS}/web/exec?command=a", "Connection: Upgrade", "Upgrade: websocket")
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
    assert not seen


@pytest.mark.parametrize(
    ("path", "upgrade", "status"),
    [
        ("/api/v1/nodes/n1/proxy/exec/default/web/main?command=id", "websocket", b"403"),
        ("/api/v1/nodes/n1/proxy/attach/default/web/main", "SPDY/3.1", b"403"),
        ("/api/v1/nodes/n1/proxy", "websocket", b"403"),
        # Without an upgrade the node runs nothing, and what pods upgrade to is theirs.
        ("/api/v1/nodes/n1/proxy/exec/default/web/main?command=id", "", b"200"),
        (f"{PODS}/web/proxy/chat", "websocket", b"101"),
        ("/api/v1/namespaces/default/services/web:http/proxy/chat", "websocket", b"101"),
    ],
)
async def test_commands_through_the_proxy_of_a_node_need_the_right_to_create(
    path: str, upgrade: str, status: bytes
) -> None:
    head = "HTTP/1.1 101 Switching Protocols" if upgrade else "HTTP/1.1 200 OK"
    serve, seen = echo(head)
    headers = ("Connection: Upgrade", f"Upgrade: {upgrade}") if upgrade else ()
    async with proxied(serve, NoCreate()) as (reader, writer, _):
        writer.write(asking(path, *headers))
        assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == status
    assert bool(seen) == (status != b"403")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("web/exec?command=a", (), b"400"),
        ("new/exec?container=a", ("Connection: Upgrade", "Upgrade: SPDY/3.1"), b"400"),
        ("new/log?container=a", (), b"204"),
        ("new/log", (), b"400"),
        ("none/log", (), b"404"),
        ("web/log?tailLines=-1", (), b"422"),
    ],
)
async def test_refusals_before_the_node_is_asked(
    path: str, headers: tuple[str, ...], status: bytes
) -> None:
    serve, seen = echo("HTTP/1.1 200 OK")
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/{path}", *headers))
        assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == status
    assert not seen


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (f"{PODS}/web/proxy/a//b%2f?x=1", b"GET /a//b%2f?x=1 HTTP"),
        ("/api/v1/nodes/n1/proxy/stats/", b"GET /stats/ HTTP"),
        ("/api/v1/namespaces/default/services/web:http/proxy/", b"GET / HTTP"),
        ("/api/v1/namespaces/default/services/http:web:80/proxy/z", b"GET /z HTTP"),
    ],
)
async def test_paths_reach_the_backend_as_they_are(path: str, target: bytes) -> None:
    serve, seen = echo("HTTP/1.1 200 OK", "Content-Length: 2", body=b"ok")
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(path, "X-Forwarded-For: 1.2.3.4", "Cookie: a=b"))
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\nok")
    assert seen[0].startswith(target)
    assert b"X-Forwarded-For: 1.2.3.4, 127.0.0.1\r\n" in seen[0]
    assert b"Cookie: a=b" in seen[0]


async def test_bodies_are_passed_on() -> None:
    received = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.set_result(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/web/proxy/", "Transfer-Encoding: chunked", method="POST"))
        writer.write(b"3\r\nabc\r\n0\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 204")
    assert await received == b"3\r\nabc\r\n0\r\n\r\n"


async def test_pages_and_redirects_lead_through_the_proxy() -> None:
    page = (
        b'<A href="/x?a=1&amp;b">x</A><a href="y">y</a><p href="/z">/x</p>'
        b'<a href="http://outside/q">q</a><a href="http://else/q">q</a>'
    )
    serve, _ = echo(
        "HTTP/1.1 302 Found",
        "Content-Type: text/html; charset=utf-8",
        "Location: /login",
        f"Content-Length: {len(page)}",
        body=page,
    )
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/web/proxy/start", "Connection: close"))
        answer = (await reader.read()).decode()
    prefix = f"{PODS}/web/proxy"
    assert f"Location: {prefix}/login\r\n" in answer
    assert f'<A href="{prefix}/x?a=1&amp;b">x</A><a href="y">y</a><p href="/z">' in answer
    assert f'<a href="http://outside{prefix}/q">q</a><a href="http://else/q">' in answer


@pytest.mark.parametrize("coding", ["", "Content-Encoding: br"])
async def test_redirects_of_pages_that_are_not_rewritten_lead_through_the_proxy(
    coding: str,
) -> None:
    headers = ["Content-Type: text/html", "Location: /login", "Content-Length: 0"]
    serve, _ = echo("HTTP/1.1 302 Found", *headers, *([coding] if coding else []))
    async with proxied(serve) as (reader, writer, _):
        method = "GET" if coding else "HEAD"
        writer.write(asking(f"{PODS}/web/proxy/start", "Connection: close", method=method))
        answer = (await reader.read()).decode()
    assert f"Location: {PODS}/web/proxy/login\r\n" in answer


async def test_a_proxy_path_without_a_slash_is_redirected() -> None:
    serve, seen = echo("HTTP/1.1 200 OK")
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/web/proxy?a=b"))
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 301 ")
    assert f"Location: {PODS}/web/proxy/?a=b\r\n".encode() in head
    assert not seen


async def test_a_backend_that_is_not_there() -> None:
    serve, _ = echo("HTTP/1.1 200 OK")
    async with proxied(serve) as (reader, writer, cluster):
        cluster.slices[0]["endpoints"][0]["conditions"]["ready"] = False
        writer.write(asking("/api/v1/namespaces/default/services/web:http/proxy/"))
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 503 ")


async def test_a_backend_that_speaks_no_http() -> None:
    serve, _ = echo("nonsense")
    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(f"{PODS}/web/proxy/"))
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 503 ")


def test_container_choice() -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]},
    }
    assert chosen_container(pod, "i") == "i"
    with pytest.raises(BadRequest, match=r"for pod p, choose one of: \[i a b\]$"):
        chosen_container(pod, "")
    with pytest.raises(BadRequest, match="container x is not valid for pod p"):
        chosen_container(pod, "x")


def test_log_parameters() -> None:
    query = parse_query("follow=true&previous=false&sinceSeconds=9&container=x")
    assert log_parameters(query, "p") == [("follow", "true"), ("sinceSeconds", "9")]
    with pytest.raises(Invalid) as refused:
        log_parameters(parse_query("sinceSeconds=1&sinceTime=x&limitBytes=0"), "p")
    assert len(refused.value.causes) == 2


def test_stream_parameters() -> None:
    query = parse_query("stdin=true&tty=1&stdout=false&command=sh&command=-c")
    assert stream_parameters(query, with_command=True) == [
        ("input", "1"),
        ("tty", "1"),
        ("command", "sh"),
        ("command", "-c"),
    ]


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("web", ("", "web", "")),
        ("web:80", ("", "web", "80")),
        ("https:web:", ("https", "web", "")),
        ("http:web:http", ("http", "web", "http")),
    ],
)
def test_identifiers(identifier: str, expected: tuple[str, str, str]) -> None:
    assert split_identifier(identifier, "service") == expected


@pytest.mark.parametrize("identifier", ["", ":80", "ftp:web:80", "a:b:c:d"])
def test_wrong_identifiers(identifier: str) -> None:
    with pytest.raises(BadRequest, match="invalid service request"):
        split_identifier(identifier, "service")


async def test_an_unknown_service_port() -> None:
    cluster = Cluster(1)
    found = Backends(cluster, AllowEverything(), SeededRandomness(1), node_tls=None)
    with pytest.raises(ServiceUnavailable, match='no service port 81 found for service "web"'):
        await found.proxied_service("default", "web:81")


@pytest.mark.parametrize(
    "changed",
    [
        {"targetRef": None},
        {"targetRef": {"kind": "Pod", "namespace": "other", "name": "web"}},
        {"targetRef": {"kind": "Pod", "namespace": "default", "name": "gone"}},
        {"addresses": ["192.0.2.7"]},
    ],
)
async def test_endpoints_that_are_no_pods_of_the_namespace(changed: dict[str, Any]) -> None:
    cluster = Cluster(1)
    found = Backends(cluster, AllowEverything(), SeededRandomness(1), node_tls=None)
    assert (await found.proxied_service("default", "web:80")).host == "127.0.0.1"
    cluster.slices[0]["endpoints"][0] |= changed
    with pytest.raises(ServiceUnavailable, match='no endpoints available for service "web:80"'):
        await found.proxied_service("default", "web:80")


async def test_a_nodes_other_ports_are_not_shown_the_servers_certificate() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found = Backends(Cluster(10250), AllowEverything(), SeededRandomness(1), node_tls=context)
    own = Backend("127.0.0.1", 10250, context, "n1", proves_node=True)
    assert await found.node("n1") == own
    assert await found.proxied_node("n1") == await found.proxied_node("n1:10250") == own
    other = Backend("127.0.0.1", 2379, None, "n1", proves_node=False)
    assert await found.proxied_node("n1:2379") == other


@pytest.mark.parametrize(
    "path",
    [
        f"{PODS}/web/log",
        f"{PODS}/web/proxy/x",
        "/api/v1/nodes/n1/proxy/pods",
        "/api/v1/nodes/n1:2379/proxy/x",
        "/api/v1/namespaces/default/services/web:http/proxy/x",
    ],
)
async def test_nothing_on_the_servers_own_host_is_reached(path: str) -> None:
    serve, seen = echo("HTTP/1.1 200 OK")
    async with proxied(serve, destinations=Destinations()) as (reader, writer, _):
        writer.write(asking(path))
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readuntil(b'"code":400')
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"address not allowed" in body
    assert not seen


async def test_a_client_cannot_hide_how_long_its_body_is() -> None:
    serve, seen = echo("HTTP/1.1 200 OK", "Content-Length: 0")
    async with proxied(serve) as (reader, writer, _):
        hidden = ("Connection: close, Content-Length", "Content-Length: 4")
        writer.write(asking(f"{PODS}/web/proxy/x", *hidden, method="POST") + b"body")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Length: 4\r\n" in seen[0]


@pytest.mark.parametrize("part", [b"<a ", b"<a \"<a '", b"<a '\"", b'<a x="" '])
def test_a_page_of_open_tags_takes_no_longer_than_another(part: bytes) -> None:
    page = part * 3000
    started = time.process_time()
    assert rewrite_links(page, lambda link: "/p" + link) == page
    assert time.process_time() - started < 0.1


def test_html_is_otherwise_untouched() -> None:
    page = b"<html><!-- <a href=/x> --><img SRC='/i.png' alt=\"/i\">\xff</html>"
    changed = rewrite_links(page, lambda link: "/p" + link)
    assert b'<img SRC="/p/i.png" alt="/i">\xff' in changed
