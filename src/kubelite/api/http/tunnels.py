"""Tunnels that nodes open, and connections to nodes and pods through them.

A node proves its name by its client certificate, never by a token or by impersonation, since a tunnel receives what is
meant for the node. The newest tunnel of a node replaces the one before, whose connection may be dead unnoticed.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from kubelite.api.auth.authorize import forbidden
from kubelite.api.auth.caller import Allowed, Authenticator, Credentials
from kubelite.api.auth.nodes import node_name
from kubelite.api.errors import BadRequest, Forbidden, ServiceUnavailable, Unauthorized
from kubelite.api.http.connection import Connection
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.dialer import (
    Backend,
    Connected,
    Dialer,
    addresses_of,
    authority_of,
    check_node,
    dialing,
)
from kubelite.api.http.dispatch import Asked
from kubelite.api.http.relay import is_upgrade
from kubelite.api.http.respond import Reply
from kubelite.api.http.wire import Sent, transport_of
from kubelite.api.registry.routes import not_allowed
from kubelite.limits import STREAM_BUFFER
from kubelite.metrics import REGISTRY
from kubelite.tunnel.mux import Mux, OpenFailed

log = logging.getLogger(__name__)

PATH = "/v1-kubelite/tunnel"
PROTOCOL = "kubelite-tunnel/1"
KUBELET = "kubelet"  # the target that every node connects to its own HTTPS endpoint
ENDED = "the server is shutting down"

_open = REGISTRY.gauge("kubelite_tunnels", "Nodes whose tunnel to this server is open.").labelled()


class Tunnels:
    """The open tunnels by node."""

    def __init__(self) -> None:
        self._by_node: dict[str, Mux] = {}
        self._is_ending = False

    def has(self, node: str) -> bool:
        """Return whether a node has an open tunnel to this server."""
        return node in self._by_node

    async def connect(self, node: str, host: str, port: int) -> socket.socket:
        """Return a connected socket to an address of a node or of a pod on it. Raises ServiceUnavailable."""
        return await self._connected(node, authority_of(host, port))

    async def connect_kubelet(self, node: str) -> socket.socket:
        """Return a connected socket to the HTTPS endpoint of a node. Raises ServiceUnavailable."""
        return await self._connected(node, KUBELET)

    async def _connected(self, node: str, target: str) -> socket.socket:
        tunnel = self._by_node.get(node)
        if tunnel is None:
            raise ServiceUnavailable(
                f"error trying to reach service: node {node} has no tunnel to this server"
            )
        try:
            return await tunnel.open(target)
        except OpenFailed as error:
            raise ServiceUnavailable(
                f"error trying to reach service: dial {target} through the tunnel of node {node}: {error}"
            ) from error

    def end(self) -> None:
        """Accept no more tunnels, and let each end with the last of its streams."""
        self._is_ending = True
        for tunnel in tuple(self._by_node.values()):
            tunnel.close()

    async def carry(
        self, node: str, connection: Connection, transport: asyncio.Transport, answer: bytes
    ) -> None:
        """Write the answer and carry the tunnel of a node until it ends. Raises ServiceUnavailable at shutdown."""
        if self._is_ending:
            raise ServiceUnavailable(ENDED)
        ended = asyncio.Event()
        reasons: list[str] = []

        def lost(reason: str) -> None:
            reasons.append(reason)
            ended.set()

        tunnel = _Carried(lost, connection)
        before = self._by_node.get(node)
        self._by_node[node] = tunnel
        _open.value = len(self._by_node)
        if before is not None:
            before.lose("the node has opened another tunnel")
        try:
            transport.write(answer)
            transport.set_protocol(tunnel)
            tunnel.connection_made(transport)
            transport.resume_reading()
            log.info("tunnel open", extra={"node": node})
            await ended.wait()
        finally:
            if self._by_node.get(node) is tunnel:
                del self._by_node[node]
            _open.value = len(self._by_node)
            tunnel.lose(ENDED)
            log.info("tunnel ended", extra={"node": node, "reason": reasons[0]})


class _Carried(Mux):
    """A tunnel over a connection that spoke HTTP, whose protocol keeps the books of all connections."""

    def __init__(self, ended: Callable[[str], None], connection: Connection) -> None:
        super().__init__(ended)
        self._connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the HTTP protocol too."""
        super().connection_lost(exc)
        self._connection.connection_lost(exc)


