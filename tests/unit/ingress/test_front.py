"""The proxy's process: started with its sockets, told what changes, started again when it dies."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubelite.api.auth.self_signed import self_signed
from kubelite.ingress.front import Front, FrontSettings, PortTaken, open_port
from kubelite.ingress.messages import Counts
from kubelite.ingress.routes import Backend, Route
from unit.ingress.bed import KEY, bed, saying, sized


@asynccontextmanager
async def running(front: Front) -> AsyncIterator[None]:
    task = asyncio.create_task(front.run())
    try:
        async with asyncio.timeout(20):
            await front.ready.wait()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    try:
        return (await reader.read()).split()[1]
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_process_serves_what_it_is_told_and_is_started_again(tmp_path: Path) -> None:
    counted: list[Counts] = []
    log = tmp_path / "access.log"
    settings = FrontSettings(0, -1, "127.0.0.1", str(log))
    async with bed() as one:
        address = await one.backend(saying(sized(b"ok")))
        front = Front(settings, counted=counted.append)
        front.use_routes([Route(owner="default/web", backends=(Backend(KEY),))])
        front.use_certificates(self_signed("x", datetime.now(UTC)), [])
        async with running(front):
            port, first = front.ports["http"], front.pid
            assert await ask(port) == b"503"
            front.use_endpoints({KEY: (address,)})
            while await ask(port) != b"200":
                await asyncio.sleep(0.01)
            while not any(count.status_class == 2 for one in counted for count in one.counts):
                await asyncio.sleep(0.01)
            os.kill(first, signal.SIGKILL)
            assert await ask(port) == b"200"  # waits in the socket
            assert front.pid != first
            front.use_endpoints({KEY: ()})
            while await ask(port) != b"503":
                await asyncio.sleep(0.01)
    with pytest.raises(ConnectionRefusedError):
        await ask(port)
    lines = log.read_text().splitlines()
    assert lines[0].split()[:5] == ["127.0.0.1", "GET", "web/x", "503", "0"]
    assert lines[0].endswith(" default/web")
    assert log.stat().st_mode & 0o777 == 0o640


def test_a_port_in_use_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTaken):
        open_port("127.0.0.1", taken.getsockname()[1])
