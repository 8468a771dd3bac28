"""Watches what the node has left, reports pressure, and evicts one pod at a time until it is over.

A round reads the node's figures, which is cheap. Pods are measured only when one must be evicted, and their files only
then or if a limit of theirs counts. Rounds come every ten seconds, as upstream's; where the kernel tells that memory
gets scarce, the next one comes at once.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.machinery.tolerations import Tolerations
from kubelite.limits import COUNTED_PART
from kubelite.metrics import REGISTRY
from kubelite.node.admission import REJECTED, Rejection
from kubelite.node.cgroups import POD_FOLDER
from kubelite.node.eviction.conditions import changes
from kubelite.node.eviction.decision import Pressure, met_of, next_deadline, step
from kubelite.node.eviction.memory_notifier import Crossing, MemoryNotifier, NoNotifier
from kubelite.node.eviction.messages import (
    TERMINATION_BY_KUBELET,
    eviction_message,
    node_condition_message,
)
from kubelite.node.eviction.observations import (
    NodeReadings,
    Observations,
    observations_of,
)
from kubelite.node.eviction.ranking import ranked
from kubelite.node.eviction.readings import Readings
from kubelite.node.eviction.reclaim import (
    NothingToReclaim,
    ReclaimsContainers,
    ReclaimsImages,
    reclaimers_of,
)
from kubelite.node.eviction.storage_limits import excess_of, has_storage_limit
from kubelite.node.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    MEMORY,
    MEMORY_PRESSURE,
    PROCESSES,
    EvictionSettings,
    Threshold,
)
from kubelite.node.lifecycle import EVICTED
from kubelite.node.observed import Ending
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import is_critical, is_terminal, pod_key, qos_class, reference_to
from kubelite.node.runtime import EngineUnavailable, RuntimeFailure

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 10.0  # as upstream's evictionMonitoringPeriod
CLEANUP_SECONDS = 30.0  # how long an evicted pod is waited for before the next one is chosen
# The kernel frees what a process had a moment after its end: without a pause one pod more would go. Upstream looks
# whether pods have gone each second, so it never takes less either.
SETTLE_SECONDS = 1.0
IMMEDIATE_GRACE_SECONDS = 1
MEMORY_TAINT = ("node.kubernetes.io/memory-pressure", "", "NoSchedule")
EVICTIONS = REGISTRY.counter(
    "kubelet_evictions",
    "Cumulative number of pod evictions by eviction signal",
    ("eviction_signal",),
)


class EvictablePods(Protocol):
    """The pods of the node, as eviction sees them."""

    memories: dict[str, PodMemory]  # by uid

    def end(self, uid: str, ending: Ending) -> None:
        """End a pod."""
        ...


class EvictionManager:
    """The eviction of one node's pods. `run` works until cancelled."""

    def __init__(
        self,
        settings: EvictionSettings,
        node_name: str,
        pods: EvictablePods,
        readings: Readings,
        events: EventRecorder,
        *,
        notifier: MemoryNotifier | None = None,
        images: ReclaimsImages | None = None,
        containers: ReclaimsContainers | None = None,
    ) -> None:
        self._settings = settings
        self._node = ObjectReference(kind="Node", name=node_name, uid=node_name)
        self._pods = pods
        self._readings = readings
        self._events = events
        self._notifier = notifier or NoNotifier()
        self.images: ReclaimsImages = images or NothingToReclaim()
        self.containers: ReclaimsContainers = containers or NothingToReclaim()
        self.on_change: Callable[[], None] = lambda: None  # called when the conditions changed
        self._pressure = Pressure()
        self._round = asyncio.Event()  # set when the next round is due at once
        self._count_at = 0.0  # the loop's time from which files of pods may be counted again

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of the node that hold now: MemoryPressure, DiskPressure, PIDPressure."""
        return self._pressure.conditions

    def refusal(self, pod: Pod) -> Rejection | None:
        """Return why a new pod is not taken now, or None."""
        conditions = self.conditions
        if not conditions or is_critical(pod):
            return None
        if conditions == (MEMORY_PRESSURE,):
            tolerations = Tolerations(pod.spec.tolerations)
            if qos_class(pod) != "BestEffort" or tolerations.cover(MEMORY_TAINT):
                return None
        return Rejection(EVICTED, REJECTED + node_condition_message(conditions))

    async def run(self) -> None:
        """Watch and evict until cancelled."""
        try:
            while True:
                self._round.clear()
                evicted = await self._try_round()
                if evicted:
                    await self._cleaned_up(evicted)
                    await asyncio.sleep(SETTLE_SECONDS)
                else:
                    await self._pause()
        finally:
            self._notifier.close()

    async def _try_round(self) -> Sequence[str]:
        try:
            return await self.synchronize()
        except (EngineUnavailable, RuntimeFailure) as error:
            log.warning("cannot look for pressure: %s", error)
            return ()

    async def _pause(self) -> None:
        """Wait for the next round, which comes early if a grace period ends or memory gets scarce."""
        now = asyncio.get_running_loop().time()
        deadline = next_deadline(self._pressure, now)
        seconds = HOUSEKEEPING_SECONDS if deadline is None else min(deadline, HOUSEKEEPING_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self._round.wait()
        except TimeoutError:
            return

    async def _cleaned_up(self, uids: Sequence[str]) -> None:
        """Wait until evicted pods have ended and given back what they had, for CLEANUP_SECONDS at most."""
        try:
            async with asyncio.timeout(CLEANUP_SECONDS):
                for uid in uids:
                    memory = self._pods.memories.get(uid)
                    if memory is not None:
                        await memory.reclaimed()
        except TimeoutError:
            log.warning("evicted pods have not ended in time", extra={"pods": list(uids)})

    async def synchronize(self) -> Sequence[str]:
        """Do one round; return the uids of the pods it evicted. Raises EngineUnavailable and RuntimeFailure."""
        readings = await self._readings.node()
        observations = observations_of(readings)
        self._notify(readings, observations)
        self._take(observations)
        over_limit = await self._evict_over_limits(readings)
        due = self._pressure.due
        if over_limit or not due:
            return over_limit
        threshold = due[0]
        message = f"Attempting to reclaim {threshold.resource}"
        self._events.event(self._node, WARNING, "EvictionThresholdMet", message)
        log.warning("%s", message, extra={"signal": threshold.signal})
        if await self._reclaim(threshold, readings):
            return ()
        return await self._evict_for(threshold, observations, readings)

    def _take(self, observations: Observations) -> None:
        """Step to the next state, and tell when the conditions changed."""
        settings, before = self._settings, self._pressure
        now = asyncio.get_running_loop().time()
        self._pressure = step(
            before, settings.thresholds, observations, now, settings.transition_seconds
        )
        for reason in changes(before.conditions, self._pressure.conditions):
            message = f"Node {self._node.name} status is now: {reason}"
            self._events.event(self._node, NORMAL, reason, message)
            log.info("%s", message)
        if before.conditions != self._pressure.conditions:
            self.on_change()

    def _notify(self, readings: NodeReadings, observations: Observations) -> None:
        """Have the kernel tell when the working set reaches a threshold: page cache in use counts on top for it."""
        crossings = []
        for threshold in self._settings.thresholds:
            observed = observations.get(threshold.signal)
            if observed is None or threshold.signal not in (MEMORY, ALLOCATABLE_MEMORY):
                continue
            group, used, working = "", readings.use_bytes, readings.working_set_bytes or 0
            if threshold.signal == ALLOCATABLE_MEMORY:
                group, used = POD_FOLDER, readings.pods_use_bytes
                working = readings.pods_working_set_bytes or 0
            least = observed.capacity - threshold.amount.of(observed.capacity)
            crossings.append(Crossing(group, least + max(used - working, 0)))
        self._notifier.watch(crossings, self._round.set)

    async def _reclaim(self, threshold: Threshold, readings: NodeReadings) -> bool:
        """Free what no pod needs; return whether that was enough."""
        steps = reclaimers_of(
            threshold.signal,
            self.containers,
            self.images,
            dedicated_image_fs=readings.image_fs is not None,
        )
        for each in steps:
            try:
                await each.reclaim()
            except (EngineUnavailable, RuntimeFailure) as error:
                log.warning("cannot reclaim: %s", error, extra={"resource": threshold.resource})
        if not steps:
            return False
        after = observations_of(await self._readings.node())
        return not met_of(self._settings.thresholds, after, with_reclaim=True)

    # Pods

    def _active(self) -> list[PodMemory]:
        """Return the pods that may be evicted."""
        found = []
        for memory in self._pods.memories.values():
            pod = memory.current
            if pod is not None and memory.admitted and not memory.gone and not is_terminal(pod):
                found.append(memory)
        return found

    async def _evict_over_limits(self, readings: NodeReadings) -> list[str]:
        """Evict all pods that have more on disk than their limits allow."""
        limited = [
            memory
            for memory in self._active()
            if memory.ending is None and memory.current and has_storage_limit(memory.current)
        ]
        loop = asyncio.get_running_loop()
        began = loop.time()
        if not limited or began < self._count_at:
            return []
        footprints = await self._readings.footprints(limited, with_usage=False, with_disk=True)
        took = loop.time() - began
        self._count_at = loop.time() + COUNTED_PART.value * took
        if self._count_at - loop.time() > HOUSEKEEPING_SECONDS:
            COUNTED_PART.reached()
        evicted = []
        for memory in limited:
            pod, footprint = memory.current, footprints.get(memory.uid)
            if pod is None or footprint is None:
                continue
            excess = excess_of(pod, footprint, dedicated_image_fs=readings.image_fs is not None)
            if excess is not None and self._evict(
                memory, IMMEDIATE_GRACE_SECONDS, excess.message, excess.signal
            ):
                evicted.append(memory.uid)
        return evicted

    async def _evict_for(
        self, threshold: Threshold, observations: Observations, readings: NodeReadings
    ) -> list[str]:
        """Evict the pod that comes first for a threshold."""
        memories = {memory.uid: memory for memory in self._active()}
        if not memories:
            log.warning("no pods to evict", extra={"signal": threshold.signal})
            return []
        footprints = await self._readings.footprints(
            memories.values(), with_disk=threshold.signal not in _WITHOUT_DISK
        )
        pods = [memory.current for memory in memories.values() if memory.current is not None]
        order = ranked(
            threshold.signal, pods, footprints, dedicated_image_fs=readings.image_fs is not None
        )
        for pod in order:
            grace = self._grace_seconds(threshold, pod)
            message, annotations = eviction_message(
                threshold.resource,
                pod,
                footprints.get(pod.metadata.uid),
                self._pressure.due,
                observations,
            )
            memory = memories[pod.metadata.uid]
            if self._evict(
                memory, grace, message, threshold.signal, annotations, is_disruption=True
            ):
                return [memory.uid]
        log.warning("no pod may be evicted", extra={"signal": threshold.signal})
        return []

    def _grace_seconds(self, threshold: Threshold, pod: Pod) -> int:
        if threshold.is_hard:
            return IMMEDIATE_GRACE_SECONDS
        most, own = self._settings.max_pod_grace_seconds, pod.spec.terminationGracePeriodSeconds
        if most < 0:
            return IMMEDIATE_GRACE_SECONDS if own is None else own
        return most if own is None else min(most, own)

    def _evict(
        self,
        memory: PodMemory,
        grace_seconds: int,
        message: str,
        signal: str,
        annotations: dict[str, str] | None = None,
        *,
        is_disruption: bool = False,
    ) -> bool:
        """End a pod; return False if it is to stay, or is ending as fast already."""
        pod, ending = memory.current, memory.ending
        if (
            pod is None
            or is_critical(pod)
            or (ending is not None and ending.is_within(grace_seconds))
        ):
            return False
        log.warning("pod is evicted", extra={"pod": pod_key(pod), "signal": signal})
        about = reference_to(pod)
        self._events.event(about, WARNING, EVICTED, message, annotations=annotations)
        disruption = TERMINATION_BY_KUBELET if is_disruption else ""
        self._pods.end(memory.uid, Ending(EVICTED, message, grace_seconds, disruption))
        EVICTIONS.labelled(signal).increase()
        return True


_WITHOUT_DISK = frozenset({MEMORY, ALLOCATABLE_MEMORY, PROCESSES})
