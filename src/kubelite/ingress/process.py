"""The proxy's process: `python -m kubelite.ingress.process`, started by `front` with its sockets.

It has the listening sockets, which its parent hands over, and two to its parent, and no rights beyond those: it gives
up root before the first connection. When the parent's end closes it finishes what is in flight and ends.
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
from functools import partial

import msgspec
import uvloop

from kubelite.ingress.certificates import CertificateStore
from kubelite.ingress.client import ClientConnection
from kubelite.ingress.messages import (
    Certificates,
    EndpointChanges,
    Order,
    Port,
    Ports,
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
    """Makes the connections of one port, for `serving.listener`."""

    def __init__(self, proxy: Proxy, table: ConnectionTable, port: Port) -> None:
        self._proxy = proxy
        self.table = table
        self._port = port

    def connect(self, slot: Slot) -> ClientConnection:
        """Return the protocol of a new connection."""
        port = self._port
        return ClientConnection(
            self._proxy, slot, is_https=port.is_https, port=port.number, is_extra=port.is_extra
        )

    def pre_shutdown(self) -> None:
        """Do nothing: `Proxy.stop` ends the connections."""

    async def shutdown(self, timeout: float) -> None:  # noqa: ASYNC109 - the protocol's
        """Do nothing: `Proxy.stop` ends the connections."""


class Doors:
    """The open ports, which come and go with the listeners of Gateways."""

    def __init__(
        self, proxy: Proxy, table: ConnectionTable, certificates: CertificateStore, sockets: int
    ) -> None:
        """`sockets` is the descriptor by which the parent hands over the socket of each port."""
        self._proxy = proxy
        self._table = table
        self._certificates = certificates
        self._handed = socket.socket(fileno=sockets)
        self._listeners: dict[Port, Listener] = {}
        self._closed: list[Listener] = []

    def change(self, ports: Ports) -> None:
        """Open and close ports. Connections of closed ones may finish."""
        for port in ports.closed:
            if (listener := self._listeners.pop(port, None)) is not None:
                listener.close()
                self._closed.append(listener)
                self._proxy.leave(port.number)
        for port in ports.opened:
            _, descriptors, _, _ = socket.recv_fds(self._handed, 1, 1)
            context: Callable[[], ssl.SSLContext | None] = lambda: None  # noqa: E731 - one of two
            if port.is_https:
                context = partial(
                    self._certificates.context_of, port.number, is_extra=port.is_extra
                )
            listener = Listener(Door(self._proxy, self._table, port), context)
            listener.serve(socket.socket(fileno=descriptors[0]), "ingress")
            self._listeners[port] = listener

    def close(self) -> None:
        """Accept no further connections."""
        for listener in self._listeners.values():
            listener.close()

    async def stop(self) -> None:
        """End the listeners."""
        for listener in (*self._listeners.values(), *self._closed):
            await listener.stop(0)
        self._handed.close()


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
    doors = Doors(proxy, table, certificates, options.sockets)
    tasks.supervise(proxy.sweep, name="ingress deadlines")
    tasks.supervise(lambda: _report(proxy, writer), name="ingress counts")
    decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
    is_open = False
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            match await receive(reader, decoder):
                case Routes() as order:
                    proxy.use_routes(order.routes, order.scopes)
                case EndpointChanges() as order:
                    proxy.use_endpoints(order.changed, order.speeches)
                case Certificates() as order:
                    certificates.use(order.default, order.certificates)
                case Ports() as order:
                    doors.change(order)
                    if not is_open:  # the last of the first state
                        is_open = True
                        writer.write(encode(Ready()))
    doors.close()
    await proxy.stop(GRACE_SECONDS)
    await doors.stop()
    await tasks.stop()


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
    parser.add_argument("--sockets", type=int, required=True)
    parser.add_argument("--https-port", type=int, default=443)
    parser.add_argument("--log", type=int, default=-1)
    options = parser.parse_args(arguments)
    give_up_rights()
    uvloop.run(serve(options))


if __name__ == "__main__":
    main(sys.argv[1:])
