"""What the node remembers of one pod between two looks at it; lost at a restart and then found again from labels."""

from collections.abc import Callable
from datetime import datetime

import msgspec

from kubelite.api.kinds.core.containers import ResourceRequirements
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.observed import Ending, Health, ImageState, Observed, Pending, Trouble
from kubelite.node.pods import AnyContainer
from kubelite.node.probes import ContainerProbes
from kubelite.node.runtime import ContainerRecord, Limits


class Stop:
    """A container that was told to end."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline  # loop time at which it is killed
        self.wake: Callable[[], None] = lambda: None  # called when the deadline came nearer


class PodMemory:
    """One pod."""

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.pod: Pod | None = None  # as last seen in the API
        self.gone = False  # the API has forgotten it
        self.admitted = False
        self.records: dict[str, ContainerRecord] = {}
        self.addresses: tuple[str, ...] = ()
        self.volumes_ready = False
        self.volumes_trouble: Trouble | None = None
        self.volumes_read_at: datetime | None = (
            None  # when they were last set up, or that was tried
        )
        self.refresh_at: datetime | None = None  # when they have to be set up again
        self.sandbox_trouble: Trouble | None = None
        self.sandbox_failures = 0
        self.volume_failures = 0
        self.images: dict[str, ImageState] = {}
        self.image_failures: dict[str, int] = {}
        self.troubles: dict[str, Trouble] = {}
        self.trouble_failures: dict[str, int] = {}
        self.probes: dict[str, ContainerProbes] = {}
        self.hooks_running: set[str] = set()
        self.hooks_failed: dict[str, str] = {}
        self.stops: dict[str, Stop] = {}
        self.messages: dict[str, str] = {}
        self.allocated: dict[str, ResourceRequirements] = {}  # by container name, once admitted
        self.pending_resize: Pending | None = None
        self.group_limits: Limits | None = None  # what the pod's control group was given
        self.resize_troubles: dict[str, Trouble] = {}  # container id: why its resize failed
        self.resize_failures: dict[str, int] = {}
        self.resized: dict[str, str] = {}  # container id: what it has since its last resize
        self.ending: Ending | None = None
        self.told_reductions: set[tuple[str, str]] = set()  # container name, what it does not get
        self.told_backoff: set[str] = set()  # container ids whose back-off was made an event

    def see(self, pod: Pod) -> None:
        """Take a newer version of the pod; an older one, from a mirror that lags, is ignored."""
        if self.pod is None or _version(pod) >= _version(self.pod):
            self.pod = pod

    def take(self, record: ContainerRecord) -> None:
        """Take what the engine says of a container; one that has ended does not come back to life."""
        known = self.records.get(record.id)
        if known is not None and known.phase == "exited" and record.phase != "exited":
            return
        self.records[record.id] = record

    def observe(self) -> Observed:
        """Return all that is known, frozen."""
        health = {}
        for container_id, probes in self.probes.items():
            health[container_id] = probes.health
        for container_id, message in self.hooks_failed.items():
            if container_id in self.records:
                known = health.get(container_id)
                health[container_id] = (
                    msgspec.structs.replace(known, failure=message)
                    if known is not None
                    else _failed(message)
                )
        return Observed(
            records=tuple(self.records.values()),
            addresses=self.addresses,
            volumes_ready=self.volumes_ready,
            volumes_trouble=self.volumes_trouble,
            sandbox_trouble=self.sandbox_trouble,
            images=dict(self.images),
            troubles=dict(self.troubles),
            health=health,
            hooks_running=frozenset(self.hooks_running),
            stopping=frozenset(self.stops),
            messages=dict(self.messages),
            resized=dict(self.resized),
            resize_troubles=dict(self.resize_troubles),
            pending_resize=self.pending_resize,
            group_limits=self.group_limits,
            ending=self.ending,
        )

    def image_reported(self, container: AnyContainer, state: ImageState) -> None:
        """Take how far a container's image is."""
        before = self.images.get(container.name)
        self.images[container.name] = state
        if state.image_id:
            self.image_failures.pop(container.name, None)
        elif state.trouble is not None and (before is None or before.trouble is None):
            failures = self.image_failures.get(container.name, 0)
            self.image_failures[container.name] = failures + 1


def _failed(message: str) -> Health:
    return Health(failure=message)


def _version(pod: Pod) -> int:
    text = pod.metadata.resourceVersion
    return int(text) if text.isdecimal() else 0
