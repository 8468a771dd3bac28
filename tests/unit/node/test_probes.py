"""Probes and hooks against servers on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.containers import Container, LifecycleHandler, Probe
from kubelite.api.kinds.core.pods import Pod
from kubelite.clock import SystemClock
from kubelite.node.grpc_health import GRPCFailed, grpc_health
from kubelite.node.http_get import HTTPFailed, http_get
from kubelite.node.probes import NetworkProber, Target, first_health, port_number
from kubelite.node.simulated import SimulatedRuntime
from kubelite.randomness import SeededRandomness

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[int]:
    talks: list[asyncio.Task[None]] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (EOFError, OSError):
            return  # a client that only connects, or leaves early
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(
        lambda reader, writer: talks.append(asyncio.create_task(one(reader, writer))),
        "127.0.0.1",
        0,
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*talks)


def answering(answer: bytes, seen: list[bytes] | None = None) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if seen is not None:
            seen.append(head)
        writer.write(answer)
        writer.close()

    return talk


def target(**container: Any) -> Target:
    return Target(
        Pod(), msgspec.convert({"name": "app", **container}, Container), "id", "127.0.0.1"
    )


def prober() -> NetworkProber:
    return NetworkProber(SimulatedRuntime(SystemClock(), SeededRandomness(1)))


async def ask(probe: dict[str, Any], **container: Any) -> tuple[bool, str]:
    outcome = await prober().probe(target(**container), msgspec.convert(probe, Probe))
    return outcome.healthy, outcome.message


@pytest.mark.parametrize(
    ("status", "healthy"), [("200 OK", True), ("302 Found", True), ("404 Not Found", False)]
)
async def test_http_status_decides(status: str, healthy: bool) -> None:
    async with serving(
        answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    ) as port:
        found, message = await ask({"httpGet": {"port": port, "path": "/x"}})
        assert found is healthy
        if not healthy:
            assert message == "HTTP probe failed with statuscode: 404"


async def test_http_sends_the_headers_it_was_given() -> None:
    seen: list[bytes] = []
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n", seen)) as port:
        headers = [{"name": "Host", "value": "other"}, {"name": "X-Y", "value": "z"}]
        assert (await ask({"httpGet": {"port": "web", "httpHeaders": headers}},
                          ports=[{"name": "web", "containerPort": port}]))[0]  # fmt: skip
    assert b"\r\nHost: other\r\n" in b"\r\n" + seen[0].split(b"\r\n", 1)[1]
    assert b"X-Y: z" in seen[0]
    assert b"User-Agent: kube-probe/" in seen[0]


async def test_redirects_stay_on_the_host() -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as last:
        place = f"http://127.0.0.1:{last}/there"
        redirect = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n".encode()
        async with serving(answering(redirect)) as first:
            assert (await http_get("http", "127.0.0.1", first, "/")).body == b"hi"
    nowhere = b"HTTP/1.1 302 Found\r\nLocation: http://[x/\r\n\r\n"
    async with serving(answering(nowhere)) as first:
        with pytest.raises(HTTPFailed):
            await http_get("http", "127.0.0.1", first, "/")
    away = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n"
    async with serving(answering(away)) as first:
        assert (await http_get("http", "127.0.0.1", first, "/")).status == 302


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200"]
)
async def test_what_is_no_http_fails(answer: bytes) -> None:
    async with serving(answering(answer)) as port:
        with pytest.raises(HTTPFailed):
            await http_get("http", "127.0.0.1", port, "/")


async def test_tcp_connects() -> None:
    async with serving(answering(b"")) as port:
        assert (await ask({"tcpSocket": {"port": port}}))[0]
    healthy, message = await ask({"tcpSocket": {"port": port}})
    assert not healthy
    assert "dial tcp" in message


def _grpc(body: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)

        def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
            head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
            return head + stream.to_bytes(4, "big") + payload

        writer.write(frame(4, 0, 0, b""))
        if body:
            message = b"\0" + len(body).to_bytes(4, "big") + body
            writer.write(frame(1, 4, 1, b"\x88") + frame(0, 0, 1, message))
        writer.write(frame(1, 5, 1, b""))
        writer.write_eof()
        while await reader.read(1000):
            pass
        writer.close()

    return talk


async def test_grpc_health() -> None:
    async with serving(_grpc(b"\x08\x01")) as port:
        await grpc_health("127.0.0.1", port, "service")
    for body, message in (
        (b"\x08\x02", "NOT_SERVING"),
        (b"", "does not implement"),
        (b"\x08\x03", "UNKNOWN"),
    ):
        async with serving(_grpc(body)) as port:
            with pytest.raises(GRPCFailed, match=message):
                await grpc_health("127.0.0.1", port, "")


async def test_a_sleep_hook_and_a_failing_exec() -> None:
    handler = msgspec.convert({"sleep": {"seconds": 0}}, LifecycleHandler)
    assert (await prober().hook(target(), handler)).healthy
    healthy, message = await ask({"exec": {"command": ["x"]}})
    assert not healthy
    assert message == "simulated containers execute nothing"


def test_ports_have_names() -> None:
    container = msgspec.convert(
        {"name": "a", "ports": [{"name": "web", "containerPort": 8080}]}, Container
    )
    assert [port_number(container, port) for port in ("web", 80, "81", "none")] == [8080, 80, 81, 0]


def test_what_is_assumed_before_the_first_probe() -> None:
    probed = msgspec.convert(
        {
            "name": "a",
            "startupProbe": {"tcpSocket": {"port": 1}},
            "readinessProbe": {"tcpSocket": {"port": 1}},
        },
        Container,
    )
    health = first_health(probed, was_started=False, was_ready=False)
    assert (health.started, health.ready) == (False, False)
    assert first_health(probed, was_started=True, was_ready=True).ready
    assert first_health(Container(name="b"), was_started=False, was_ready=False).ready
