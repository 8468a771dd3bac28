"""How full the CSI volumes of pods are, and whether they work: asked of the drivers when somebody wants to know.

A driver that takes long, or hangs, keeps nobody waiting for more than SOON_SECONDS: its answer counts the next time,
and it is not asked about a volume again before it has answered.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.grpc.status import GrpcError
from kubelite.limits import CSI_CALLS
from kubelite.node.csi.driver import Driver
from kubelite.node.csi.messages import (
    Capability,
    NodeGetVolumeStatsRequest,
    NodeGetVolumeStatsResponse,
    Unit,
    VolumeUsage,
)
from kubelite.node.eviction.observations import DiskUse
from kubelite.node.pod_files import VolumeFiles
from kubelite.node.usage_files import Filesystem
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

SOON_SECONDS = 2.0
SHOWN_CHARACTERS = 512  # of what a driver says of a volume, in an event
VolumeName = tuple[str, str]  # uid of the pod, and name of the volume in it


class Asked(Struct, frozen=True):
    """What a driver is asked about one volume of a pod."""

    driver: str
    request: NodeGetVolumeStatsRequest
    claim: str = ""


class _Known(Struct):
    """A mounted volume, and what its driver said last."""

    pod: Pod
    asked: Asked
    files: VolumeFiles | None = None
    is_asking: asyncio.Task[None] | None = None
    told: str = ""  # what was wrong with it, as told in an event


def files_of(
    name: str, claim: str, answer: NodeGetVolumeStatsResponse, *, has_condition: bool
) -> VolumeFiles:
    """Return a driver's answer as the node shows it; what it does not say is 0, as upstream has it."""
    space = _usage(answer.usage, Unit.BYTES)
    inodes = _usage(answer.usage, Unit.INODES)
    condition = answer.volume_condition if has_condition else None
    return VolumeFiles(
        name,
        DiskUse(max(space.used, 0), max(inodes.used, 0)),
        Filesystem(
            capacity_bytes=max(space.total, 0),
            available_bytes=max(space.available, 0),
            used_bytes=max(space.used, 0),
            inodes=max(inodes.total, 0),
            inodes_free=max(inodes.available, 0),
        ),
        claim,
        None if condition is None else condition.abnormal,
    )


def _usage(listed: Sequence[VolumeUsage], unit: Unit) -> VolumeUsage:
    return next((one for one in reversed(listed) if one.unit == unit), VolumeUsage())


class Statistics:
    """What the drivers of one node say of their mounted volumes."""

    def __init__(
        self, driver: Callable[[str], Driver | None], tell: Callable[[Pod, str, str], None]
    ) -> None:
        """`driver` finds a registered driver; `tell` records a warning about a pod."""
        self._driver = driver
        self._tell = tell
        self._known: dict[VolumeName, _Known] = {}
        self._calls = asyncio.Semaphore(CSI_CALLS.value)  # not those that mount: these may hang
        self._tasks = TaskSet()

    def follow(self, pod: Pod, name: str, asked: Asked) -> None:
        """Count a volume as mounted."""
        place = (pod.metadata.uid, name)
        known = self._known.get(place)
        if known is None:
            self._known[place] = _Known(pod, asked)
        else:
            known.pod, known.asked = pod, asked

    def forget(self, pod_uid: str) -> None:
        """Stop asking about the volumes of a pod."""
        for place in [place for place in self._known if place[0] == pod_uid]:
            known = self._known.pop(place)
            if known.is_asking is not None:
                known.is_asking.cancel()

    async def stop(self) -> None:
        """Stop asking."""
        await self._tasks.stop()

    async def of(self, pod_uid: str) -> tuple[VolumeFiles, ...]:
        """Return how full a pod's volumes are: what their drivers say soon, or else said before."""
        mounted = {name: one for (uid, name), one in self._known.items() if uid == pod_uid}
        for name, known in mounted.items():
            if known.is_asking is None and self._can_tell(known):
                work = self._ask(name, known)
                known.is_asking = self._tasks.start(work, name=f"statistics of volume {name}")
        asking = [known.is_asking for known in mounted.values() if known.is_asking is not None]
        if asking:
            await asyncio.wait(asking, timeout=SOON_SECONDS)
        return tuple(known.files for known in mounted.values() if known.files is not None)

    def _can_tell(self, known: _Known) -> bool:
        driver = self._driver(known.asked.driver)
        return driver is not None and Capability.GET_VOLUME_STATS in driver.capabilities

    async def _ask(self, name: str, known: _Known) -> None:
        asked = known.asked
        try:
            async with self._calls:
                driver = self._driver(asked.driver)
                if driver is None:
                    return
                answer = await driver.statistics(asked.request)
        except GrpcError as error:
            log.debug("cannot tell how full a volume is: %s", error, extra={"volume": name})
            known.files = None
        else:
            has_condition = Capability.VOLUME_CONDITION in driver.capabilities
            known.files = files_of(name, asked.claim, answer, has_condition=has_condition)
            self._warn(name, known, answer)
        finally:
            known.is_asking = None

    def _warn(self, name: str, known: _Known, answer: NodeGetVolumeStatsResponse) -> None:
        """Tell once what is wrong with a volume, as long as it is the same."""
        condition, said = answer.volume_condition, ""
        if known.files is not None and known.files.is_abnormal and condition is not None:
            text = "".join(c if c.isprintable() else " " for c in condition.message)
            said = f"Volume {name}: {text[:SHOWN_CHARACTERS]}"
        if said and said != known.told:
            self._tell(known.pod, "VolumeConditionAbnormal", said)
        known.told = said
