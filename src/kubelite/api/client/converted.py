"""Feeds the mirror of a version that another server converts.

Such a mirror cannot show a write as soon as it has returned. It gets what a watch from outside gets: the present
objects, then the changes. It begins anew when the conversion fails, with back-off.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from kubelite.api.client.mirror import Name, ObjectMirror, name_of
from kubelite.api.errors import APIError
from kubelite.api.registry.beginning import Beginning
from kubelite.api.registry.hub import Hub, Watch
from kubelite.api.registry.watch import Deliver, Ended
from kubelite.backoff import backoff_seconds
from kubelite.offload import AtOnce
from kubelite.store.protocol import Store

log = logging.getLogger(__name__)

OWNER = "system:mirrors"  # of the watches, which are served as those of clients
DELAY_SECONDS_MIN, DELAY_SECONDS_MAX = 1.0, 60.0
Open = Callable[[Deliver, Ended], Watch]


class ConvertedFeed:
    """Keeps one mirror in sync through watches that `open_` opens."""

    def __init__(
        self, hub: Hub, store: Store, mirror: ObjectMirror[Any], decode: Callable[[bytes], Any]
    ) -> None:
        self._hub = hub
        self._store = store
        self._mirror = mirror
        self._decode = decode
        self._present: dict[Name, Any] | None = None  # None: the present objects have arrived
        self._ended = asyncio.Event()
        self._failures = 0

    async def run(self, open_: Open) -> None:
        """Watch for ever; the caller cancels it."""
        while True:
            await self._watch(open_)
            delay = backoff_seconds(self._failures, DELAY_SECONDS_MIN, DELAY_SECONDS_MAX)
            self._failures += 1
            await asyncio.sleep(delay)

    async def _watch(self, open_: Open) -> None:
        """Watch until the watch ends."""
        self._present = {}
        self._ended.clear()
        watch = open_(self._deliver, self._expired)
        try:
            beginning = Beginning(
                watch, self._hub, self._store, AtOnce(), presents=True, marks_end=True
            )
            await beginning.begin(_go_on)
            await self._ended.wait()
        except APIError as error:
            log.warning("cannot fill a mirror, trying again", extra={"reason": error.message})
        finally:
            watch.close()

    def _expired(self, _error: APIError | None) -> None:
        self._ended.set()

    def _deliver(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            mark, item = frame[:1], self._decode(frame[1:])
            if mark == b"=":
                self._arrived()
            elif self._present is None:
                self._change(mark, item)
            elif mark == b"+":
                self._present[name_of(item)] = item
            else:
                self._present.pop(name_of(item), None)

    def _change(self, mark: bytes, item: Any) -> None:
        if mark == b"+":
            self._mirror.put(item)
        else:
            self._mirror.remove(*name_of(item))

    def _arrived(self) -> None:
        if self._present is not None:
            present, self._present = self._present, None
            self._failures = 0
            self._mirror.replace(present.values())


async def _go_on() -> None:
    """Let others have a turn between two slices of the present objects."""
    await asyncio.sleep(0)
