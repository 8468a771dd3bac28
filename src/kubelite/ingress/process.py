"""The proxy's process: `python -m kubelite.ingress.process`, started by `front` with its sockets.

It has the listening sockets and one to its parent, and no rights beyond those: it gives up root before the first
connection. When the parent's end closes it finishes what is in flight and ends.
"""

import argparse
import asyncio
import os
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import uvloop

from kubelite.ingress.certificates import CertificateStore
from kubelite.ingress.client import ClientConnection
from kubelite.ingress.messages import (
    Certificates,
    EndpointChanges,
    Order,
    Ready,
    Routes,
    encode,
    receive,
)
from kubelite.ingress.proxy import Proxy
from kubelite.limits import INGRESS_CONNECTIONS, INGRESS_CONNECTIONS_PER_ADDRESS
from kubelite.serving.listener import Listener
from kubelite.serving.table import ConnectionTable, Slot
from kubelite.tasks import TaskSet

NOBODY = 65534
GRACE_SECONDS = 10.0
REPORT_SECONDS = 1.0
DESCRIPTORS = 65_536


class Door:
    """Makes the connections of one listener, for `serving.listener`."""

    def __init__(self, proxy: Proxy, table: ConnectionTable, *, is_https: bool, port: int) -> None:
        self._proxy = proxy
        self.table = table
        self._is_https = is_https
        self._port = port

    def connect(self, slot: Slot) -> ClientConnection:
        """Return the protocol of a new connection."""
        return ClientConnection(self._proxy, slot, is_https=self._is_https, port=self._port)

    def pre_shutdown(self) -> None:
        """Do nothing: `Proxy.stop` ends the connections."""

    async def shutdown(self, timeout: float) -> None:  # noqa: ASYNC109 - the protocol's
        """Do nothing: `Proxy.stop` ends the connections."""


async def serve(options: argparse.Namespace) -> None:
    """Serve until the parent's end of the socket closes."""
    parent = socket.socket(fileno=options.parent)
    reader, writer = await asyncio.open_unix_connection(sock=parent, limit=1 << 20)
    proxy = Proxy(https_port=options.https_port, log_file=options.log)
    certificates, tasks = CertificateStore(), TaskSet()
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    places = min(INGRESS_CONNECTIONS.value, max(1, descriptors // 3))
    table = ConnectionTable(
        INGRESS_CONNECTIONS,
        places,
        per_address=min(INGRESS_CONNECTIONS_PER_ADDRESS.value, places),
        kept=0,
    )
    listeners = [
        _listener(proxy, table, descriptor, options.http_port, None) for descriptor in options.http
    ] + [
        _listener(proxy, table, descriptor, options.https_port, certificates)
        for descriptor in options.https
    ]
    tasks.supervise(proxy.sweep, name="ingress deadlines")
    tasks.supervise(lambda: _report(proxy, writer), name="ingress counts")
    decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
    is_open = False
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            order = await receive(reader, decoder)
            match order:
                case Routes():
                    proxy.use_routes(order.routes, order.scopes)
                case EndpointChanges():
                    proxy.use_endpoints(order.changed)
                case Certificates():
                    certificates.use(order.default, order.certificates)
            if isinstance(order, Certificates) and not is_open:  # the last of the first state
                is_open = True
                for listener, accepted in listeners:
                    listener.serve(accepted, "ingress")
                writer.write(encode(Ready()))
    for listener, _ in listeners:
        listener.close()
    await proxy.stop(GRACE_SECONDS)
    for listener, _ in listeners:
        await listener.stop(0)
    await tasks.stop()


def _listener(
    proxy: Proxy,
    table: ConnectionTable,
    descriptor: int,
    port: int,
    certificates: CertificateStore | None,
) -> tuple[Listener, socket.socket]:
    door = Door(proxy, table, is_https=certificates is not None, port=port)
    context: Callable[[], ssl.SSLContext | None] = lambda: None  # noqa: E731 - one of two
    if certificates is not None:
        context = lambda: certificates.context  # noqa: E731 - one of two
    return Listener(door, context), socket.socket(fileno=descriptor)


async def _report(proxy: Proxy, writer: asyncio.StreamWriter) -> None:
    """Tell the parent what was counted; nothing while nothing was."""
    before = -1
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        counts = proxy.take_counts()
        if counts.counts or counts.malformed or counts.limits or counts.connections != before:
            before = counts.connections
            writer.write(encode(counts))
            await writer.drain()


def give_up_rights() -> None:
    """Become nobody, for good; raise the number of files before, which needs rights."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else max(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    os.chdir("/")


def main(arguments: Sequence[str]) -> None:
    """Run the proxy; every socket is an inherited descriptor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--http", type=int, action="append", default=[])
    parser.add_argument("--https", type=int, action="append", default=[])
    parser.add_argument("--http-port", type=int, default=80)
    parser.add_argument("--https-port", type=int, default=443)
    parser.add_argument("--log", type=int, default=-1)
    options = parser.parse_args(arguments)
    give_up_rights()
    uvloop.run(serve(options))


if __name__ == "__main__":
    main(sys.argv[1:])
