"""The observed state of one pod: the input of `plan` and `status_of`. Immutable."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Literal

from msgspec import Struct

from kubelite.api.kinds.core.container_status import ResourceStatus
from kubelite.node.runtime import ContainerLimits, ContainerRecord

SANDBOX_LABEL = "io.kubernetes.sandbox.id"
HASH_LABEL = "io.kubernetes.container.hash"
RESOURCES_LABEL = "io.kubelite.resources"  # those it was created with, as JSON
HANDLER_LABEL = "io.kubelite.handler"  # of a sandbox: the engine's handler it was made with
BACKOFF_LABEL = "io.kubelite.backoff-seconds"  # how long to wait before the next start


CLAIMS_NOT_PREPARED = "FailedPrepareDynamicResources"  # the reason of a trouble of a sandbox


class Trouble(Struct, frozen=True):
    """Why something of a pod does not go on, in the words of its status."""

    reason: str
    message: str
    retry_at: datetime | None = None  # None: a change will wake the pod


class ImageState(Struct, frozen=True):
    """How far a wanted image is."""

    image_id: str = ""  # set once it is on the node
    pulling: bool = False
    trouble: Trouble | None = None


class Health(Struct, frozen=True):
    """The results of the probes of one running container. Without a probe its value is True."""

    started: bool = True
    ready: bool = True
    failure: str = ""  # why it must be restarted
    failed_probe: Literal["", "Startup", "Liveness"] = ""  # which probe said so, if one did


class Pending(Struct, frozen=True):
    """Why a resize waits: the reason and message of the condition PodResizePending."""

    reason: str
    message: str


class Ending(Struct, frozen=True):
    """The reason to end a pod that was not deleted, such as its deadline."""

    reason: str
    message: str
    grace_seconds: int | None = None  # at most, for its containers; None: that of the pod
    disruption: str = (
        ""  # reason of the condition DisruptionTarget; empty: the end is no disruption
    )
    disruption_message: str = ""  # of that condition, if it is another one

    def is_within(self, grace_seconds: int) -> bool:
        """Return whether the pod ends within a grace period anyway."""
        return self.grace_seconds is not None and self.grace_seconds <= grace_seconds


class Observed(Struct, frozen=True, dict=True):  # dict: for cached properties
    """One pod as the node sees it."""

    records: Sequence[ContainerRecord] = ()  # sandboxes and containers of the pod, in any order
    addresses: tuple[str, ...] = ()  # of the running sandbox
    volumes_ready: bool = False
    volumes_trouble: Trouble | None = None
    sandbox_trouble: Trouble | None = None
    images: Mapping[str, ImageState] = {}  # by the key of the wanted image
    troubles: Mapping[str, Trouble] = {}  # by container name, why it was not created
    health: Mapping[str, Health] = {}  # by container id
    hooks_running: frozenset[str] = frozenset()  # container ids whose postStart is not done
    stopping: frozenset[str] = frozenset()  # ids of containers that are being stopped
    messages: Mapping[str, str] = {}  # container id: its termination message
    resized: Mapping[
        str, str
    ] = {}  # container id: the resources that its last resize applied, as JSON
    resize_troubles: Mapping[str, Trouble] = {}  # container id: why its resize failed
    group_limits: ContainerLimits | None = None  # of the pod's control group; None: not known
    pending_resize: Pending | None = None  # the requested resources do not fit now
    ending: Ending | None = None
    gives_up_containers: bool = False  # once the pod has ended, since the disk is full
    devices: Mapping[str, list[ResourceStatus]] = {}  # by container name: their health

    def newest_sandbox(self) -> ContainerRecord | None:
        """Return the latest sandbox, running or not."""
        sandboxes = [record for record in self.records if record.is_sandbox]
        return max(sandboxes, key=lambda record: record.attempt, default=None)

    @cached_property
    def _attempts(self) -> Mapping[str, list[ContainerRecord]]:
        """The records by container name, the newest first; a pod may have thousands of containers."""
        found: dict[str, list[ContainerRecord]] = {}
        for record in sorted(self.records, key=lambda record: record.attempt, reverse=True):
            found.setdefault(record.name, []).append(record)
        return found

    def attempts(self, name: str) -> list[ContainerRecord]:
        """Return a container's records, the newest first."""
        return list(self._attempts.get(name, ()))

    def newest(self, name: str) -> ContainerRecord | None:
        """Return a container's latest record."""
        attempts = self._attempts.get(name)
        return attempts[0] if attempts else None

    def running(self) -> list[ContainerRecord]:
        """Return the running containers, without sandboxes."""
        return [r for r in self.records if r.is_running and not r.is_sandbox]
