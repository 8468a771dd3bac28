"""The server on this machine's loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from fakes.dns_servers import dns_server
from fakes.mirrored import MirroringClient
from fakes.network_objects import service

from kubelite.limits import DNS_CONNECTIONS, DNS_IDLE_SECONDS
from kubelite.net.dns import CannotListen
from kubelite.net.dns_wire import NAME_ERROR, SERVER_FAILURE, parse_response
from kubelite.net.upstream import Upstream
from kubelite.randomness import SeededRandomness
from unit.net.questions import question, told

WEB = "web.default.svc.cluster.local"


def free_port() -> int:
    """Return a port that is free for TCP and UDP; the kernel gives out one that is free for either."""
    for _ in range(100):
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            try:
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free for both")


@asynccontextmanager
async def serving(client: MirroringClient) -> AsyncIterator[tuple[str, int]]:
    upstream = Upstream(lambda: (), SeededRandomness(1))
    server = dns_server(client, upstream, ("127.0.0.1", free_port()))
    await server.start()
    running = asyncio.create_task(server.run())
    await asyncio.sleep(0)
    try:
        yield server.bound[0]
    finally:
        running.cancel()
        await server.stop()


class Asker(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, _address: object) -> None:
        self.heard.put_nowait(data)


async def test_udp_follows_the_mirrors() -> None:
    client = MirroringClient()
    loop = asyncio.get_running_loop()
    async with serving(client) as address:
        transport, asker = await loop.create_datagram_endpoint(Asker, remote_addr=address)

        async def ask(name: str) -> bytes:
            transport.sendto(question(name))
            return await asyncio.wait_for(asker.heard.get(), 2)

        assert parse_response(await ask(WEB)).code == NAME_ERROR
        client.put(service())
        response = parse_response(await ask(WEB))
        assert [told(record) for record in response.answers] == [f"{WEB} A 10.43.0.5"]
        assert parse_response(await ask("example.org")).code == SERVER_FAILURE
        transport.close()


async def test_tcp_answers_several_questions_on_one_connection() -> None:
    client = MirroringClient()
    client.put(service())
    async with serving(client) as address:
        reader, writer = await asyncio.open_connection(*address)
        for number in range(3):
            data = question(WEB, message_id=number)
            writer.write(len(data).to_bytes(2, "big") + data)
            size = int.from_bytes(await reader.readexactly(2), "big")
            assert (await reader.readexactly(size))[:2] == number.to_bytes(2, "big")
        writer.write(b"\0\2ab")
        assert await reader.read() == b""
        writer.close()


async def test_silent_tcp_clients_keep_nobody_out_and_do_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DNS_IDLE_SECONDS, "value", 0.5)
    client = MirroringClient()
    client.put(service())
    async with serving(client) as address, asyncio.timeout(20):
        silent = [
            await asyncio.open_connection(*address) for _ in range(DNS_CONNECTIONS.value + 50)
        ]
        reader, writer = await asyncio.open_connection(*address)
        data = question(WEB)
        writer.write(len(data).to_bytes(2, "big") + data)
        assert len(await reader.readexactly(2)) == 2
        for each, each_writer in silent:
            with suppress(ConnectionResetError):
                assert await each.read() == b""
            each_writer.close()
        writer.close()


async def test_a_taken_address_is_named() -> None:
    client = MirroringClient()
    async with serving(client) as address:
        upstream = Upstream(lambda: (), SeededRandomness(1))
        second = dns_server(client, upstream, address)
        with pytest.raises(CannotListen, match=rf"cannot answer DNS on 127.0.0.1:{address[1]}"):
            await second.start()