class TunnelEndpoint:
    """Serves the path on which nodes open their tunnels."""

    def __init__(self, tunnels: Tunnels, authenticator: Authenticator) -> None:
        self._tunnels = tunnels
        self._authenticator = authenticator

    def end(self) -> None:
        """End the tunnels, for a graceful shutdown."""
        self._tunnels.end()

    async def serve(self, asked: Asked, allowed: Allowed) -> Sent | Reply:
        """Upgrade the connection and carry the tunnel until it ends. Raises APIError before the first byte."""
        request = asked.request
        if request.method != "GET":
            raise not_allowed()
        connection: Connection = request.protocol  # type: ignore[assignment]  # made by ConnectionServer
        node = await self._proved(allowed, connection)
        if not is_upgrade(request):
            raise BadRequest("Upgrade request required")
        if request.headers["Upgrade"] != PROTOCOL:
            raise BadRequest(f"unable to upgrade: this server speaks {PROTOCOL}")
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Connection: Upgrade",
            f"Upgrade: {PROTOCOL}",
            *(f"{name}: {value}" for name, value in asked.headers),
        ]
        answer = "\r\n".join([*lines, "", ""]).encode()
        await self._tunnels.carry(node, connection, transport_of(request), answer)
        return Sent(101, keep_alive=False)

    async def _proved(self, allowed: Allowed, connection: Connection) -> str:
        """Return the node that the certificate of the connection names. Raises Forbidden.

        The certificate is authenticated alone, so that neither a token, nor a proxy's header, nor impersonation makes
        the caller of this request.
        """
        caller = allowed.caller
        refusal = forbidden(
            caller, allowed.attributes, "a tunnel is opened by a node, with its own certificate"
        )
        if connection.certificate is None:
            raise refusal
        try:
            proved = await self._authenticator.authenticate(
                Credentials(certificate=connection.certificate)
            )
        except (Unauthorized, Forbidden):
            raise refusal from None
        node = node_name(proved)
        if not node or proved != caller:
            raise refusal
        return node


class TunnelDialer:
    """Connects through the tunnel of the backend's node if there is one, else directly."""

    def __init__(
        self,
        tunnels: Tunnels,
        destinations: Destinations,
        direct: Dialer,
        refusal: Callable[[str], str] = lambda _: "",
    ) -> None:
        """`refusal` returns why nothing on a node can be connected to, "" if it can."""
        self._refusal = refusal
        self._tunnels = tunnels
        self._destinations = destinations
        self._direct = direct

    async def dial(self, backend: Backend) -> Connected:
        """Return a connection. Raises BadRequest for a forbidden address, ServiceUnavailable if it fails."""
        if problem := self._refusal(backend.node):
            raise BadRequest(problem)
        if not self._tunnels.has(backend.node):
            return await self._direct.dial(backend)
        async with dialing(backend):
            connected = await self._connect(backend)
        if backend.proves_node and backend.tls is not None:
            check_node(connected, backend)
        return connected

    async def _connect(self, backend: Backend) -> Connected:
        name = backend.server_name or backend.host
        if backend.proves_node:
            # The node connects its own endpoint. Its certificate has its name, but perhaps not the address.
            name = backend.node
            reached = await self._tunnels.connect_kubelet(backend.node)
        else:
            address, *_ = addresses = await addresses_of(backend)
            self._destinations.check(addresses, backend.port)
            reached = await self._tunnels.connect(backend.node, address, backend.port)
        try:
            return await asyncio.open_connection(
                sock=reached,
                ssl=backend.tls,
                server_hostname=name if backend.tls else None,
                limit=STREAM_BUFFER.value,
            )
        except BaseException:
            reached.close()
            raise
