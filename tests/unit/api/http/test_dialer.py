"""Dialing nodes: over TLS, against servers of the test on a loopback port."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kubelite.api.auth.pki import KUBELET_CLIENT, KUBELET_SERVING, SERVING, Pki
from kubelite.api.errors import BadRequest, ServiceUnavailable
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.dialer import Backend, TCPDialer
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness

OPEN = Destinations(node=lambda: ("one", "127.0.0.1"))


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki.ensure(
        tmp_path / "pki",
        clock=SetClock(datetime.now(UTC)),
        randomness=SeededRandomness(1),
        names=("localhost",),
        addresses=("127.0.0.1",),
        node_name="one",
    )


@asynccontextmanager
async def listening(pki: Pki, leaf: str) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Listen with a certificate; yields the port and what was received."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=pki.server_context(leaf))
    async with server:
        yield server.sockets[0].getsockname()[1], received


async def test_a_node_is_known_by_its_certificate(pki: Pki) -> None:
    async with listening(pki, KUBELET_SERVING) as (port, received):
        tls = pki.client_context(KUBELET_CLIENT)
        backend = Backend("127.0.0.1", port, tls, "one", proves_node=True)
        _, writer = await TCPDialer(OPEN).dial(backend)
        writer.write(b"hello")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert received == [b"hello"]


@pytest.mark.parametrize(
    ("leaf", "node"),
    [
        (SERVING, "one"),  # the API server's own door
        (KUBELET_SERVING, "two"),  # another node's
    ],
)
async def test_whoever_is_not_the_node_is_told_nothing(pki: Pki, leaf: str, node: str) -> None:
    async with listening(pki, leaf) as (port, received):
        backend = Backend(
            "127.0.0.1", port, pki.client_context(KUBELET_CLIENT), node, proves_node=True
        )
        with pytest.raises(ServiceUnavailable, match=f"not system:node:{node}"):
            await TCPDialer(Destinations(node=lambda: (node, "127.0.0.1"))).dial(backend)
    assert received in ([], [b""])


async def test_a_name_is_looked_up_once_and_all_its_addresses_must_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    async def answer(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        places = ("192.0.2.1", "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port)) for place in places]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
    with pytest.raises(BadRequest, match="address not allowed"):
        await TCPDialer(Destinations()).dial(Backend("node.example", 10250))
    assert asked == ["node.example"]


@pytest.mark.parametrize("host", ["a" * 64, "a..b", ".", "x" * 300, "\udcff"])
async def test_a_name_that_cannot_be_a_hosts(host: str) -> None:
    with pytest.raises((BadRequest, ServiceUnavailable)):
        await TCPDialer(Destinations()).dial(Backend(host, 10250))


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch, pki: Pki) -> None:
    async with listening(pki, KUBELET_SERVING) as (port, _):
        both = Destinations(node=lambda: ("one", "127.0.0.1"))
        tried: list[str] = []
        dial = asyncio.open_connection

        async def connect(host: str, *arguments: Any, **named: Any) -> Any:
            tried.append(host)
            if host == "192.0.2.1":
                raise ConnectionRefusedError
            return await dial(host, *arguments, **named)

        async def answer(_host: str, port: int, **_: Any) -> list[Any]:
            places = ("192.0.2.1", "127.0.0.1")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port)) for place in places]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)
        monkeypatch.setattr(asyncio, "open_connection", connect)
        tls = pki.client_context(KUBELET_CLIENT)
        backend = Backend("localhost", port, tls, "one", proves_node=True)
        _, writer = await TCPDialer(both).dial(backend)
        writer.close()
        await writer.wait_closed()
    assert tried == ["192.0.2.1", "127.0.0.1"]
