"""Forwarded connections against servers on loopback."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from aiohttp import web

from kubelite.api.errors import BadRequest
from kubelite.limits import FORWARDED_CONNECTIONS, FORWARDED_PAIRS
from kubelite.node.http import port_numbers
from kubelite.node.port_forward import PodPorts, forward_spdy, forward_websocket, forwarded_places
from kubelite.node.spdy import SPDYConnection
from unit.node.test_spdy import Client, connect


class Server:
    """Takes connections, greets, and then waits for its client for as long as it likes."""

    def __init__(self) -> None:
        self.open = 0
        self.taken = 0
        self.port = 0
        self.received = b""
        self.changed = asyncio.Condition()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.taken += 1
        await self.tell()
        writer.write(b"hello")
        try:
            while data := await reader.read(1000):
                self.received += data
            await asyncio.wait_for(
                writer.wait_closed(), 30
            )  # it does not end because its client has
        except ConnectionError:
            pass
        finally:
            writer.close()
            self.open -= 1
            await self.tell()

    async def tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()


class Forward:
    """A client of port-forward."""

    def __init__(self) -> None:
        self.client = Client()
        self.connection, self.sent = connect()
        self.work = asyncio.ensure_future(
            forward_spdy(self.connection, PodPorts(0, "", "uid", forwarded_places()), "pod")
        )
        self._number = -1

    async def open(self, kind: str, request: str, port: int | str) -> int:
        self._number += 2
        headers = {"streamtype": kind, "requestid": request, "port": str(port)}
        await self.connection.feed(self.client.open(self._number, headers))
        await asyncio.sleep(0)
        return self._number

    def resets(self) -> list[int]:
        frames = [frame for frame in self.sent if frame[:4] == b"\x80\x03\x00\x03"]
        return [struct.unpack_from(">I", frame, 8)[0] for frame in frames]

    async def until_sent(self, text: bytes) -> None:
        async with asyncio.timeout(10):
            while text not in b"".join(self.sent):
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        self.connection.feed_end()
        await self.work


@pytest.fixture
async def forward() -> AsyncIterator[Forward]:
    made = Forward()
    yield made
    await made.close()


async def test_a_connection_ends_when_the_client_gives_its_stream_up(
    server: Server, forward: Forward
) -> None:
    """The server waits for ever: each pair would else keep a descriptor of the node."""
    for number in range(20):
        await forward.open("error", str(number), server.port)
        data = await forward.open("data", str(number), server.port)
        await server.until(lambda taken=number: server.taken > taken)  # type: ignore[misc]  # a default binds the number
        await forward.connection.feed(forward.client.reset(data))
    # The server sees a client that is gone as the end of what it sends.
    assert len(forward.connection._streams) <= 21
    async with asyncio.timeout(10):
        while [t for t in asyncio.all_tasks() if t.get_name() == "port-forward pod"]:
            await asyncio.sleep(0.001)


async def test_bytes_go_both_ways_and_half_a_close_is_passed_on(
    server: Server, forward: Forward
) -> None:
    await forward.open("error", "1", server.port)
    data = await forward.open("data", "1", server.port)
    await forward.until_sent(b"hello")
    await forward.connection.feed(forward.client.data(data, b"up", flags=1))
    await server.until(lambda: server.received == b"up" or server.open == 1)
    async with asyncio.timeout(10):
        while server.received != b"up":
            await asyncio.sleep(0.001)


async def test_connections_of_a_client_are_bounded(
    server: Server, forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FORWARDED_PAIRS, "value", 3)
    for number in range(3):
        await forward.open("error", str(number), server.port)
    refused = [await forward.open("error", "3", server.port)]
    assert forward.resets() == refused
    for number in range(3):
        await forward.open("data", str(number), server.port)
    await server.until(lambda: server.taken == 3)
    refused += [await forward.open("error", "4", server.port), await forward.open("data", "5", 1)]
    assert forward.resets() == refused
    assert server.taken == 3


async def test_halves_that_the_client_gave_up_make_room(
    server: Server, forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FORWARDED_PAIRS, "value", 3)
    for number in range(30):
        stream = await forward.open("error", f"gone{number}", server.port)
        await forward.connection.feed(forward.client.reset(stream))
    assert forward.resets() == []
    await forward.open("error", "1", server.port)
    await forward.open("data", "1", server.port)
    await server.until(lambda: server.taken == 1)


@pytest.mark.parametrize("kinds", [("x", "", "datum"), ("error", "error", "error")])
async def test_streams_that_make_no_pair_are_reset(
    forward: Forward, kinds: tuple[str, ...]
) -> None:
    opened = [await forward.open(kind, "1", 1) for kind in kinds]
    assert forward.resets() == opened[-len(forward.resets()) :]
    assert len(forward.resets()) >= 2


@pytest.mark.parametrize("port", ["0", "-1", "65536", "9" * 30, "9" * 5000, "x", ""])
async def test_what_is_no_port_is_told_on_the_error_stream(forward: Forward, port: str) -> None:
    await forward.open("error", "1", port)
    await forward.open("data", "1", port)
    await forward.until_sent(b"error forwarding port")


async def test_a_websocket_for_what_is_no_port_is_closed() -> None:
    closed: list[int] = []

    class Socket:
        async def close(self, *, code: int, message: bytes) -> None:
            del message
            closed.append(code)

    for numbers in ([0], [70_000], [-1], [80, 1 << 40]):
        socket = cast("web.WebSocketResponse", cast("Any", Socket()))
        await forward_websocket(socket, PodPorts(0, "", "uid", forwarded_places()), numbers, "pod")
    assert closed == [1008] * 4


async def test_the_end_of_the_client_ends_all() -> None:
    connection = SPDYConnection(lambda _: asyncio.sleep(0))
    connection.feed_end()
    await forward_spdy(connection, PodPorts(0, "", "uid", forwarded_places()), "pod")


async def test_one_pod_does_not_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FORWARDED_CONNECTIONS, "value", 8)
    places = forwarded_places()
    async with await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0
    ) as server:
        port = server.sockets[0].getsockname()[1]
        first, second = PodPorts(0, "", "uid-1", places), PodPorts(0, "", "uid-2", places)
        made = [await first.connect(port) for _ in range(2)]
        with pytest.raises(OSError, match="too many connections are forwarded"):
            await first.connect(port)
        made.append(await second.connect(port))
        assert places.count == 3
        for each in made:
            each.close()
        assert places.count == 0
    with pytest.raises(ConnectionRefusedError):
        await first.connect(port)
    for number in (-1, 0, 65_536, 10**30):
        with pytest.raises(OSError, match="not a port"):
            await first.connect(number)
    assert places.count == 0


def test_ports_are_numbers() -> None:
    assert port_numbers(["1", "65535"]) == [1, 65535]
    for value in ("", "0", "-1", "65536", "9" * 5000, "\uff11", "1_0", " 1", "x"):
        with pytest.raises(BadRequest):
            port_numbers([value])
