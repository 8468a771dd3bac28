"""The statistics of a node are read within bounds, whatever it sends."""

import asyncio
from typing import Any, cast

import pytest
from fakes.tunnelled import Serve, listening

from kubelite.api.errors import ServiceUnavailable
from kubelite.api.http.dialer import Backend, Connected
from kubelite.api.http.node_summaries import NodeSummaries
from kubelite.limits import NODE_SUMMARY


class Nearby:
    """Backends and dialer of one node, on a port of this host."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def node(self, name: str) -> Backend:
        return Backend("127.0.0.1", self._port, node=name)

    async def dial(self, backend: Backend) -> Connected:
        return await asyncio.open_connection(backend.host, backend.port)


def sending(*parts: bytes) -> tuple[Serve, list[bytes]]:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        for part in parts:
            writer.write(part)
            await writer.drain()
        writer.close()

    return serve, heads


async def fetch(*parts: bytes) -> tuple[bytes, bytes]:
    """Return the head that the node got, and what was read."""
    serve, heads = sending(*parts)
    async with listening(serve) as port:
        near: Any = Nearby(port)
        async with asyncio.timeout(20):
            body = await NodeSummaries(cast(Any, near), near).fetch("n1")
    return heads[0], body


async def test_a_summary_is_asked_for_and_read() -> None:
    head, body = await fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert head.startswith(b"GET /stats/summary?only_cpu_and_memory=true HTTP/1.1\r\n")
    assert body == b"{}"


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"garbage\r\n\r\n"],
        [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"],
    ],
)
async def test_what_is_no_summary_is_refused(parts: list[bytes]) -> None:
    with pytest.raises(ServiceUnavailable):
        await fetch(*parts)


async def test_a_summary_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NODE_SUMMARY, "value", 100_000)
    before = NODE_SUMMARY.times_reached
    with pytest.raises(ServiceUnavailable, match="too long"):
        await fetch(b"HTTP/1.1 200 OK\r\n\r\n", *[b" " * 65_536] * 100)
    assert NODE_SUMMARY.times_reached == before + 1
