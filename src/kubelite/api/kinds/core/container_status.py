"""What a node reports about a container."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.core.containers import ResourceRequirements
from kubelite.api.kinds.model import (
    ATOMIC,
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
    """ContainerStateRunning."""

    startedAt: Time = ""


class ContainerStateTerminated(Model):
    """ContainerStateTerminated."""

    exitCode: Annotated[Int32, REQUIRED] = 0
    containerID: str = ""
    finishedAt: Time = ""
    message: str = ""
    reason: str = ""
    signal: Int32 = 0
    startedAt: Time = ""


class ContainerStateWaiting(Model):
    """ContainerStateWaiting."""

    message: str = ""
    reason: str = ""


class ContainerState(Model):
    """ContainerState."""

    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
    waiting: ContainerStateWaiting | None = None


class ResourceHealth(Model):
    """ResourceHealth."""

    resourceID: Annotated[str, REQUIRED] = ""
    health: str = ""
    message: str | None = None


class ResourceStatus(Model):
    """ResourceStatus."""

    name: Annotated[str, REQUIRED] = ""
    resources: Annotated[list[ResourceHealth], list_map("resourceID")] = []


class LinuxContainerUser(Model):
    """LinuxContainerUser."""

    gid: Annotated[Int64, REQUIRED] = 0
    uid: Annotated[Int64, REQUIRED] = 0
    supplementalGroups: Annotated[list[Int64], ATOMIC] = []


class ContainerUser(Model):
    """ContainerUser."""

    linux: LinuxContainerUser | None = None


class ImageVolumeStatus(Model):
    """ImageVolumeStatus."""

    imageRef: Annotated[str, REQUIRED] = ""


class VolumeStatus(Model):
    """VolumeStatus."""

    image: ImageVolumeStatus | None = None


class VolumeMountStatus(Model):
    """VolumeMountStatus."""

    mountPath: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    readOnly: bool = False
    recursiveReadOnly: str | None = None
    volumeStatus: VolumeStatus | None = None


class ContainerStatus(Model):
    """ContainerStatus."""

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
    stopSignal: str | None = None
    user: ContainerUser | None = None
    volumeMounts: Annotated[
        list[VolumeMountStatus], list_map("mountPath"), merge_by("mountPath")
    ] = []
