"""What an engine sends, line by line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from kubelite.clock import SystemClock
from kubelite.limits import ENGINE_LINE
from kubelite.node.container_owner import ContainerOwner
from kubelite.node.docker import DockerRuntime, lines_of
from kubelite.node.runtime import Resynced, RuntimeFailure


async def _pieces(whole: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
async def test_lines_come_out_of_any_pieces(size: int) -> None:
    whole = b'{"a":1}\r\n\n{"b":2}\n  \n{"c":3}'
    found = [line async for line in lines_of(_pieces(whole, size))]
    assert found == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


async def test_a_line_without_end_is_given_up() -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1000
            yield b"x" * 1000

    with pytest.raises(RuntimeFailure, match="too long a line"):
        [line async for line in lines_of(endless())]
    assert given <= ENGINE_LINE.value + 1000


class EndlessEngine:
    """An engine without containers whose stream of events never ends."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        )
        while head := await reader.read(4096):
            path = head.split(b" ", 2)[1]
            if b"/events" in path:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                assert await reader.read() == b""
                self.left.set()
                break
            body = b'{"ApiVersion":"1.41","Version":"20"}' if b"/version" in path else b"[]"
            writer.write(with_body % (len(body), body))
        writer.close()


async def test_a_stream_that_is_given_up_leaves_the_engine_at_once(tmp_path: Path) -> None:
    engine, socket = EndlessEngine(), tmp_path / "docker.sock"
    server = await asyncio.start_unix_server(engine.answer, socket)
    owner = ContainerOwner("owner", "node-1", tmp_path)
    runtime = DockerRuntime(socket, owner, "amd64", SystemClock())
    async with aclosing(runtime.events()) as events:
        assert await anext(events) == Resynced(())
    async with asyncio.timeout(10):  # not when the collector finds the connection
        await engine.left.wait()
    await runtime.close()
    server.close()
