"""Connections to other API servers, kept open between requests and shared by all callers, whom headers name."""

import asyncio
from typing import Any

from kubelite.api.http.dialer import Backend, Connected, Dialer
from kubelite.limits import AGGREGATED_IDLE_CONNECTIONS, AGGREGATED_IDLE_SECONDS
from kubelite.serving.closing import close_within_bounds


class Connections:
    """Keeps idle connections by backend; each idle one has a timer that closes it."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._idle: dict[Backend, dict[Connected, asyncio.TimerHandle]] = {}
        self._count = 0

    async def dial(self, backend: Backend) -> Connected:
        """Open a new connection. Raises BadRequest and ServiceUnavailable."""
        return await self._dialer.dial(backend)

    def take(self, backend: Backend) -> Connected | None:
        """Take the idle connection that was used last; None if there is none."""
        idle = self._idle.get(backend)
        while idle:
            connected, timer = idle.popitem()
            self._forget(backend, timer)
            if is_fresh(connected):
                return connected
            connected[1].transport.abort()
        return None

    def keep(self, backend: Backend, connected: Connected) -> None:
        """Keep a connection whose answer has ended; close it beyond the bound, or if it holds unread bytes."""
        if not is_fresh(connected) or self._count >= AGGREGATED_IDLE_CONNECTIONS.value:
            if self._count >= AGGREGATED_IDLE_CONNECTIONS.value:
                AGGREGATED_IDLE_CONNECTIONS.reached()
            close_within_bounds(connected[1].transport)
            return
        timer = asyncio.get_running_loop().call_later(
            AGGREGATED_IDLE_SECONDS.value, self._expire, backend, connected
        )
        self._idle.setdefault(backend, {})[connected] = timer
        self._count += 1

    def close(self) -> None:
        """Close all idle connections."""
        for backend, idle in tuple(self._idle.items()):
            for connected in tuple(idle):
                self._expire(backend, connected)

    def _expire(self, backend: Backend, connected: Connected) -> None:
        self._forget(backend, self._idle[backend].pop(connected))
        close_within_bounds(connected[1].transport)

    def _forget(self, backend: Backend, timer: asyncio.TimerHandle) -> None:
        timer.cancel()
        self._count -= 1
        if not self._idle[backend]:
            del self._idle[backend]


def is_fresh(connected: Connected) -> bool:
    """Return whether a connection is open and holds no bytes: they would be taken for the next answer."""
    reader, writer = connected
    return not (has_unread(connected) or reader.at_eof() or writer.transport.is_closing())


def has_unread(connected: Connected) -> bool:
    """Return whether bytes that came can be read at once."""
    reader: Any = connected[0]
    return bool(reader._buffer)  # noqa: SLF001 - a reader does not tell what it holds
