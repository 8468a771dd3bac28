"""Fuzz targets on the wire: HTTP from its first byte to the answer, WebSocket, SPDY, and what the audit log writes."""

import asyncio
import logging
import re
import struct
import tempfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from fakes.server import Server
from fakes.serving import parts_of, serving
from msgspec.structs import replace

from fuzz.target import Check, Target
from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy
from kubelite.api.http.websocket import closed
from kubelite.clock import SystemClock
from kubelite.limits import SPDY_STREAMS
from kubelite.node.docker_logs import read_log
from kubelite.node.spdy import DICTIONARY, SPDYConnection, SPDYViolation
from kubelite.node.streams import MESSAGE_LIMIT_BYTES, WEBSOCKET_PROTOCOLS, WebSocketChannels
from kubelite.randomness import SeededRandomness

AsyncCheck = Callable[[bytes], Awaitable[None]]
ANSWER_BYTES_MAX = 4 * 1024 * 1024
WAIT_SECONDS = 20.0  # a case that hangs fails, however busy the machine is
STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
AUDIT_POLICY = "rules: [{level: RequestResponse}]"
POD = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "namespace": "default"},
    "data": {"k": "v"},
}


class Complaints(logging.Handler):
    """Collects what is logged as an error, and what the loop hears of exceptions that nobody caught."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(self.format(record))

    def unhandled(self, _: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        """Take an exception that reached the loop."""
        self.heard.append(f"{told.get('message')}: {told.get('exception')!r}")

    def none(self) -> None:
        """Fail if anything was heard since the last case."""
        heard, self.heard = self.heard, []
        assert not heard, "\n".join(heard)


@contextmanager
def in_loop(opened: Callable[[Complaints], Any]) -> Iterator[Check]:
    """Run an asynchronous check, and what it needs, on a loop of its own."""
    complaints = Complaints()
    root = logging.getLogger()
    root.addHandler(complaints)
    try:
        with asyncio.Runner() as runner:
            runner.get_loop().set_exception_handler(complaints.unhandled)
            stack = AsyncExitStack()
            check: AsyncCheck = runner.run(stack.enter_async_context(opened(complaints)))

            async def bounded(data: bytes) -> None:
                async with asyncio.timeout(WAIT_SECONDS):
                    await check(data)
                complaints.none()

            def run(data: bytes) -> None:
                runner.run(bounded(data))

            try:
                yield run
            finally:
                runner.run(stack.aclose())
    finally:
        root.removeHandler(complaints)


class AuditLines(LineLog):
    """Holds each line of the audit log to its form."""

    def __init__(self) -> None:
        super().__init__(Path("unused"), Bounds(), SystemClock())

    def put(self, line: bytes) -> None:
        assert b"\n" not in line
        msgspec.json.decode(line)


@asynccontextmanager
async def http_server(complaints: Complaints) -> AsyncIterator[AsyncCheck]:
    """Each input gets whole answers of the 2xx to 4xx kind, or the connection's end; nothing is logged as an error."""
    complaints.none()
    server = Server()
    await server.create("v1/configmaps", POD)
    auditor = Auditor(
        AuditPolicy.read(AUDIT_POLICY), AuditLines(), SystemClock(), SeededRandomness(2)
    )
    parts = replace(parts_of(server.verbs), auditor=auditor)
    async with serving(parts) as (_, port):

        async def check(data: bytes) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data)
                writer.write_eof()
                received = b""
                while piece := await reader.read(65536):
                    received += piece
                    assert len(received) <= ANSWER_BYTES_MAX
                _judge(received)
            except ConnectionError:
                pass  # cut off, which is an answer too
            finally:
                writer.close()

        yield check


def _judge(received: bytes) -> None:
    if not received:
        return
    first = STATUS_LINE.match(received)
    assert first, received[:200]
    for status in STATUS_LINE.findall(received):
        assert status < b"500" or status in (b"501", b"503", b"504", b"505"), received[:2000]
    head = received.partition(b"\r\n\r\n")[0]
    assert not re.search(rb"[\x00\x0b\x0c]|(?<!\r)\n|\r(?!\n)", head), head


