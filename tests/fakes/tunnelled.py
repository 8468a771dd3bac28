"""Both ends of a tunnel in one process, over a socket pair, and a server behind it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from msgspec import Struct

from kubelite.tunnel.mux import Mux, TargetRefused

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Ends(Struct):
    """The ends of a tunnel and why each ended."""

    server: Mux
    node: Mux
    reasons: list[str]

    async def open(self, target: str = "echo") -> Connected:
        return await asyncio.open_connection(sock=await self.server.open(target))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, and end when it ends."""
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Serve on a loopback port, which it yields; whatever is still being served is cut off at the end."""
    serving: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        serving.add(asyncio.ensure_future(work(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@asynccontextmanager
async def tunnel(**servers: Serve) -> AsyncIterator[Ends]:
    """Connect two ends; each of `servers` is a target by its name."""
    loop = asyncio.get_running_loop()
    ports: dict[str, int] = {}
    reasons: list[str] = []

    def resolve(target: str) -> tuple[str, int]:
        if target not in ports:
            raise TargetRefused("address not allowed")
        return "127.0.0.1", ports[target]

    async with AsyncExitStack() as running:
        for name, serve in {"echo": echo, **servers}.items():
            ports[name] = await running.enter_async_context(listening(serve))
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            ports["closed"] = closed.getsockname()[1]
        left, right = socket.socketpair()
        ends = Ends(Mux(reasons.append), Mux(reasons.append, resolve), reasons)
        await loop.connect_accepted_socket(lambda: ends.server, left)
        await loop.connect_accepted_socket(lambda: ends.node, right)
        try:
            yield ends
        finally:
            ends.server.lose("the test ends")
            ends.node.lose("the test ends")
            await asyncio.sleep(0)
