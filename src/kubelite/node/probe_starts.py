"""Starts the probes of running containers, also of those that ran before this process began."""

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.dependencies import ActionDependencies, probe_target
from kubelite.node.observed import Health
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import AnyContainer, find_container, is_terminal
from kubelite.node.probes import ContainerProbes, first_health, has_probes
from kubelite.node.runtime import ContainerRecord


class ProbeStarts:
    """Starts probes; each run of a container is probed by one set of them."""

    def __init__(self, shared: ActionDependencies) -> None:
        self._shared = shared
        self._clock = shared.parts.clock
        self._events = shared.parts.events
        self._prober = shared.parts.prober

    def start_missing(self, memory: PodMemory, pod: Pod) -> None:
        """Start the probes of running containers without them; stop those that restart containers if the pod ends."""
        for record in memory.records.values():
            container = find_container(pod, record.name)
            if container is not None and record.is_running:
                self.start(memory, pod, container, record)
        is_deleted = pod.metadata.deletionTimestamp is not None
        if is_deleted or memory.ending is not None or is_terminal(pod):
            memory.stop_restarting_probes()

    def start(
        self, memory: PodMemory, pod: Pod, container: AnyContainer, record: ContainerRecord
    ) -> None:
        """Start the probes of a running container, if it has any and is not probed yet."""
        state = memory.container(record.id)
        if state.probes is not None or not has_probes(container):
            return
        health = _known_health(pod, container, record)
        probes = ContainerProbes(
            probe_target(memory, pod, container, record),
            health,
            self._prober,
            self._events,
            lambda: self._shared.wake(memory.uid),
        )
        state.probes = probes
        ran = self._clock.now() - (record.started_at or record.created_at)
        probes.start(max(ran.total_seconds(), 0.0))


def _known_health(pod: Pod, container: AnyContainer, record: ContainerRecord) -> Health:
    statuses = (*pod.status.containerStatuses, *pod.status.initContainerStatuses)
    for status in statuses:
        if status.name == container.name and status.containerID.endswith(f"//{record.id}"):
            return first_health(container, was_started=bool(status.started), was_ready=status.ready)
    return first_health(container, was_started=False, was_ready=False)
