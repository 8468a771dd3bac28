"""Copies of requests (RequestMirror): sent on beside the request, whose answer nobody reads.

A copy never slows down its request. While it connects, or its backend is slow, a bounded part of the body waits; beyond
that the copy is broken off.
"""

import asyncio
from typing import Protocol

from kubelite.ingress.endpoints import PLAIN, Endpoints
from kubelite.ingress.upstream import Pool, Upstream
from kubelite.limits import GATEWAY_MIRRORED_HELD
from kubelite.tasks import TaskSet

COPY_SECONDS = 30.0  # from the end of the request


class Copying(Protocol):
    """What a copy needs of the proxy."""

    pool: Pool
    tasks: TaskSet
    copies: int  # that are being sent

    def now(self) -> float: ...


class Copy:
    """One copy of a request; the peer of its connection."""

    def __init__(self, proxy: Copying, endpoints: Endpoints, head: bytes) -> None:
        self._proxy = proxy
        self._held = bytearray(head)
        self._upstream: Upstream | None = None
        self._is_over = False
        self._is_slow = False
        self._timer: asyncio.TimerHandle | None = None
        proxy.copies += 1
        address = endpoints.choose(proxy.now())
        if address and endpoints.speech is PLAIN:
            proxy.tasks.start(self._connect(address), name="ingress mirror")
        else:
            self.abort()

    async def _connect(self, address: str) -> None:
        try:
            upstream = await self._proxy.pool.connect(address)
        except (OSError, TimeoutError):
            self.abort()
            return
        if self._is_over:
            upstream.abort()
            return
        self._upstream = upstream
        upstream.peer = self
        held, self._held = bytes(self._held), bytearray()
        upstream.write(held)

    def content(self, data: bytes) -> None:
        """Send a part of the body, as it is sent with the request itself."""
        if self._is_over:
            return
        if self._upstream is not None and not self._is_slow:
            self._upstream.write(data)
            return
        if len(self._held) + len(data) > GATEWAY_MIRRORED_HELD.value:
            GATEWAY_MIRRORED_HELD.reached()
            self.abort()
            return
        self._held += data

    def finish(self) -> None:
        """Give the backend time to answer what it got whole."""
        if not self._is_over and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COPY_SECONDS, self.abort)

    def abort(self) -> None:
        """End at once."""
        if self._is_over:
            return
        self._is_over = True
        self._held.clear()
        self._proxy.copies -= 1
        if self._timer is not None:
            self._timer.cancel()
        if self._upstream is not None:
            self._upstream.abort()

    def response_data(self, data: bytes) -> None:
        """Drop the answer."""

    def response_ended(self) -> None:
        """The backend has answered: the connection was for one request."""
        self._upstream = None
        self.abort()

    def pause_request(self) -> None:
        """Hold what comes next."""
        self._is_slow = True

    def resume_request(self) -> None:
        """Send what waits."""
        self._is_slow = False
        held, self._held = bytes(self._held), bytearray()
        if self._upstream is not None and held:
            self._upstream.write(held)
