"""Keeps what a pull has fetched when kubelite ends in the middle of it: containerd's lease outlives who asked for it.

containerd cancels a pull whose caller is gone, and then removes all that it has fetched, since no image has it yet. A
lease holds it for the next pull of the same image, which goes on with the layers that are there and in the middle of
those that are not whole. Every pull ends its lease; containerd removes one that nobody ends after a day.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from kubelite.api.machinery.times import format_time
from kubelite.grpc.hpack import Header
from kubelite.node.cri import messages as cri
from kubelite.node.cri.calls import EngineCalls
from kubelite.node.cri.image_programs import NAMESPACE
from kubelite.node.runtime import EngineUnavailable, RuntimeFailure

if TYPE_CHECKING:
    from kubelite.clock import Clock

log = logging.getLogger(__name__)

PREFIX: Final = "kubelite-pull-"
EXPIRY_LABEL: Final = "containerd.io/gc.expire"
KEPT: Final = timedelta(days=1)  # as the leases that containerd makes itself
_HERE: Final[Header] = ("containerd-namespace", NAMESPACE)


class PullLeases:
    """The leases of the pulls of one containerd; pulls of the same image at once have one."""

    def __init__(self, calls: EngineCalls, clock: "Clock") -> None:
        self._calls = calls
        self._clock = clock
        self._pulls: dict[str, int] = {}  # in progress, by lease
        self._changing = asyncio.Lock()  # or one that ends would take away the next one's

    @asynccontextmanager
    async def of(self, image: str) -> AsyncGenerator[Sequence[Header], None]:
        """Give the metadata of a pull by which containerd keeps what it fetches, and end that with the block.

        It goes on beyond a block that is cancelled, or whose engine does not answer. Without a lease a pull only has
        to begin from the start, so none is no failure.
        """
        name = PREFIX + hashlib.sha256(image.encode()).hexdigest()[:32]
        if not await self._begin(name):
            yield ()
            return
        is_over = True
        try:
            yield (("containerd-lease", name),)
        except (EngineUnavailable, asyncio.CancelledError):
            is_over = False
            raise
        finally:
            self._pulls[name] -= 1
            if is_over:
                await self._end(name)
            elif not self._pulls[name]:
                del self._pulls[name]

    async def _begin(self, name: str) -> bool:
        """Make a lease, unless a pull that was cut off has left it; return whether there is one."""
        labels = {EXPIRY_LABEL: format_time(self._clock.now() + KEPT)}
        async with self._changing:
            try:
                request = cri.CreateLease(name, labels)
                await self._calls(cri.CREATE_LEASE, request, metadata=[_HERE])
            except RuntimeFailure as error:
                if "already exists" not in str(error):
                    log.warning("pulls begin from the start if they are cut off: %s", error)
                    return False
            self._pulls[name] = self._pulls.get(name, 0) + 1
            return True

    async def _end(self, name: str) -> None:
        async with self._changing:
            if self._pulls.get(name) != 0:  # another pull of the image has it still
                return
            del self._pulls[name]
            try:
                await self._calls(cri.DELETE_LEASE, cri.DeleteLease(name), metadata=[_HERE])
            except (RuntimeFailure, EngineUnavailable) as error:
                log.info("the lease of a pull stays for a day: %s", error)