@asynccontextmanager
async def websocket_server(_: Complaints) -> AsyncIterator[AsyncCheck]:
    """Frames of a client end as inputs of bounded size or end the connection, on the API's and on the node's side."""
    taken: list[int] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            protocols=WEBSOCKET_PROTOCOLS, max_msg_size=MESSAGE_LIMIT_BYTES
        )
        await socket.prepare(request)
        channels = WebSocketChannels(socket)
        while (given := await channels.receive()) is not None:
            taken.append(len(given.data))
        return socket

    application = web.Application()
    application.router.add_get("/{protocol}", handle)
    runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    folder = tempfile.TemporaryDirectory()
    path = f"{folder.name}/socket"  # no TCP, whose delays would let few cases through
    await web.UnixSite(runner, path).start()

    async def check(data: bytes) -> None:
        await _api_side(data)
        taken.clear()
        protocol = WEBSOCKET_PROTOCOLS[len(data) % len(WEBSOCKET_PROTOCOLS)]
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(
                f"GET /x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n".encode()
            )
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data)
            writer.write_eof()
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        finally:
            writer.close()
        assert sum(taken) <= max(len(data), MESSAGE_LIMIT_BYTES)

    try:
        yield check
    finally:
        await runner.cleanup()
        folder.cleanup()


async def _api_side(data: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    await closed(reader)


@asynccontextmanager
async def spdy(_: Complaints) -> AsyncIterator[AsyncCheck]:
    """Frames open, feed and end streams, or break the protocol; streams and what they hold stay bounded.

    The input is a list of frames before compression: a byte of kind, two of length, then the payload; a kind of 1
    opens a stream whose headers are compressed here, since mutated zlib rarely gets past the first check.
    """

    async def check(data: bytes) -> None:
        sent = 0

        async def write(frame: bytes) -> None:
            nonlocal sent
            sent += len(frame)

        for wire in (_compressed(data), data):
            connection = SPDYConnection(write)
            try:
                for start in range(0, len(wire), 4096):
                    await connection.feed(wire[start : start + 4096])
            except SPDYViolation:
                continue
            finally:
                connection.feed_end()
                assert len(connection._streams) <= SPDY_STREAMS.value
            assert sent <= 16 * len(wire) + 64

    yield check


def _compressed(data: bytes) -> bytes:
    packer = zlib.compressobj(zdict=DICTIONARY)
    place, frames = 0, []
    while place + 3 <= len(data):
        kind, length = struct.unpack_from(">BH", data, place)
        payload = data[place + 3 : place + 3 + length]
        place += 3 + length
        if kind == 0:
            frames.append(
                struct.pack(">II", int.from_bytes(payload[:2]), len(payload[2:])) + payload[2:]
            )
            continue
        if kind == 1:
            block = packer.compress(payload[2:]) + packer.flush(zlib.Z_SYNC_FLUSH)
            payload = struct.pack(">IIH", int.from_bytes(payload[:2]), 0, 0) + block
        frames.append(struct.pack(">HHI", 0x8003, kind, len(payload) & 0xFFFFFF) + payload)
    return b"".join(frames)


@asynccontextmanager
async def docker_log(_: Complaints) -> AsyncIterator[AsyncCheck]:
    """A log stream splits into entries no larger than itself, or is refused."""

    async def check(data: bytes) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 100):
                yield data[start : start + 100]

        for tty in (False, True):
            total = 0
            try:
                async for entry in read_log(pieces(), tty=tty):
                    total += len(entry.data)
            except ValueError:
                continue
            assert total <= len(data)

    yield check


TARGETS = (
    Target("http", lambda: in_loop(http_server), cost=12),
    Target("websocket", lambda: in_loop(websocket_server), cost=12),
    Target("spdy", lambda: in_loop(spdy), cost=2),
    Target("docker-log", lambda: in_loop(docker_log), cost=2),
)
