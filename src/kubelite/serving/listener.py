"""Accepts connections on a socket and performs the TLS handshake, within the bounds of a connection table.

A connection takes its place when it is accepted, so handshakes count too. A flood of handshakes is bounded by the
places and the handshakes in flight of each address, and by a deadline. Renegotiation is off, so a connection has one
handshake.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from kubelite.limits import HANDSHAKE_SECONDS, HANDSHAKES, HANDSHAKES_PER_ADDRESS
from kubelite.serving.table import LOOPBACK, ConnectionTable, Slot
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

BACKLOG = 1024
ACCEPT_PAUSE_SECONDS = 0.1

Handshakes = dict[str, dict[Slot, "asyncio.Task[bool]"]]  # by source, oldest first


class Server(Protocol):
    """Makes the protocol of each connection that its table admitted, and ends them."""

    table: ConnectionTable

    def connect(self, slot: Slot) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        ...

    def pre_shutdown(self) -> None:
        """Close the connections that are idle."""
        ...

    async def shutdown(self, timeout: float) -> None:  # noqa: ASYNC109 - as aiohttp's
        """Let the other connections finish, and end them after `timeout` seconds."""
        ...


class Listener:
    """Serves the connections of listening sockets."""

    def __init__(self, server: Server, tls: Callable[[], ssl.SSLContext | None]) -> None:
        """`tls` is called on each connection, so that its context can be replaced; None serves plain text."""
        self._server = server
        self._tls = tls
        self._listeners: list[socket.socket] = []
        self._tasks = TaskSet()
        self._handshakes: Handshakes = {}

    def open(self, host: str, port: int, name: str) -> int:
        """Listen and return the port; `port` 0 picks a free one. Raises OSError if the address is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        is_both = host == "::"  # all addresses are those of IPv4 too, as with any other server
        listener = socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=is_both
        )
        self.serve(listener, name)
        bound: int = listener.getsockname()[1]
        return bound

    def serve(self, listener: socket.socket, name: str) -> None:
        """Accept connections on a listening socket; `name` names the task."""
        listener.setblocking(False)
        self._listeners.append(listener)
        self._tasks.supervise(lambda: self._accept(listener), name=f"accept {name} connections")

    def close(self) -> None:
        """Close the listening sockets; open connections stay."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def stop(self, grace_seconds: float) -> None:
        """Shut down gracefully: close the sockets and let requests finish within `grace_seconds`."""
        self.close()
        self._server.pre_shutdown()
        await self._server.shutdown(grace_seconds)
        await self._tasks.stop()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while listener.fileno() >= 0:
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:
                if listener.fileno() < 0:
                    return
                # Out of file descriptors or memory, so pause until other connections free some.
                log.warning("cannot accept a connection", extra={"error": str(error)})
                await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                continue
            slot = self._server.table.admit(str(address[0]) if address else "")
            if slot is None:
                accepted.close()
                continue
            self._make_room(slot.source)
            task = self._tasks.start(self._connect(accepted, slot), name="TLS handshake")
            self._handshakes.setdefault(slot.source, {})[slot] = task
            task.add_done_callback(lambda task, a=accepted, s=slot: self._connected(task, a, s))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults

    def _make_room(self, source: str) -> None:
        """Cancel a handshake if there are too many: the oldest of the source, or of the source with the most."""
        own = self._handshakes.get(source, {})
        if len(own) >= HANDSHAKES_PER_ADDRESS.value and source != LOOPBACK:
            HANDSHAKES_PER_ADDRESS.reached()
            self._end(own)
        elif sum(map(len, self._handshakes.values())) >= HANDSHAKES.value:
            HANDSHAKES.reached()
            self._end(max(self._handshakes.values(), key=len))

    def _end(self, handshakes: dict[Slot, "asyncio.Task[bool]"]) -> None:
        slot = next(iter(handshakes))
        handshakes.pop(slot).cancel()

    async def _connect(self, accepted: socket.socket, slot: Slot) -> bool:
        """Perform the TLS handshake; return whether it succeeded."""
        tls = self._tls()
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._server.connect(slot),
                accepted,
                ssl=tls,
                ssl_handshake_timeout=float(HANDSHAKE_SECONDS.value) if tls else None,
            )
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
            log.debug("TLS handshake failed", extra={"error": str(error)})
            return False
        return True

    def _connected(self, task: "asyncio.Task[bool]", accepted: socket.socket, slot: Slot) -> None:
        # This also runs for a task that was cancelled before its first step.
        if task.cancelled() or task.exception() is not None or not task.result():
            accepted.close()
            slot.release()
        own = self._handshakes.get(slot.source, {})
        own.pop(slot, None)
        if not own:
            self._handshakes.pop(slot.source, None)


def without_renegotiation(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Disable TLS renegotiation in place, else a client could repeat handshakes on one connection."""
    if context is not None:
        context.options |= ssl.OP_NO_RENEGOTIATION
    return context
