"""The cluster's DNS server on one node, by UDP and TCP."""

import asyncio
import errno
import logging
from collections.abc import Sequence
from typing import cast

from kubelite.api.client.events import EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.limits import DNS_CONNECTIONS, DNS_IDLE_SECONDS, DNS_UNDER_WAY
from kubelite.net.dns_settings import FollowedConfig
from kubelite.net.dns_wire import Query
from kubelite.net.records import ZoneSettings
from kubelite.net.resolver import Resolver
from kubelite.net.upstream import Upstream
from kubelite.net.zone import MirroredZone
from kubelite.offload import Offload
from kubelite.serving.table import ConnectionTable
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)


class CannotListen(Exception):
    """An address to listen on is in use, absent on the host or not permitted."""


class DNSServer:
    """Answers at `addresses`, (address, port) each; the mirrors' names and, through `upstream`, all others."""

    def __init__(
        self,
        client: Client,
        upstream: Upstream,
        settings: ZoneSettings,
        addresses: Sequence[tuple[str, int]],
        offload: Offload,
        events: EventRecorder,
    ) -> None:
        self._zone = MirroredZone(client)
        self._upstream = upstream
        self._resolver = Resolver(self._zone, settings, upstream)
        self._config = FollowedConfig(client, self._resolver.configure, offload, events)
        self._addresses = tuple(addresses)
        self._transports: list[asyncio.DatagramTransport] = []
        self._servers: list[asyncio.Server] = []
        self._tasks = TaskSet()
        self._connections = ConnectionTable(
            DNS_CONNECTIONS, DNS_CONNECTIONS.value, per_address=DNS_CONNECTIONS.value // 10, kept=0
        )

    async def start(self) -> None:
        """Bind the sockets. Names of the cluster get SERVFAIL until `run` has synced. Raises CannotListen."""
        loop = asyncio.get_running_loop()
        for address, port in self._addresses:
            try:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: Datagrams(self._resolver, self._tasks), local_addr=(address, port)
                )
                self._transports.append(transport)
                bound = transport.get_extra_info("sockname")
                self._servers.append(
                    await asyncio.start_server(self._converse, address, bound[1], backlog=128)
                )
            except OSError as error:
                await self.stop()
                reason = errno.errorcode.get(error.errno or 0, "")
                raise CannotListen(
                    f"cannot answer DNS on {address}:{port}: {error.strerror or error} {reason}"
                ) from error

    @property
    def bound(self) -> list[tuple[str, int]]:
        """The bound addresses, (address, port) each."""
        return [transport.get_extra_info("sockname") for transport in self._transports]

    async def run(self) -> None:
        """Follow services, slices, namespaces and the settings until cancelled."""
        await self._zone.synced()
        await self._config.first()
        unsubscribe = self._zone.subscribe(self._resolver.forget)
        try:
            self._resolver.is_ready = True
            self._resolver.forget()
            await self._config.run()
        finally:
            self._resolver.is_ready = False
            for end in unsubscribe:
                end()

    async def stop(self) -> None:
        """Close the sockets and all connections."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        await self._tasks.stop()
        await self._upstream.stop()
        self._transports, self._servers = [], []

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the questions of one TCP connection in order (RFC 7766)."""
        peer = writer.get_extra_info("peername")
        slot = self._connections.admit(str(peer[0]) if peer else "")
        if slot is None:
            writer.close()
            return
        is_idle = True
        slot.is_idle = lambda: is_idle
        slot.close = writer.transport.abort
        try:
            while True:
                async with asyncio.timeout(DNS_IDLE_SECONDS.value):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    data = await reader.readexactly(size)
                is_idle = False
                async with asyncio.timeout(DNS_IDLE_SECONDS.value):
                    response = await self._resolver.answer_by_tcp(data)
                if response is None:
                    return
                writer.write(len(response).to_bytes(2, "big") + response)
                async with asyncio.timeout(DNS_IDLE_SECONDS.value):
                    await writer.drain()
                is_idle = True
        except (EOFError, TimeoutError, OSError):
            return
        finally:
            slot.release()
            writer.close()


class Datagrams(asyncio.DatagramProtocol):
    """One UDP socket."""

    def __init__(self, resolver: Resolver, tasks: TaskSet) -> None:
        self._resolver = resolver
        self._tasks = tasks
        self._under_way = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # not all loops' transports inherit from the class they act as
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        found = self._resolver.answer_at_once(data)
        if isinstance(found, bytes):
            self._send(found, address)
        elif found is not None:
            if self._under_way >= DNS_UNDER_WAY.value:
                DNS_UNDER_WAY.reached()
                return
            self._under_way += 1
            self._tasks.start(self._answer_later(data, found, address), name="dns question")

    def error_received(self, error: Exception) -> None:
        log.debug("cannot send a DNS answer", extra={"reason": str(error)})

    async def _answer_later(self, data: bytes, query: Query, address: tuple[str, int]) -> None:
        try:
            self._send(await self._resolver.answer_later(data, query), address)
        finally:
            self._under_way -= 1

    def _send(self, data: bytes, address: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, address)
