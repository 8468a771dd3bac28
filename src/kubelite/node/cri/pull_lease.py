"""Keeps what a pull has fetched when kubelite ends in the middle of it: containerd's lease outlives who asked for it.

containerd cancels a pull whose caller is gone, and then removes all that it has fetched, since no image has it yet. A
lease holds it for the next pull of the same image, which goes on with the layers that are there and in the middle of
those that are not whole. Every pull ends its lease; containerd removes one that nobody ends after a day.
"""

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


@asynccontextmanager
async def pull_lease(
    calls: EngineCalls, image: str, clock: "Clock"
) -> AsyncGenerator[Sequence[Header], None]:
    """Give the metadata of a pull by which containerd keeps what it fetches, and end that with the block.

    It goes on beyond a block that is cancelled, or whose engine does not answer. Without a lease a pull only has to
    begin from the start, so none is no failure.
    """
    name = PREFIX + hashlib.sha256(image.encode()).hexdigest()[:32]
    labels = {EXPIRY_LABEL: format_time(clock.now() + KEPT)}
    try:
        await calls(cri.CREATE_LEASE, cri.CreateLease(name, labels), metadata=[_HERE])
    except RuntimeFailure as error:
        if "already exists" not in str(error):  # that of a pull which was cut off
            log.warning("pulls begin from the start if they are cut off: %s", error)
            yield ()
            return
    try:
        yield (("containerd-lease", name),)
    except EngineUnavailable:
        raise
    except Exception:
        await _end(calls, name)
        raise
    await _end(calls, name)


async def _end(calls: EngineCalls, name: str) -> None:
    try:
        await calls(cri.DELETE_LEASE, cri.DeleteLease(name), metadata=[_HERE])
    except (RuntimeFailure, EngineUnavailable) as error:
        log.info("the lease of a pull stays for a day: %s", error)
