"""The streaming server of an engine: it takes a connection over, and its side of SPDY is that of kubelite itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from msgspec import json

from kubelite.node.spdy import SPDYConnection, SPDYStream
from kubelite.node.streams import exited

Streams = dict[str, SPDYStream]
Serve = Callable[[Streams], Awaitable[None]]
TOKEN = "/exec/tOkEn"
REFUSAL = b"HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\n404 page missing"
UPGRADE = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
)


async def end(streams: Streams, code: int) -> None:
    """End as engines do: the Status, then a reset of each stream."""
    await streams["error"].write(json.encode(exited(code)))
    for stream in streams.values():
        await stream.reset()


class StreamingEngine:
    """Serves one kind of process at `url`."""

    def __init__(self, serve: Serve, names: set[str], answer: bytes) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        self.unread_bytes = 0
        self._serve = serve
        self._names = names
        self._answer = answer
        self.serving: set[asyncio.Task[None]] = set()
        self.asked = asyncio.Event()  # set when it has something to send
        self.answers = asyncio.Event()  # cleared: it sends nothing
        self.answers.set()
        self.was_left = False  # whether a client was gone when something was sent to it

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.create_task(self._connected(reader, writer)))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self._answer)

        async def send(data: bytes) -> None:
            self.asked.set()
            await self.answers.wait()
            self.was_left |= reader.at_eof() or writer.transport.is_closing()
            writer.write(data)
            await writer.drain()

        connection = SPDYConnection(send)

        async def feed() -> None:
            with suppress(OSError):
                while data := await reader.read(65536):
                    await connection.feed(data)
            connection.feed_end()

        try:
            async with asyncio.TaskGroup() as group:
                if self._answer == UPGRADE:
                    feeding = group.create_task(feed())
                    streams: Streams = {}
                    while streams.keys() != self._names:
                        stream = await connection.accept()
                        if stream is None:
                            break
                        streams[stream.headers["streamtype"]] = stream
                    else:
                        await self._serve(streams)
                    feeding.cancel()
        finally:
            writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def streaming_engine(
    serve: Serve, *names: str, answer: bytes = UPGRADE
) -> AsyncIterator[StreamingEngine]:
    """Run a streaming server that expects the streams `names` beside the error stream."""
    engine = StreamingEngine(serve, {"error", *names}, answer)
    server = await asyncio.start_server(engine.connected, "127.0.0.1", 0)
    engine.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{TOKEN}"
    try:
        yield engine
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*engine.serving)
