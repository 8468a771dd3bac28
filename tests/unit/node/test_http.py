"""The node's port: deadlines and bounds for clients that prove nothing, and whatever they may send."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web

from kubelite.api.errors import Forbidden, Unauthorized
from kubelite.clock import SystemClock
from kubelite.limits import HEAD_SECONDS, NODE_CONNECTIONS
from kubelite.node.http import Authorize, NodeAPI, NodeRequest
from kubelite.node.spdy import SPDYConnection
from kubelite.node.upgrade import take_over
from kubelite.node.usage import HostMeasure
from kubelite.serving.connection import ConnectionServer
from kubelite.serving.listener import Listener
from kubelite.serving.table import ConnectionTable


async def authorize(asked: NodeRequest) -> None:
    if asked.bearer_token != "good":
        raise Unauthorized("Unauthorized")


@asynccontextmanager
async def node(total: int = 100, authorizing: Authorize = authorize) -> AsyncIterator[NodeAPI]:
    kubelet = cast(Any, SimpleNamespace(memories={}))
    table = ConnectionTable(NODE_CONNECTIONS, total, kept=0)
    clock = SystemClock()
    measure = HostMeasure(clock, Path("/"), 1 << 30)
    api = NodeAPI("n1", kubelet, cast(Any, None), clock, authorizing, measure, table)
    await api.start("127.0.0.1", 0, None)
    try:
        yield api
    finally:
        await api.stop()


async def answer(api: NodeAPI, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(sent)
    try:
        async with asyncio.timeout(10):
            return await reader.read(65536)
    finally:
        writer.close()


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


GOOD = "Authorization: Bearer good"


@pytest.mark.parametrize("said", [b"", b"GET /healthz HT", b"\r\n"])
async def test_silent_clients_do_not_stay(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(HEAD_SECONDS, "value", 0.01)
    async with node() as api:
        assert await answer(api, said) == b""
        assert api.connections.count == 0


async def test_silent_clients_keep_nobody_out() -> None:
    async with node(total=10) as api:
        silent = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(50)]
        assert b"200 OK" in await answer(api, get("/healthz"))
        assert api.connections.count <= 5
        for _, writer in silent:
            writer.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (get("/healthz"), 200),
        (get("/healthz", method="HEAD"), 200),
        (get("/healthz", method="POST"), 405),
        (get("/"), 404),
        (get("/nowhere"), 404),
        (get("/exec/a/b"), 404),
        (get("/exec/a/b/c/d"), 404),
        (get("/containerLogs/a/b/c", GOOD), 404),
        (get("/containerLogs/a/b/c", GOOD, method="POST"), 405),
        (get("/containerLogs/a/b/c"), 401),
        (get("/exec/%ff/%00/%2f?command=%ff", GOOD), 404),
        (get("/portForward/a/b?port=" + "9" * 5000, GOOD), 404),
        (get("/pods", GOOD), 200),
        (get("/pods", "Authorization: Bearer \xff"), 401),
        (get("/pods", "Authorization: Bearer good", "User-Agent: \xff"), 200),
        (get("/healthz?" + "a" * 200_000), 431),
        (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01", 400),
    ],
)
async def test_answers(sent: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with node() as api:
        assert (await answer(api, sent)).split()[1] == b"%d" % status
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("path", "verb"),
    [
        ("/exec/a/b/c?command=id", "create"),
        ("/attach/a/b/c", "create"),
        ("/portForward/a/b?port=80", "create"),
        ("/containerLogs/a/b/c", "get"),
        ("/pods", "get"),
    ],
)
async def test_who_may_only_read_runs_no_commands(path: str, verb: str) -> None:
    """A WebSocket is opened by GET, which is no reading when it runs a command."""
    asked: list[str] = []

    async def note(request: NodeRequest) -> None:
        asked.append(request.verb)
        raise Forbidden("no")

    async with node(authorizing=note) as api:
        fields = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
        assert (await answer(api, get(path, *fields))).split()[1] == b"403"
    assert set(asked) == {verb}


@pytest.mark.parametrize("leaves", ["client", "server"])
async def test_a_connection_taken_over_for_spdy_gives_its_place_back(leaves: str) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def serve(connection: SPDYConnection) -> None:
        begun.set()
        if leaves == "client":
            assert await connection.accept() is None
        else:
            await may_end.wait()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return await take_over(request, "portforward.k8s.io", serve)

    table = ConnectionTable(NODE_CONNECTIONS, 10)
    server = ConnectionServer(handler, table, handler_cancellation=True)
    listener = Listener(server, lambda: None)
    port = listener.open("127.0.0.1", 0, "test")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        get("/", "Upgrade: SPDY/3.1").replace(b"Connection: close", b"Connection: Upgrade")
    )
    assert b"101" in await reader.readline()
    await begun.wait()
    assert table.count == 1
    if leaves == "client":
        writer.close()
    may_end.set()
    with suppress(ConnectionError):
        await reader.read()
    writer.close()
    async with asyncio.timeout(10):
        while table.count or server.connections:
            await asyncio.sleep(0.001)
    await listener.stop(0.1)


@pytest.mark.parametrize(
    ("path", "subresource"),
    [
        ("/stats/summary", "stats"),
        ("/stats/summary?only_cpu_and_memory=true", "stats"),
        ("/metrics/resource", "metrics"),
        ("/metrics/cadvisor", "metrics"),
        ("/metrics/probes", "metrics"),
    ],
)
async def test_statistics_are_for_those_who_may_read_them(path: str, subresource: str) -> None:
    asked: list[str] = []

    async def authorizing(request: NodeRequest) -> None:
        asked.append(request.subresource)
        if request.bearer_token != "good":
            raise Forbidden("Forbidden")

    async with node(authorizing=authorizing) as api:
        assert b" 403 " in (await answer(api, get(path))).partition(b"\r\n")[0]
        assert b" 200 " in (await answer(api, get(path, GOOD))).partition(b"\r\n")[0]
    assert asked == [subresource] * 2


async def test_a_summary_shows_the_machine() -> None:
    async with node() as api:
        head, _, body = (await answer(api, get("/stats/summary", GOOD))).partition(b"\r\n\r\n")
        assert b"application/json" in head
        shown = msgspec.json.decode(body)
        assert shown["node"]["nodeName"] == "n1"
        assert shown["node"]["cpu"]["usageNanoCores"] >= 0
        assert shown["node"]["memory"]["workingSetBytes"] > 0
        assert shown["pods"] == []
