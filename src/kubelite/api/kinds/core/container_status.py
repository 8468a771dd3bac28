"""What a node reports about a container."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.core.containers import ResourceRequirements
from kubelite.api.kinds.enums import SIGNALS
from kubelite.api.kinds.model import (
    ATOMIC,
    OMIT_EMPTY,
    REQUIRED,
    Int32,
    Int64,
    Model,
    Quantity,
    Time,
    list_map,
    merge_by,
)


class ContainerStateRunning(Model):
    """The container runs, since when."""

    startedAt: Time = ""


class ContainerStateTerminated(Model):
    """The container has ended: when, how and why."""

    exitCode: Annotated[Int32, REQUIRED] = 0
    containerID: str = ""
    finishedAt: Time = ""
    message: str = ""
    reason: str = ""
    signal: Int32 = 0
    startedAt: Time = ""


class ContainerStateWaiting(Model):
    """The container does not run yet, and why."""

    message: str = ""
    reason: str = ""


class ContainerState(Model):
    """What a container is doing: waiting, running or terminated."""

    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
    waiting: ContainerStateWaiting | None = None


class ResourceHealth(Model):
    """Whether a device given to a container is well."""

    resourceID: Annotated[str, REQUIRED] = ""
    health: str = ""
    message: str | None = None


class ResourceStatus(Model):
    """How the devices behind one resource of a container are."""

    name: Annotated[str, REQUIRED] = ""
    resources: Annotated[list[ResourceHealth], list_map("resourceID")] = []


class LinuxContainerUser(Model):
    """The user and groups the first process of a container started with."""

    gid: Annotated[Int64, REQUIRED] = 0
    uid: Annotated[Int64, REQUIRED] = 0
    supplementalGroups: Annotated[list[Int64], ATOMIC] = []


class ContainerUser(Model):
    """Whom the first process of a container runs as."""

    linux: LinuxContainerUser | None = None


class ImageVolumeStatus(Model):
    """Which image a volume was made from."""

    imageRef: Annotated[str, REQUIRED, OMIT_EMPTY] = ""


class VolumeStatus(Model):
    """What is known of a mounted volume beyond its mount."""

    image: ImageVolumeStatus | None = None


class VolumeMountStatus(Model):
    """How a volume is mounted in a container."""

    mountPath: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    readOnly: bool = False
    recursiveReadOnly: str | None = None
    volumeStatus: VolumeStatus | None = None


class ContainerStatus(Model):
    """What a container of a pod is doing, and what it did before."""

    image: Annotated[str, REQUIRED] = ""
    imageID: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    ready: Annotated[bool, REQUIRED] = False
    restartCount: Annotated[Int32, REQUIRED] = 0
    allocatedResources: dict[str, Quantity] = {}
    allocatedResourcesStatus: Annotated[
        list[ResourceStatus], list_map("name"), merge_by("name")
    ] = []
    containerID: str = ""
    lastState: ContainerState = ContainerState()
    resources: ResourceRequirements | None = None
    started: bool | None = None
    state: ContainerState = ContainerState()
    stopSignal: Annotated[str | None, SIGNALS] = None
    user: ContainerUser | None = None
    volumeMounts: Annotated[
        list[VolumeMountStatus], list_map("mountPath"), merge_by("mountPath")
    ] = []
