"""Sets up the volumes of pods, and refreshes them when what they show changes or a token of theirs gets old."""

from datetime import timedelta

import msgspec

from kubelite.api.client.events import WARNING
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.dependencies import ActionDependencies, retry_delay
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.observed import Trouble
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import reference_to

# The least time between two refreshes of a pod's volumes, however often what they show changes.
REFRESH_PAUSE_SECONDS = 0.5


class VolumeRefresh:
    """Sets up, refreshes and tears down the volumes of pods; a failure is retried after a back-off."""

    def __init__(self, shared: ActionDependencies) -> None:
        self._shared = shared
        self._clock = shared.parts.clock
        self._events = shared.parts.events
        self._volumes = shared.parts.volumes
        self._volumes.changed = self.changed
        self._stale: set[str] = set()  # uids of pods whose volumes show something that changed

    async def set_up(self, memory: PodMemory, pod: Pod) -> None:
        """Set up a pod's volumes, or refresh them; a failure is a trouble of the pod, with a date to retry."""
        now = memory.volumes_read_at = self._clock.now()
        self._stale.discard(memory.uid)  # a change from here on takes another round
        try:
            due = await self._volumes.set_up(pod, self._shared.around(memory))
        except (ConfigUnavailable, APIError) as error:
            retry_at = now + retry_delay(memory.volume_failures)
            memory.refresh_at = retry_at
            memory.volume_failures += 1
            memory.volumes_trouble = Trouble("FailedMount", str(error), retry_at)
            self._events.event(reference_to(pod), WARNING, "FailedMount", str(error))
            return
        memory.volumes_trouble = None
        memory.volume_failures = 0
        memory.volumes_ready = True
        memory.refresh_at = due

    def changed(self, uid: str) -> None:
        """Enqueue a pod whose volumes show something that changed."""
        self._stale.add(uid)
        self._shared.wake(uid)

    def rest(self, memory: PodMemory) -> None:
        """Stop refreshing the volumes of a pod that has ended."""
        self._volumes.rest(memory.uid)
        self._stale.discard(memory.uid)
        memory.refresh_at = None

    async def refresh(self, memory: PodMemory, pod: Pod) -> None:
        """Refresh a pod's volumes if something that they show changed, or a token of theirs gets old."""
        now = self._clock.now()
        if memory.uid in self._stale and memory.volumes_read_at is not None:
            self._stale.discard(memory.uid)
            pause = timedelta(seconds=REFRESH_PAUSE_SECONDS)
            at = max(now, memory.volumes_read_at + pause)
            memory.refresh_at = at if memory.refresh_at is None else min(at, memory.refresh_at)
            if (trouble := memory.volumes_trouble) is not None:
                # What changed may be just what was missing, so retry with this refresh.
                memory.volumes_trouble = msgspec.structs.replace(trouble, retry_at=at)
        is_due = memory.refresh_at is not None and memory.refresh_at <= now
        if memory.volumes_ready and is_due:
            await self.set_up(memory, pod)

    async def tear_down(self, memory: PodMemory) -> None:
        """Remove a pod's volumes, and stop refreshing them."""
        await self._volumes.tear_down(memory.uid)
        self._stale.discard(memory.uid)
        memory.volumes_ready = False
