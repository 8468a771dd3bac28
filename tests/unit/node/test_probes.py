"""Probes and hooks against servers on loopback."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.containers import Container, LifecycleHandler, Probe
from kubelite.api.kinds.core.pods import Pod
from kubelite.clock import SystemClock
from kubelite.limits import HTTP_PROBE_BODY, HTTP_PROBE_HEAD
from kubelite.node import http_get as client
from kubelite.node.grpc_health import GRPCFailed, grpc_health
from kubelite.node.http_get import Answer, HTTPFailed, http_get
from kubelite.node.name_lookup import NameLookups
from kubelite.node.probes import NetworkProber, ProbeTarget, first_health, port_number
from kubelite.node.simulated.runtime import SimulatedRuntime
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


def target(**container: Any) -> ProbeTarget:
    return ProbeTarget(
        Pod(), msgspec.convert({"name": "app", **container}, Container), "id", "127.0.0.1"
    )


def prober() -> NetworkProber:
    return NetworkProber(SimulatedRuntime(SystemClock(), SeededRandomness(1)))


async def fetch(
    port: int,
    path: str = "/",
    host: str = "127.0.0.1",
    headers: Sequence[tuple[str, str]] = (),
) -> Answer:
    return await http_get("http", host, port, path, headers, NameLookups().for_pod("pod"))


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
            assert (await fetch(first)).body == b"hi"
    nowhere = b"HTTP/1.1 302 Found\r\nLocation: http://[x/\r\n\r\n"
    async with serving(answering(nowhere)) as first:
        with pytest.raises(HTTPFailed):
            await fetch(first)
    away = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n"
    async with serving(answering(away)) as first:
        assert (await fetch(first)).status == 302


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200"]
)
async def test_what_is_no_http_fails(answer: bytes) -> None:
    async with serving(answering(answer)) as port:
        with pytest.raises(HTTPFailed):
            await fetch(port)


BROKEN = ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\r\n\r\nGET /evil HTTP/1.1\r\nHost: x", "a\0", "\x1b"]


@pytest.mark.parametrize("text", BROKEN)
async def test_no_header_of_a_pod_ends_its_line(text: str) -> None:
    seen: list[bytes] = []
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n", seen)) as port:
        for headers in ([("X-A", text)], [(text, "1")], [("Host", text)], [("user-agent", text)]):
            with pytest.raises(HTTPFailed, match="net/http: invalid header field"):
                await fetch(port, headers=headers)
        probe = {"httpGet": {"port": port, "httpHeaders": [{"name": "X-A", "value": text}]}}
        healthy, message = await ask(probe)
    assert not healthy
    assert message.endswith('net/http: invalid header field value for "X-A"')
    assert seen == []


@pytest.mark.parametrize("name", ["", "a b", "a:", "ü", "a\t"])
async def test_a_header_name_is_a_token(name: str) -> None:
    with pytest.raises(HTTPFailed, match="invalid header field name"):
        await fetch(1, headers=[(name, "1")])


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a/../b@c", "a b", "a?", "a#", ""])
async def test_a_host_is_a_host(text: str) -> None:
    with pytest.raises(HTTPFailed, match="cannot parse URL"):
        await fetch(1, host=text)


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a b", b"/a%20b"),
        ("/x HTTP/1.1\r\nX-Evil: 1\r\n\r\n", b"/x%20HTTP/1.1%0D%0AX-Evil:%201%0D%0A%0D%0A"),
        ("/\u00fc?q=\u4e16#part", b"/%C3%BC?q=%E4%B8%96"),
        ("/a%20b?c=%0d", b"/a%20b?c=%0d"),
        ("x", b"/x"),
    ],
)
async def test_a_path_stays_on_the_request_line(path: str, sent: bytes) -> None:
    seen: list[bytes] = []
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n", seen)) as port:
        await fetch(port, path, headers=[("X-\u00fc".replace("\u00fc", "a"), "\u00fc")])
    assert seen[0].split(b"\r\n")[0] == b"GET " + sent + b" HTTP/1.1"
    assert "X-a: \u00fc\r\n".encode() in seen[0]


async def test_a_redirect_cannot_end_a_line_either() -> None:
    seen: list[bytes] = []
    async with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n", seen)) as last:
        place = b"http://a b@127.0.0.1:%d/x HTTP/1.1\rX-Evil: 1" % last
        redirect = b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\n\r\n"
        async with serving(answering(redirect)) as first:
            await fetch(first)
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"GET /x%20HTTP/1.1X-Evil:%201 HTTP/1.1"
    assert lines[1] == b"Host: 127.0.0.1:%d" % last
    assert b"\r" not in b"".join(lines)


@pytest.mark.parametrize("piece", [b"X-A: b\r\n", b"a:\n", b"x", b"\r", b" x\r\n"])
async def test_a_head_without_end_is_given_up(piece: bytes) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(piece * 100)
            await writer.drain()

    reached = HTTP_PROBE_HEAD.times_reached
    async with serving(endless) as port:
        with pytest.raises(HTTPFailed, match="server response headers exceeded 65536 bytes"):
            await fetch(port)
    assert HTTP_PROBE_HEAD.times_reached == reached + 1


async def test_a_head_is_searched_once_however_it_comes() -> None:
    reader = asyncio.StreamReader()
    searched = 0

    class Counted:
        def search(self, data: bytearray, start: int) -> re.Match[bytes] | None:
            nonlocal searched
            searched += len(data) - start
            return re.compile(rb"\r?\n\r?\n").search(data, start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "_BLANK_LINE", Counted())
        reading = asyncio.ensure_future(client._head(reader))
        for _ in range(3000):
            reader.feed_data(b"abcdefgh\r\n")
            await asyncio.sleep(0)
        reader.feed_data(b"\r\nbody")
        head, body = await reading
    assert (len(head), bytes(body)) == (30_000 - 2, b"body")
    assert searched <= 30_000 + 3002 * (client.PIECE_BYTES + 10)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 +20\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n",
    ],
)
async def test_numbers_of_an_answer_are_numbers(answer: bytes) -> None:
    async with serving(answering(answer)) as port:
        with pytest.raises(HTTPFailed, match="malformed HTTP response"):
            await fetch(port)


async def test_a_body_is_cut() -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\n\n" + b"x" * 100_000)) as port:
        assert len((await fetch(port)).body) == HTTP_PROBE_BODY.value


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


@pytest.mark.parametrize(
    ("kind", "stream"),
    [(0, 1), (0, 3), (4, 0), (6, 0), (99, 1)],
    ids=["data", "other", "settings", "ping", "x"],
)
async def test_frames_without_end_are_given_up(kind: int, stream: int) -> None:
    size = 8 if kind == 6 else 600
    frame = size.to_bytes(3, "big") + bytes([kind, 0]) + stream.to_bytes(4, "big") + bytes(size)

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)
        while not writer.is_closing():
            writer.write(frame * 10)
            await writer.drain()

    async with serving(endless) as port:
        with pytest.raises(GRPCFailed, match="answer too large"):
            await grpc_health("127.0.0.1", port, "")


@pytest.mark.parametrize("length", [1, 127, 128, 300, 20_000])
async def test_a_service_may_have_a_long_name(length: int) -> None:
    asked = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)
        while True:
            head = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if head[3] == 0:
                asked.extend(payload[5:])
                writer.write(b"\0\0\x07\0\x01\0\0\0\x01\0\0\0\0\x02\x08\x01")
                await writer.drain()
                return

    async with serving(talk) as port:
        await grpc_health("127.0.0.1", port, "s" * length)
    assert asked.endswith(b"s" * length)
    size, shift = 0, 0
    for byte in asked[1 : len(asked) - length]:
        size |= (byte & 0x7F) << shift
        shift += 7
    assert size == length


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


@pytest.mark.parametrize("kind", ["httpGet", "grpc"])
async def test_a_server_that_reads_nothing_keeps_no_connection(kind: str) -> None:
    """Each probe would else leave a descriptor behind, and as much memory as the pod has headers."""
    descriptors = Path("/proc/self/fd")
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        port = listening.getsockname()[1]
        long = "x" * (8 << 20)
        actions = {
            "httpGet": {"port": port, "httpHeaders": [{"name": "X", "value": long}]},
            "grpc": {"port": port, "service": long},
        }
        probe = msgspec.convert({kind: actions[kind], "timeoutSeconds": 60}, Probe)
        before = len(list(descriptors.iterdir()))
        asking = asyncio.ensure_future(prober().probe(target(), probe))
        peer, _ = await loop.sock_accept(listening)
        with peer:
            await loop.sock_recv(peer, 1)  # the rest of the request has no room
            asking.cancel()
            await asyncio.wait({asking})
            await asyncio.sleep(0)
            assert len(list(descriptors.iterdir())) == before + 1  # that of the peer
