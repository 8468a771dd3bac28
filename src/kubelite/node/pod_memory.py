"""The state of one pod between two reconciles; after a restart it is recovered from the containers' labels."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from kubelite.api.kinds.core.container_status import ResourceStatus
from kubelite.api.kinds.core.containers import ResourceRequirements
from kubelite.api.kinds.core.pods import Pod, PodStatus
from kubelite.node.observed import (
    CLAIMS_NOT_PREPARED,
    Ending,
    Health,
    ImageState,
    Observed,
    Pending,
    Trouble,
)
from kubelite.node.pods import image_volume_of, is_terminal
from kubelite.node.probes import ContainerProbes
from kubelite.node.runtime import ContainerLimits, ContainerRecord
from kubelite.node.status import DISRUPTION_TARGET, KUBELET_CONDITIONS, KUBELET_FIELDS


class Stop:
    """The stop of a container in progress."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline  # loop time at which it is killed
        self.earliest = 0.0  # loop time before which it is not killed, once it was signalled
        self.wake: Callable[[], None] = lambda: None  # called when the deadline came nearer


class ContainerState:
    """The state of one run of a container beside its record; dropped with the container."""

    __slots__ = (
        "applied_resources",
        "hook",
        "hook_failure",
        "is_hook_running",
        "message",
        "probes",
        "resize_failures",
        "resize_trouble",
        "stop",
        "told_backoff",
    )

    def __init__(self) -> None:
        self.probes: ContainerProbes | None = None
        self.stop: Stop | None = None  # set while it is being stopped
        self.hook: asyncio.Task[None] | None = None  # its postStart hook, while it runs
        self.is_hook_running = False  # from before the start on
        self.hook_failure = ""
        self.message: str | None = None  # its termination message; None until that was read
        self.applied_resources = ""  # by its last resize, as JSON; "" if it was not resized
        self.resize_trouble: Trouble | None = None  # why its last resize failed
        self.resize_failures = 0  # in succession
        self.told_backoff = False  # whether its back-off was made an event


