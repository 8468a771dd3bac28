"""Answers the health checks of external load balancers: has this node endpoints of a service (`healthCheckNodePort`)?

A service with the external policy Local must only be sent to nodes that have an endpoint; a balancer asks each node.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from kubelite.limits import HEALTH_CONNECTIONS, HEALTH_SECONDS
from kubelite.net.families import IPV4
from kubelite.serving.table import ConnectionTable

log = logging.getLogger(__name__)

REQUEST_LIMIT_BYTES = 8192


class LocalEndpoints(Struct, frozen=True):
    """How many endpoints of a service are on this node."""

    namespace: str
    name: str
    count: int


def response(endpoints: LocalEndpoints) -> bytes:
    """Return the HTTP answer, in the form in which kube-proxy gives it."""
    body = msgspec.json.encode(
        {
            "service": {"namespace": endpoints.namespace, "name": endpoints.name},
            "localEndpoints": endpoints.count,
            "serviceProxyHealthy": True,
        }
    )
    status = b"200 OK" if endpoints.count else b"503 Service Unavailable"
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        b"X-Load-Balancing-Endpoint-Weight: %d\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
        % (status, endpoints.count, len(body), body)
    )


class HealthPorts:
    """One listening socket per port, on all addresses of the node."""

    def __init__(self, hosts: Sequence[str] = (IPV4.anywhere,)) -> None:
        """`hosts` are the addresses to listen on, one of each family of the cluster."""
        self._hosts = list(hosts)
        self._endpoints: dict[int, LocalEndpoints] = {}
        self._servers: dict[int, asyncio.Server] = {}
        self._connections = ConnectionTable(HEALTH_CONNECTIONS, HEALTH_CONNECTIONS.value, kept=0)

    async def follow(self, wanted: Mapping[int, LocalEndpoints]) -> None:
        """Listen on exactly the ports of `wanted`; binding one that is in use is retried by the next call."""
        self._endpoints = dict(wanted)
        for port in self._servers.keys() - wanted.keys():
            self._servers.pop(port).close()
        for port in sorted(wanted.keys() - self._servers.keys()):
            await self._listen(port)

    async def stop(self) -> None:
        """Stop answering on all ports."""
        await self.follow({})

    async def _listen(self, port: int) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._answer(port, reader, writer)

        try:
            self._servers[port] = await asyncio.start_server(
                answer,
                self._hosts,
                port,
                limit=REQUEST_LIMIT_BYTES,
            )
        except OSError as error:
            found = self._endpoints[port]
            log.warning(
                "cannot listen on a health check node port",
                extra={
                    "service": f"{found.namespace}/{found.name}",
                    "port": port,
                    "reason": error.strerror or str(error),
                },
            )

    async def _answer(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = writer.get_extra_info("peername")
        slot = self._connections.admit(str(peer[0]) if peer else "")
        if slot is None:
            writer.close()
            return
        try:
            async with asyncio.timeout(HEALTH_SECONDS.value):
                await reader.readuntil(b"\r\n\r\n")
                endpoints = self._endpoints.get(port)
                if endpoints is not None:
                    writer.write(response(endpoints))
                    await writer.drain()
        except (EOFError, OSError, TimeoutError, asyncio.LimitOverrunError):
            return
        finally:
            slot.release()
            writer.close()
