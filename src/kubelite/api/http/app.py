"""The HTTPS server: accepts connections, bounds them, and stops cleanly."""

import asyncio
import logging
import socket
import ssl

from kubelite.api.http.client_certificates import accept_any_client_certificate
from kubelite.api.http.connection import ConnectionServer
from kubelite.api.http.dispatch import Dispatcher, Parts
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 20_000
HANDSHAKES_MAX = 512
HANDSHAKE_TIMEOUT_SECONDS = 10.0
BACKLOG = 1024
ACCEPT_PAUSE_SECONDS = 0.1


class APIServer:
    """Serves the API over TLS (or in the clear, for tests, without an `ssl_context`)."""

    def __init__(
        self,
        parts: Parts,
        *,
        ssl_context: ssl.SSLContext | None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._ssl_context = _asking(ssl_context)
        self._dispatcher = Dispatcher(parts)
        self._connections_max = connections_max
        self._server: ConnectionServer | None = None
        self._listeners: list[socket.socket] = []
        self._tasks = TaskSet()
        self._handshakes: dict[socket.socket, asyncio.Task[None]] = {}  # oldest first

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """What new connections use; it may be replaced at run time."""
        return self._ssl_context

    @ssl_context.setter
    def ssl_context(self, context: ssl.SSLContext | None) -> None:
        self._ssl_context = _asking(context)

    @property
    def watch_count(self) -> int:
        """How many watches are under way."""
        return self._dispatcher.watches.count

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port (`port` 0 takes a free one). Raises OSError when the address is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        await self.serve(listener)
        bound: int = listener.getsockname()[1]
        return bound

    async def serve(self, listener: socket.socket) -> None:
        """Accept what comes to a listening socket."""
        self._server = ConnectionServer(
            self._dispatcher.answer, connections_max=self._connections_max
        )
        listener.setblocking(False)
        self._listeners.append(listener)
        self._tasks.supervise(lambda: self._accept(listener), name="accept API connections")

    async def stop(self, grace_seconds: float = 2.0) -> None:
        """Accept no more, end watches as if their time was up, let the rest finish within the grace period."""
        for listener in self._listeners:
            listener.close()
        self._dispatcher.watches.end()
        if self._server is not None:
            self._server.pre_shutdown()
            await self._server.shutdown(grace_seconds)
        await self._tasks.stop()
        self._listeners.clear()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while listener.fileno() >= 0:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                if listener.fileno() < 0:
                    return
                # Out of file descriptors or memory: give those that finish the time to free some.
                log.warning("cannot accept a connection", extra={"error": str(error)})
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            if len(self._handshakes) >= HANDSHAKES_MAX:
                # The one that takes longest goes, so that idle connections keep nobody else out.
                next(iter(self._handshakes.values())).cancel()
            self._handshakes[accepted] = self._tasks.start(
                self._connect(accepted), name="TLS handshake"
            )

    async def _connect(self, accepted: socket.socket) -> None:
        assert self._server is not None
        loop = asyncio.get_running_loop()
        tls = self._ssl_context
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.connect_accepted_socket(
                self._server,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_SECONDS if tls else None,
            )
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
            accepted.close()
            log.debug("TLS handshake failed", extra={"error": str(error)})
        except asyncio.CancelledError:
            accepted.close()
            raise
        finally:
            self._handshakes.pop(accepted, None)


def _asking(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if context is not None and not accept_any_client_certificate(context):
        log.debug("client certificates of foreign authorities will break the handshake")
    return context
