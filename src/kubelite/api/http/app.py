"""The HTTPS server of the API: a dispatcher behind a listener, with graceful shutdown."""

import logging
import socket
import ssl
from collections.abc import Callable

from kubelite.api.http.client_certificates import accept_any_client_certificate
from kubelite.api.http.connection import Connection
from kubelite.api.http.dispatch import Dispatcher, Parts
from kubelite.limits import API_CONNECTIONS
from kubelite.serving.connection import ConnectionServer
from kubelite.serving.descriptors import own_shares
from kubelite.serving.listener import Listener, without_renegotiation
from kubelite.serving.table import ConnectionTable

log = logging.getLogger(__name__)


class APIServer:
    """Serves the API over TLS; without an `ssl_context` in plain text, for tests."""

    def __init__(
        self,
        parts: Parts,
        *,
        ssl_context: ssl.SSLContext | None,
        connections: ConnectionTable | None = None,
    ) -> None:
        """Without `connections` the file descriptor limit of the process bounds their number."""
        self._ssl_context = _asking(ssl_context)
        self._dispatcher = Dispatcher(parts)
        if connections is None:
            connections = ConnectionTable(API_CONNECTIONS, own_shares().api)
        self.connections = connections
        self._server: ConnectionServer | None = None
        self._listener: Listener | None = None

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context of new connections; it may be replaced at run time."""
        return self._ssl_context

    @ssl_context.setter
    def ssl_context(self, context: ssl.SSLContext | None) -> None:
        self._ssl_context = _asking(context)

    @property
    def watch_count(self) -> int:
        """The number of watches in flight."""
        return self._dispatcher.watches.count

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port; `port` 0 picks a free one. Raises OSError if the address is taken."""
        return self._serving().open(host, port, "API")

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections on a listening socket."""
        self._serving().serve(listener, "API")

    def _serving(self) -> Listener:
        if self._listener is None:
            self._server = ConnectionServer(
                self._dispatcher.answer, self.connections, connection=Connection
            )
            self._listener = Listener(self._server, lambda: self._ssl_context)
        return self._listener

    def drop(self, counts: Callable[[bytes], bool]) -> None:
        """Abort the connections, watches and tunnels included, whose client certificate does not count any longer."""
        for connection in self._server.connections if self._server is not None else ():
            assert isinstance(connection, Connection)
            if connection.certificate is not None and not counts(connection.certificate):
                connection.abort()

    async def stop(self, grace_seconds: float = 2.0) -> None:
        """Shut down gracefully: close the listener, end watches and tunnels, give requests `grace_seconds`."""
        if self._listener is not None:
            self._listener.close()
        self._dispatcher.end()
        if self._listener is not None:
            await self._listener.stop(grace_seconds)


def _asking(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    without_renegotiation(context)
    if context is not None and not accept_any_client_certificate(context):
        log.debug("client certificates of foreign authorities will break the handshake")
    return context
