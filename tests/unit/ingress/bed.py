"""A proxy and scripted backends on loopback, in the loop of a test."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from kubelite.ingress.client import ClientConnection
from kubelite.ingress.proxy import Proxy
from kubelite.ingress.routes import Backend, Route
from kubelite.limits import INGRESS_CONNECTIONS
from kubelite.serving.listener import Listener
from kubelite.serving.table import ConnectionTable, Slot

KEY = "default/web:80"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Door:
    """Makes connections as the proxy's process does."""

    def __init__(self, proxy: Proxy, *, is_https: bool) -> None:
        self.proxy = proxy
        self.table = ConnectionTable(INGRESS_CONNECTIONS, 1000, per_address=1000, kept=0)
        self.is_https = is_https

    def connect(self, slot: Slot) -> ClientConnection:
        return ClientConnection(self.proxy, slot, is_https=self.is_https, port=80)

    def pre_shutdown(self) -> None: ...

    async def shutdown(self, timeout: float) -> None: ...


class Bed:
    """One proxy; by default every request goes to `KEY`."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        self.port = port
        self.servers: list[asyncio.Server] = []
        self.handlers: set[asyncio.Task[None]] = set()

    def route(self, *routes: Route, **more: object) -> None:
        every = Route(owner="default/web", backends=(Backend(KEY),), **more)  # type: ignore[arg-type]  # fields by name
        self.proxy.use_routes(routes or (every,))

    async def backend(self, handler: Handler) -> str:
        """Start a backend; return its address."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.handlers.add(task := asyncio.current_task())  # type: ignore[arg-type]  # there is one
            try:
                with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                    await handler(reader, writer)
            finally:
                self.handlers.discard(task)
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, limit=1 << 20)
        self.servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def use(self, *addresses: str) -> None:
        self.proxy.use_endpoints({KEY: addresses})

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> bytes:
        """Send a request that ends its connection, and return all that comes."""
        reader, writer = await self.open()
        writer.write(request)
        try:
            return await reader.read()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def bed(tls: ssl.SSLContext | None = None, *, log_file: int = -1) -> AsyncIterator[Bed]:
    proxy = Proxy(log_file=log_file)
    listener = Listener(Door(proxy, is_https=tls is not None), lambda: tls)
    port = listener.open("127.0.0.1", 0, "test")
    found = Bed(proxy, port)
    found.route()
    try:
        yield found
    finally:
        await listener.stop(0)
        await proxy.stop(0)
        for server in found.servers:
            server.close()
        while found.handlers:
            tasks = tuple(found.handlers)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def saying(answer: bytes, heads: list[bytes] | None = None) -> Handler:
    """Return a backend that gives one answer to each request without a body."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await head_of(reader)
                if heads is not None:
                    heads.append(head)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return handle


def sized(content: bytes, status: bytes = b"200 OK", lines: Sequence[bytes] = ()) -> bytes:
    more = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(content), content)
