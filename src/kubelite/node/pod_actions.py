"""Carries out what `lifecycle.plan` decided, and remembers how it went.

An expected failure of an action becomes a trouble in the pod's memory, with an event and a date to retry; only
EngineUnavailable leaves, so that the pod waits for the engine as a whole.
"""

import logging
from collections.abc import Iterable

from kubelite.api.errors import Conflict, NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.container_end import ContainerEnd, release
from kubelite.node.container_start import ContainerStart
from kubelite.node.container_stop import ContainerStop
from kubelite.node.dependencies import ActionDependencies, NodeFacts, retry_delay
from kubelite.node.images.pull_secrets import PullSecrets
from kubelite.node.images.records import PullRecords
from kubelite.node.images.source import ImageSource, plugins_of
from kubelite.node.lifecycle import (
    Action,
    AttachNetwork,
    CreateSandbox,
    EnsureImage,
    FinishDeletion,
    LimitPod,
    ReclaimVolumes,
    RemoveContainer,
    ResizeContainer,
    SetUpVolumes,
    StartContainer,
    StopContainer,
    StopSandbox,
    TearDown,
)
from kubelite.node.observed import ImageState, Trouble
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import WantedImage, pod_key, resources_text
from kubelite.node.probe_starts import ProbeStarts
from kubelite.node.resizing import with_allocated
from kubelite.node.resources import limits_of
from kubelite.node.runtime import ContainerRecord, RuntimeFailure
from kubelite.node.sandboxes import Sandboxes
from kubelite.node.volume_refresh import VolumeRefresh
from kubelite.tasks import all_to_their_end

log = logging.getLogger(__name__)


class PodActions:
    """Carries out the actions of plans, and undoes all of them when a pod goes."""

    def __init__(self, shared: ActionDependencies) -> None:
        self._shared = shared
        parts = shared.parts
        self._client = parts.client
        self._clock = parts.clock
        self._devices = parts.devices
        self._logs = parts.logs
        self._network = parts.network
        self._runtime = parts.runtime
        self._images = ImageSource(
            parts.runtime,
            parts.clock,
            parts.events,
            shared.tasks,
            PullSecrets(shared.reads, parts.events),
            parts.pull_records or PullRecords(parts.clock),
            parts.images,
            plugins_of(parts.images, shared.tasks, shared.reads, parts.client, parts.clock),
        )
        self.volumes = VolumeRefresh(shared)
        self.probing = ProbeStarts(shared)
        self.sandboxes = Sandboxes(shared)
        self.ends = ContainerEnd(shared)
        self._start = ContainerStart(shared, self.probing)
        self._stop = ContainerStop(shared)

    async def carry_out(self, memory: PodMemory, actions: tuple[Action, ...]) -> None:
        """Carry out all actions at once. Raises EngineUnavailable.

        One failure does not cancel the rest: a cancelled create can leave a container whose id was never returned.
        """
        await all_to_their_end(*(self._do(memory, action) for action in actions))

    async def _do(self, memory: PodMemory, action: Action) -> None:
        pod = with_allocated(memory.current or Pod(), memory.allocated)
        match action:
            case SetUpVolumes() | ReclaimVolumes():
                await self._volumes(memory, pod, action)
            case CreateSandbox():
                await self.sandboxes.create(memory, pod, action)
            case AttachNetwork():
                await self.sandboxes.attach(memory, pod, action.sandbox)
            case EnsureImage():
                await self._ensure_image(memory, pod, action.image)
            case StartContainer():
                await self._start.start(memory, pod, action)
            case StopContainer():
                self._stop.stop(memory, action)
            case LimitPod() | ResizeContainer():
                await self._set_resources(memory, pod, action)
            case StopSandbox():
                await self.sandboxes.stop(memory, action.record)
            case RemoveContainer():
                await self._remove(memory, action.record)
            case TearDown():
                await self.tear_down(memory)
            case FinishDeletion():
                await self._finish(memory, pod)

    def move(self, facts: NodeFacts, memories: Iterable[PodMemory]) -> None:
        """Follow new addresses of the node: pods on its network have them too, and are probed there."""
        self._shared.facts = facts
        for memory in memories:
            if memory.pod is not None and memory.pod.spec.hostNetwork and memory.addresses:
                memory.addresses = facts.addresses
                for state in memory.containers.values():
                    if state.probes is not None:
                        state.probes.move(facts.addresses[0])

    async def _ensure_image(self, memory: PodMemory, pod: Pod, image: WantedImage) -> None:
        def report(state: ImageState) -> None:
            memory.image_reported(image.key, state)
            self._shared.wake(memory.uid)

        failures = memory.image_failures.get(image.key, 0)
        await self._images.ensure(pod, image, failures, report)

    async def _volumes(
        self, memory: PodMemory, pod: Pod, action: SetUpVolumes | ReclaimVolumes
    ) -> None:
        if isinstance(action, SetUpVolumes):
            await self.volumes.set_up(memory, pod)
        else:
            await self.volumes.tear_down(memory)

    async def _set_resources(
        self, memory: PodMemory, pod: Pod, action: LimitPod | ResizeContainer
    ) -> None:
        if isinstance(action, LimitPod):
            await self.sandboxes.limit(memory, pod, action.sandbox, action.limits)
        else:
            await self._resize(memory, pod, action)

    async def _resize(self, memory: PodMemory, pod: Pod, action: ResizeContainer) -> None:
        container, record = action.container, action.record
        state = memory.container(record.id)
        try:
            limits = limits_of(pod, container, self._shared.facts.memory_bytes)
            await self._runtime.update(record.id, limits)
        except RuntimeFailure as error:
            retry_at = self._clock.now() + retry_delay(state.resize_failures)
            state.resize_failures += 1
            state.resize_trouble = Trouble("Error", str(error), retry_at)
        else:
            state.applied_resources = resources_text(container)
            state.resize_trouble, state.resize_failures = None, 0

    async def _remove(self, memory: PodMemory, record: ContainerRecord) -> None:
        await self._runtime.remove(record.id)
        await self._logs.remove(record)
        await release(memory.forget(record.id))

    async def tear_down(self, memory: PodMemory) -> None:
        """Remove all that was made for a pod."""
        for record in sorted(memory.records.values(), key=lambda record: record.is_sandbox):
            await self._remove(memory, record)
        await self._network.detach(memory.uid)
        memory.addresses = ()
        # Before the pod's own folder, by which a pod is found again whose end a restart has cut short.
        await self._logs.remove_pod(memory.uid)
        await self._devices.release(memory.uid)
        await self.volumes.tear_down(memory)
        self._shared.reads.forget(memory.uid)
        memory.note_reclaimed()

    async def _finish(self, memory: PodMemory, pod: Pod) -> None:
        await self.tear_down(memory)
        try:
            await self._client.delete(
                Pod,
                pod.metadata.name,
                pod.metadata.namespace,
                uid=memory.uid,
                grace_seconds=0,
            )
        except (NotFound, Conflict):
            log.debug("pod is gone already", extra={"pod": pod_key(pod)})
