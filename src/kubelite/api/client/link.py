"""What the mirrors of one client share: turns to list, the newest revision that the server has shown, availability."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from kubelite.api.client.availability import Availability
from kubelite.limits import CLIENT_LISTS


class _Turn:
    """The lock of one resource, dropped with its last user."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Link:
    """Shared by the reflectors of a client."""

    def __init__(self, availability: Availability) -> None:
        self.availability = availability
        self._newest = 0
        self._slots = asyncio.Semaphore(CLIENT_LISTS.value)
        self._turns: dict[Hashable, _Turn] = {}
        self.lists_in_flight = 0

    def shown(self, version: str) -> None:
        """Note a resource version that the server has sent."""
        if version.isdecimal():
            self._newest = max(self._newest, int(version))

    def doubt(self) -> None:
        """Forget which revisions were shown: after a lost connection an older state may have been restored."""
        self._newest = 0

    def has_reached(self, version: str) -> bool:
        """Return whether the server has shown a revision as new as this one since the last doubt."""
        return not version.isdecimal() or int(version) <= self._newest

    @asynccontextmanager
    async def list_turn(self, of: Hashable) -> AsyncIterator[None]:
        """Wait for a turn to list a resource: one list of each at a time, and CLIENT_LISTS in all."""
        turn = self._turns.setdefault(of, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                if self._slots.locked():
                    CLIENT_LISTS.reached()
                async with self._slots:
                    self.lists_in_flight += 1
                    try:
                        yield
                    finally:
                        self.lists_in_flight -= 1
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[of]
