"""Connections into pods: their number is bounded, by pod and in all."""

import asyncio

import pytest

from kubelite.api.errors import BadRequest
from kubelite.limits import FORWARDED_CONNECTIONS
from kubelite.node.http import port_numbers
from kubelite.node.port_forward import PodPorts, forwarded_places


async def test_one_pod_does_not_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FORWARDED_CONNECTIONS, "value", 8)
    places = forwarded_places()
    async with await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0
    ) as server:
        port = server.sockets[0].getsockname()[1]
        first, second = PodPorts(0, "uid-1", places), PodPorts(0, "uid-2", places)
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
        with pytest.raises(OSError, match="no such port"):
            await first.connect(number)
    assert places.count == 0


def test_ports_are_numbers() -> None:
    assert port_numbers(["1", "65535"]) == [1, 65535]
    for value in ("", "0", "-1", "65536", "9" * 5000, "\uff11", "1_0", " 1", "x"):
        with pytest.raises(BadRequest):
            port_numbers([value])
