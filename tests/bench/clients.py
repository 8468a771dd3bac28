"""Bare HTTP clients, cheap enough to share the cores with the server they measure."""

import asyncio
import base64
import json
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml
from testbed.hosts import Server

from bench.report import Figure

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def administrator(kubeconfig: Path) -> ssl.SSLContext:
    """Return the TLS context of the administrator in a kubeconfig."""
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.check_hostname = False
    pair = kubeconfig.with_name("client.pem")
    with os.fdopen(os.open(pair, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
        file.write(base64.b64decode(user["client-key-data"]))
    context.load_cert_chain(pair)
    return context


class Connection:
    """One connection that sends a request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext) -> "Connection":
        """Connect to a server on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))

    async def post(self, path: str, body: bytes) -> None:
        """Create an object; raises RuntimeError unless it was created."""
        self._writer.write(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None
        answer = await self.reader.readexactly(int(length[1]))
        if b" 201 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"cannot create: {answer.decode()}")

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


class Watcher(asyncio.Protocol):
    """A watch that counts what it is told, with no more work than that."""

    def __init__(self, path: str, events: int) -> None:
        self._path = path
        self._left = events
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = loop.create_future()
        self.complete: asyncio.Future[None] = loop.create_future()

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext, path: str, events: int) -> "Watcher":
        """Begin a watch that is complete after so many added objects."""
        loop = asyncio.get_running_loop()
        _, watcher = await loop.create_connection(
            lambda: cls(path, events), "127.0.0.1", port, ssl=context
        )
        await watcher.begun
        return watcher

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's are not registered as such
        self._transport.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % self._path.encode())

    def data_received(self, data: bytes) -> None:
        """Count; the first data is the head of the answer."""
        if not self.begun.done():
            if not data.startswith(b"HTTP/1.1 200 "):
                self.begun.set_exception(RuntimeError(f"no watch: {data!r}"))
                return
            self.begun.set_result(None)
        self._left -= data.count(b'{"type":"ADDED"')
        if self._left <= 0 and not self.complete.done():
            self.complete.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, unless all has been told."""
        if not self.complete.done():
            self.complete.set_exception(RuntimeError("a watcher was dropped"))

    def close(self) -> None:
        """End the watch."""
        assert self._transport is not None
        self._transport.abort()


async def post_all(
    server: Server,
    context: ssl.SSLContext,
    path: str,
    bodies: Iterator[dict[str, Any]],
    clients: int,
) -> None:
    """Create objects from some connections at once."""

    async def write() -> None:
        connection = await Connection.open(server.port, context)
        for body in bodies:
            await connection.post(path, json.dumps(body).encode())
        connection.close()

    await asyncio.gather(*(write() for _ in range(clients)))


def loop_lag(server: Server, part: str) -> Figure:
    """Return the loop lag that a server has counted since its start."""
    text = server.kubectl("get", "--raw", "/metrics")
    buckets = re.findall(r'loop_lag_seconds_bucket\{le="([\d.e+-]+)"\} ([\d.e+]+)', text)
    total = max((float(count) for _, count in buckets), default=0.0)
    within = [float(bound) for bound, count in buckets if float(count) >= total * 0.99]
    return Figure(f"{part}: loop lag in all of it, p99 is below", within[0] * 1e3, "ms", "< 10")
