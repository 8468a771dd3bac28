"""The program that passes connections to published ports of the machine on to the nodes of a cluster.

    python -m kubelite.clusters.forward_program FOLDER

It notes itself in the folder of the cluster once it listens on all of its ports.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from kubelite.clusters.plan import Plan, Port
from kubelite.clusters.state import Folder, process_of
from kubelite.limits import CLUSTER_CONNECTIONS

PORTS = "ports"  # the folder of its process, beside those of nodes
PIECE_BYTES = 1 << 16
CONNECT_SECONDS = 10.0


class Forwarder:
    """Listens on one port and passes connections on."""

    def __init__(self, port: Port, address: str) -> None:
        self._port = port
        self._address = address
        self.connections = 0

    async def listen(self) -> asyncio.Server:
        """Listen. Raises OSError."""
        return await asyncio.start_server(
            self._accepted, self._port.host_ip, self._port.host_port, limit=PIECE_BYTES
        )

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.connections >= CLUSTER_CONNECTIONS.value:
            CLUSTER_CONNECTIONS.reached()
            writer.transport.abort()
            return
        self.connections += 1
        try:
            await self._pass_on(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()  # the node does not answer, or either side broke off
        finally:
            self.connections -= 1

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            there, back = await asyncio.open_connection(
                self._address, self._port.port, limit=PIECE_BYTES
            )
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, back))
                both.create_task(_copy(there, writer))
        except* OSError:
            writer.transport.abort()
        finally:
            for each in (back, writer):
                each.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(PIECE_BYTES):
        sink.write(piece)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()


async def forward(plan: Plan, folder: Folder) -> None:
    """Pass connections on until SIGTERM. Raises OSError if a port cannot be had."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with contextlib.AsyncExitStack() as stack:
        for port in plan.ports:
            server = await Forwarder(port, plan.node(port.node).address).listen()
            stack.callback(server.close)
        own = process_of(os.getpid())
        assert own is not None
        folder.note(PORTS, own)
        await ended.wait()


def main(path: str) -> None:
    """Run the program; what fails is said in its log."""
    folder = Folder(Path(path))
    plan = folder.read()
    if plan is None:
        sys.exit(f"kubelite: there is no cluster in {path}")
    try:
        asyncio.run(forward(plan, folder))
    except OSError as error:
        sys.exit(f"kubelite: cannot publish the ports of cluster {plan.name}: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