class PodMemory:
    """The mutable state of one pod: as seen in the API, its containers, and the outcomes of actions."""

    def __init__(self, uid: str) -> None:
        self.uid = uid
        self.pod: Pod | None = (
            None  # as last seen in the API, or of a manifest with its mirror's status
        )
        self.mirror: Pod | None = None  # that shows a static pod in the API, as last seen
        self.unwritten: PodStatus | None = None  # the newest status, until the API has it
        self.status_write: asyncio.Task[None] | None = None  # in flight
        self.status_failures = 0  # of writes, in succession
        self.gone = False  # deleted from the API
        self.admitted = False
        self.records: dict[str, ContainerRecord] = {}
        self.containers: dict[str, ContainerState] = {}  # by container id, as the records
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
        self.allocated: dict[str, ResourceRequirements] = {}  # by container name, once admitted
        self.devices: Mapping[str, list[ResourceStatus]] = {}  # health by container
        self.pending_resize: Pending | None = None
        self.group_limits: ContainerLimits | None = None  # last applied to the pod's control group
        self.ending: Ending | None = None
        self.at_rest = (
            asyncio.Event()
        )  # set once nothing of a pod that ends runs, and its status says so
        self.gives_up_containers = False  # once it has ended, since the disk is full
        self.told_reductions: set[tuple[str, str]] = set()  # container name, withheld privilege
        self._reclaimed: asyncio.Event | None = None  # made when it is waited for
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}  # for ends, by container id

    @property
    def current(self) -> Pod | None:
        """The pod as last seen in the API, with the status that the API does not have yet."""
        if self.pod is None or self.unwritten is None:
            return self.pod
        return with_own_status(self.pod, self.unwritten)

    def update_pod(self, pod: Pod, before: Pod | None = None) -> None:
        """Store a newer version of the pod; an older one, from a mirror that lags, is ignored.

        `before` is the version that the mirror had: if that is newer, the server has gone back to an older state.
        """
        went_back = before is not None and _version(pod) < _version(before)
        if self.pod is None or went_back or _version(pod) >= _version(self.pod):
            self.pod = pod

    def update_mirror(self, mirror: Pod | None) -> None:
        """Store the mirror pod of a static pod; None: there is none. A mirror that is lost takes no status with it.

        A mirror that tells how the pod ended before the agent started, as before a boot, does not keep it from running.
        """
        before, status = self.mirror, self.current.status if self.current is not None else None
        if before is not None and mirror is not None and before.metadata.uid == mirror.metadata.uid:
            if _version(mirror) < _version(before):
                return
        elif before is not None or (
            mirror is not None and _is_over(mirror) and not _is_over(self.current)
        ):
            self.unwritten = status
        self.mirror = mirror
        if self.pod is not None and mirror is not None:
            self.pod = msgspec.structs.replace(self.pod, status=mirror.status)
        elif self.pod is not None and status is not None:
            self.pod = msgspec.structs.replace(self.pod, status=status)

    def update_container(self, record: ContainerRecord) -> None:
        """Store a container's record; a late one, which shows an ended container as running, is ignored."""
        known = self.records.get(record.id)
        if known is not None and known.phase == "exited" and record.phase != "exited":
            return
        self.records[record.id] = record
        if record.phase == "exited":
            self._tell_end(record.id)

    def container(self, container_id: str) -> ContainerState:
        """Return the state of a container, created if it is new."""
        if container_id not in self.containers:
            self.containers[container_id] = ContainerState()
        return self.containers[container_id]

    def forget(self, container_id: str) -> ContainerState:
        """Drop a container that is gone; return its state, which the caller releases."""
        self.records.pop(container_id, None)
        self._tell_end(container_id)
        return self.containers.pop(container_id, None) or ContainerState()

    async def ended(self, container_id: str) -> None:
        """Wait until a container has ended or is gone."""
        record = self.records.get(container_id)
        if record is None or record.phase == "exited":
            return
        waiting = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(container_id, set())
        waiters.add(waiting)
        try:
            await waiting
        finally:
            waiters.discard(waiting)
            if not waiters:
                self._waiting.pop(container_id, None)

    def _tell_end(self, container_id: str) -> None:
        for waiting in self._waiting.get(container_id, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def reclaimed(self) -> None:
        """Wait until all that was made for the pod has been removed from now on."""
        if self._reclaimed is None:
            self._reclaimed = asyncio.Event()
        await self._reclaimed.wait()

    def note_reclaimed(self) -> None:
        """Wake those that wait for the removal."""
        if self._reclaimed is not None:
            self._reclaimed.set()

    def stop_restarting_probes(self) -> None:
        """Stop liveness and startup probes, since the pod is ending; readiness probes continue."""
        for state in self.containers.values():
            if state.probes is not None:
                state.probes.pod_is_ending()

    def retry_claims(self, now: datetime) -> None:
        """End the back-off of a sandbox whose claims could not be prepared."""
        trouble = self.sandbox_trouble
        if trouble is not None and trouble.reason == CLAIMS_NOT_PREPARED:
            self.sandbox_trouble = msgspec.structs.replace(trouble, retry_at=now)
            self.sandbox_failures = 0

    def observe(self) -> Observed:
        """Return an immutable snapshot of the state."""
        states = self.containers.items()
        return Observed(
            records=tuple(self.records.values()),
            addresses=self.addresses,
            volumes_ready=self.volumes_ready,
            gives_up_containers=self.gives_up_containers,
            volumes_trouble=self.volumes_trouble,
            sandbox_trouble=self.sandbox_trouble,
            images=dict(self.images),
            troubles=dict(self.troubles),
            health={key: health for key, state in states if (health := _health_of(state))},
            hooks_running=frozenset(key for key, state in states if state.is_hook_running),
            stopping=frozenset(key for key, state in states if state.stop is not None),
            messages={key: state.message for key, state in states if state.message is not None},
            resized={
                key: state.applied_resources for key, state in states if state.applied_resources
            },
            resize_troubles={
                key: state.resize_trouble for key, state in states if state.resize_trouble
            },
            pending_resize=self.pending_resize,
            devices=self.devices,
            group_limits=self.group_limits,
            ending=self.ending,
        )

    def volume_images(self) -> dict[str, str]:
        """Return the ids of the images of volumes that are on the node, by the volume's name."""
        return {
            name: state.image_id
            for key, state in self.images.items()
            if (name := image_volume_of(key)) and state.image_id
        }

    def image_reported(self, key: str, state: ImageState) -> None:
        """Store the state of a wanted image, and count failed pulls in succession."""
        before = self.images.get(key)
        self.images[key] = state
        if state.image_id:
            self.image_failures.pop(key, None)
        elif state.trouble is not None and (before is None or before.trouble is None):
            failures = self.image_failures.get(key, 0)
            self.image_failures[key] = failures + 1


def with_own_status(pod: Pod, status: PodStatus) -> Pod:
    """Return a pod with the parts of a status that the kubelet writes; those of others stay as they are."""
    own = {field: getattr(status, field) for field in KUBELET_FIELDS}
    written = set(KUBELET_CONDITIONS)
    written |= {one.type for one in status.conditions if one.type == DISRUPTION_TARGET}
    conditions = [
        *(one for one in pod.status.conditions if one.type not in written),
        *(one for one in status.conditions if one.type in written),
    ]
    merged = msgspec.structs.replace(pod.status, conditions=conditions, **own)
    return msgspec.structs.replace(pod, status=merged)


def _health_of(state: ContainerState) -> Health | None:
    """Return the health by probes and postStart hook; None without either."""
    known = state.probes.health if state.probes is not None else None
    if not state.hook_failure:
        return known
    return msgspec.structs.replace(known or Health(), failure=state.hook_failure, failed_probe="")


def _is_over(pod: Pod | None) -> bool:
    return pod is not None and is_terminal(pod)


def _version(pod: Pod) -> int:
    text = pod.metadata.resourceVersion
    return int(text) if text.isdecimal() else 0
