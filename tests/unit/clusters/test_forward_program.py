"""Published ports: what comes in is passed on, both ways, until either end closes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kubelite.clusters.forward_program import Forwarder
from kubelite.clusters.plan import Port
from kubelite.limits import CLUSTER_CONNECTIONS


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1000):
        writer.write(piece)
        await writer.drain()
    writer.write(b"!")
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def _forwarded(*, answers: bool = True) -> AsyncIterator[int]:
    """Yield a port that leads to an echo, and wait for the end of its connections."""
    behind = await asyncio.start_server(_echo, "127.0.0.1", 0)
    target = behind.sockets[0].getsockname()[1]
    if not answers:
        behind.close()
    forwarder = Forwarder(Port("127.0.0.1", 0, "server", target), "127.0.0.1")
    server = await forwarder.listen()
    yield server.sockets[0].getsockname()[1]
    async with asyncio.timeout(5):
        while forwarder.connections:
            await asyncio.sleep(0.001)
    server.close()
    behind.close()
    await asyncio.sleep(0.01)  # transports are closed by the loop


async def _ended(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_both_ways_and_the_end_of_one() -> None:
    async with _forwarded() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        text = bytes(range(256)) * 4096
        writer.write(text)
        writer.write_eof()
        assert await reader.read() == text + b"!"
        writer.close()


async def test_a_node_that_does_not_answer_ends_the_connection() -> None:
    async with _forwarded(answers=False) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await _ended(reader) == b""
        writer.close()


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CLUSTER_CONNECTIONS, "value", 1)
    reached = CLUSTER_CONNECTIONS.times_reached
    async with _forwarded() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        more, other = await asyncio.open_connection("127.0.0.1", port)
        assert await _ended(more) == b""
        assert CLUSTER_CONNECTIONS.times_reached == reached + 1
        for each in (writer, other):
            each.close()
