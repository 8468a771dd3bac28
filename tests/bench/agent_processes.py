"""Many agents in one process: the real kubelet over simulated engines, each with clients of its own over HTTPS.

Run as ``python -m bench.agent_processes PORT DATA_FOLDER NUMBER``. It reads commands from its standard input, one a
line, and answers each with a line of JSON.
"""

import asyncio
import json
import ssl
import sys
import tempfile
from pathlib import Path

import uvloop

from bench.processes import cpu_seconds, resident_megabytes
from kubelite import collector
from kubelite.api.auth.certificates import (
    Authority,
    Wanted,
    certificate_pem,
    issue,
    key_pem,
    new_key,
)
from kubelite.api.auth.pki import Pki
from kubelite.api.auth.tls import client_context
from kubelite.api.client.availability import Availability
from kubelite.api.client.remote import RemoteClient
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.networking import NetworkPolicy
from kubelite.clock import SystemClock
from kubelite.node.simulated.network import AddressPool
from kubelite.node.simulated.node import SimulatedNode
from kubelite.node.simulated.runtime import Behaviour
from kubelite.randomness import SystemRandomness

AT_ONCE = Behaviour(start_seconds=(0.0, 0.0), pull_seconds=(0.0, 0.0))
STARTS_AT_ONCE = 10


class Relay:
    """Counts the bytes of TLS, both ways, that pass between one agent and the server."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.bytes = 0
        self.connections = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        except ConnectionError:
            pass
        finally:
            self.connections -= 1
            writer.close()
            far_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(1 << 16):
            self.bytes += len(part)
            writer.write(part)
        writer.close()


class Agents:
    """Agents of one server."""

    def __init__(self, port: int, data: Path, number: int) -> None:
        self._port = port
        self._number = number
        self._clock, self._randomness = SystemClock(), SystemRandomness()
        pki = Pki.read(data / "pki", clock=self._clock, randomness=self._randomness)
        self._authority: Authority = pki.authority
        self._ca_pem = pki.ca_pem
        self._nodes: list[SimulatedNode] = []
        self.relay = Relay(port)

    async def start(self) -> None:
        """Start all, a few at once; the first one through the relay."""
        relayed = await self.relay.start()
        for first in range(0, self._number, STARTS_AT_ONCE):
            numbers = range(first, min(first + STARTS_AT_ONCE, self._number))
            await asyncio.gather(
                *(self._join(number, self._port if number else relayed) for number in numbers)
            )

    async def _join(self, number: int, port: int) -> None:
        name, url = f"agent-{number}", f"https://127.0.0.1:{port}"
        availability = Availability(url, self._randomness)
        client, network = (
            RemoteClient(
                url,
                ssl_context=self._context(user, *groups),
                randomness=self._randomness,
                availability=availability,
            )
            for user, *groups in ((f"system:node:{name}", "system:nodes"), ("system:kube-proxy",))
        )
        node = SimulatedNode(
            name,
            client,
            self._clock,
            self._randomness,
            behaviour=AT_ONCE,
            pool=AddressPool(skip=(number + 1) * 256),
            address=f"10.0.1.{number + 1}",
        )
        await node.start()
        self._nodes.append(node)
        # What service proxy, DNS and overlay of a worker watch.
        for kind in (Service, EndpointSlice, Namespace, Node, NetworkPolicy):
            await network.mirror(kind).synced()
        await network.mirror(Pod, field_selector=f"spec.nodeName={name}").synced()

    def _context(self, user: str, *groups: str) -> ssl.SSLContext:
        key = new_key()
        wanted = Wanted(user, tuple(groups))
        leaf = issue(self._authority, key.public_key(), wanted, self._clock.now(), self._randomness)
        with tempfile.NamedTemporaryFile() as pair:
            pair.write(key_pem(key) + certificate_pem(leaf, *self._authority.chain))
            pair.flush()
            return client_context(self._ca_pem, Path(pair.name))

    def figures(self) -> dict[str, float]:
        """Return what the process has used so far."""
        pid = "self"
        return {
            "bytes": self.relay.bytes,
            "connections": self.relay.connections,
            "megabytes": resident_megabytes(pid),
            "cpu_seconds": cpu_seconds(pid),
        }


async def _run(port: int, data: Path, number: int) -> None:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    agents = Agents(port, data, number)
    while command := (await reader.readline()).decode().strip():
        if command == "start":
            await agents.start()
            collector.resume()
        sys.stdout.write(json.dumps(agents.figures()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    collector.pause()
    uvloop.run(_run(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
