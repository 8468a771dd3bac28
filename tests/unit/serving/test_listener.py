"""Accepting: places taken before the handshake, handshakes bounded by address and in all."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kubelite.limits import (
    API_CONNECTIONS,
    HANDSHAKE_SECONDS,
    HANDSHAKES,
    HANDSHAKES_PER_ADDRESS,
)
from kubelite.serving import table as tables
from kubelite.serving.connection import ConnectionServer, Sent
from kubelite.serving.listener import Listener, without_renegotiation
from kubelite.serving.table import ConnectionTable


@asynccontextmanager
async def listening(table: ConnectionTable, *, tls: bool) -> AsyncIterator[tuple[Listener, int]]:
    async def answer(request: object) -> Sent:
        return Sent(200, keep_alive=True)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    listener = Listener(ConnectionServer(answer, table), lambda: context)
    try:
        yield listener, listener.open("127.0.0.1", 0, "test")
    finally:
        await listener.stop(0.1)


async def silent(port: int, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))


async def ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "source_of", lambda address: address)


@pytest.mark.usefixtures("by_address")
async def test_half_open_connections_of_one_address_end_each_other_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HANDSHAKES_PER_ADDRESS, "value", 3)
    table = ConnectionTable(API_CONNECTIONS, 1000)
    async with listening(table, tls=True) as (_, port), asyncio.timeout(20):
        other, kept = await silent(port, "127.0.0.3")
        flood = [await silent(port, "127.0.0.2") for _ in range(20)]
        for reader, _ in flood[:17]:
            assert await ended(reader)
        assert table.count == 4
        assert not other.at_eof()
        for writer in [kept, *(writer for _, writer in flood)]:
            writer.close()
        while table.count:
            await asyncio.sleep(0.001)


@pytest.mark.usefixtures("by_address")
async def test_beyond_the_total_the_address_with_the_most_loses_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HANDSHAKES, "value", 5)
    table = ConnectionTable(API_CONNECTIONS, 1000)
    async with listening(table, tls=True) as (_, port), asyncio.timeout(20):
        first, first_writer = await silent(port, "127.0.0.3")
        flood = [await silent(port, "127.0.0.2") for _ in range(4)]
        third, third_writer = await silent(port, "127.0.0.4")
        assert await ended(flood[0][0])
        assert not first.at_eof()
        assert not third.at_eof()
        assert table.count == 5
        for writer in [first_writer, third_writer, *(writer for _, writer in flood)]:
            writer.close()


async def test_a_handshake_has_a_deadline_and_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HANDSHAKE_SECONDS, "value", 0.05)
    table = ConnectionTable(API_CONNECTIONS, 1000)
    async with listening(table, tls=True) as (_, port), asyncio.timeout(20):
        reader, writer = await silent(port, "127.0.0.1")
        assert await ended(reader)
        while table.count:
            await asyncio.sleep(0.001)
        writer.close()


async def test_one_too_many_is_closed_before_its_handshake() -> None:
    table = ConnectionTable(API_CONNECTIONS, 4, kept=0)
    async with listening(table, tls=True) as (listener, port), asyncio.timeout(20):
        held = [await silent(port, "127.0.0.1") for _ in range(2)]
        reader, writer = await silent(port, "127.0.0.1")
        assert await ended(reader)
        assert sum(map(len, listener._handshakes.values())) == 2
        for each in [writer, *(writer for _, writer in held)]:
            each.close()


def test_no_client_can_ask_for_another_handshake() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert without_renegotiation(context) is context
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert without_renegotiation(None) is None
