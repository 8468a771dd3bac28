"""A connection taken over from aiohttp."""

import asyncio
from typing import cast

from kubelite.limits import UPGRADE_RECEIVED
from kubelite.node.spdy import SPDYConnection
from kubelite.node.upgrade import _SPDYProtocol
from unit.node.test_spdy import Client, accepted


class Transport:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.is_held = False
        self.is_closed = False
        self.sent: list[bytes] = []

    def pause_reading(self) -> None:
        self.is_held = True

    def resume_reading(self) -> None:
        self.is_held = False

    def is_reading(self) -> bool:
        return not self.is_held

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def write(self, data: bytes) -> None:
        self.sent.append(data)


def connect() -> tuple[_SPDYProtocol, Transport, SPDYConnection]:
    transport = Transport()
    spoken = _SPDYProtocol(cast("asyncio.Transport", transport), asyncio.Protocol())
    return spoken, transport, SPDYConnection(spoken.write, spoken.hold)


async def test_what_is_not_taken_holds_the_client_and_is_one_buffer() -> None:
    spoken, transport, connection = connect()
    client = Client()
    reached = UPGRADE_RECEIVED.times_reached
    whole = client.open(1, {"streamtype": "stdin"}) + client.data(1, b"x" * 200_000)
    for place in range(0, len(whole), 7):
        spoken.data_received(whole[place : place + 7])
    assert len(spoken._arrived) == len(whole)
    assert not transport.is_held
    spoken.data_received(client.data(1, b"y" * UPGRADE_RECEIVED.value))
    assert transport.is_held
    assert UPGRADE_RECEIVED.times_reached == reached + 1
    feeding = asyncio.ensure_future(spoken.feed(connection))
    stream = await accepted(connection)
    read = 0
    while read < 200_000 + UPGRADE_RECEIVED.value:
        read += len(await stream.read())
    assert not transport.is_held
    spoken.connection_lost(None)
    await feeding
    assert await connection.accept() is None


async def test_what_breaks_the_protocol_closes_the_connection() -> None:
    spoken, transport, connection = connect()
    spoken.data_received(b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 100)
    await spoken.feed(connection)
    assert transport.is_closed
    assert await connection.accept() is None


async def test_a_lost_connection_ends_it_after_what_had_arrived() -> None:
    spoken, _, connection = connect()
    spoken.data_received(Client().open(1, {"streamtype": "error"}))
    spoken.connection_lost(None)
    await spoken.feed(connection)
    assert (await accepted(connection)).headers == {"streamtype": "error"}
    assert await connection.accept() is None
