"""Connections that are kept between requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fakes.aggregated import LoopbackToo

from kubelite.api.http.aggregation.connections import Connections
from kubelite.api.http.dialer import Backend, TCPDialer
from kubelite.limits import AGGREGATED_IDLE_CONNECTIONS, AGGREGATED_IDLE_SECONDS


@asynccontextmanager
async def connecting() -> AsyncIterator[tuple[Connections, Backend, list[asyncio.StreamWriter]]]:
    accepted: list[asyncio.StreamWriter] = []
    ended = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ended
        accepted.append(writer)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended += 1

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connections = Connections(TCPDialer(LoopbackToo()))
    async with server:
        yield connections, Backend("127.0.0.1", port), accepted
        connections.close()
        async with asyncio.timeout(10):
            while ended < len(accepted):
                await asyncio.sleep(0)


async def until_read(connected: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    """Wait until something came on a connection."""
    reader = connected[0]
    async with asyncio.timeout(10):
        while not (reader._buffer or reader.at_eof()):  # type: ignore[attr-defined]
            await asyncio.sleep(0)


async def test_the_last_one_used_is_taken_first() -> None:
    async with connecting() as (connections, backend, _):
        assert connections.take(backend) is None
        both = [await connections.dial(backend) for _ in range(2)]
        for each in both:
            connections.keep(backend, each)
        assert connections.take(Backend("127.0.0.1", 1)) is None
        assert [connections.take(backend) for _ in range(3)] == [both[1], both[0], None]
        for each in both:
            connections.keep(backend, each)


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n\r\n", b""])
async def test_one_that_was_closed_or_spoke_meanwhile_is_not_used(said: bytes) -> None:
    async with connecting() as (connections, backend, accepted):
        first = await connections.dial(backend)
        connections.keep(backend, first)
        while not accepted:
            await asyncio.sleep(0)
        accepted[0].write(said)
        if not said:
            accepted[0].close()
        await until_read(first)
        assert connections.take(backend) is None
        assert first[1].is_closing()


async def test_idle_ones_are_bounded_in_number_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AGGREGATED_IDLE_CONNECTIONS, "value", 1)
    monkeypatch.setattr(AGGREGATED_IDLE_SECONDS, "value", 0)
    async with connecting() as (connections, backend, _):
        both = [await connections.dial(backend) for _ in range(2)]
        for each in both:
            connections.keep(backend, each)
        assert both[1][1].is_closing()
        assert not both[0][1].is_closing()
        async with asyncio.timeout(10):
            while not both[0][1].is_closing():
                await asyncio.sleep(0)
        assert connections.take(backend) is None
