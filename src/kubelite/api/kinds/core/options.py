"""What the subresources of pods, services and nodes take as query parameters, and two rarely seen kinds."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.pods import PodStatus
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    Base64,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    NilList,
    Time,
)


class PodLogOptions(Kind):
    """Which part of a container's log to read, and how."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodLogOptions")

    container: str = ""
    follow: bool = False
    previous: bool = False
    sinceSeconds: Int64 | None = None
    sinceTime: Time | None = None
    timestamps: bool = False
    tailLines: Int64 | None = None
    limitBytes: Int64 | None = None
    insecureSkipTLSVerifyBackend: bool = False
    stream: str | None = None


class PodAttachOptions(Kind):
    """Which streams of a running container to attach to."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodAttachOptions")

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    container: str = ""


class PodExecOptions(Kind):
    """Which command to run in a container, and with which streams."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodExecOptions")

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    container: str = ""
    command: Annotated[NilList[str], ATOMIC] = []


class PodPortForwardOptions(Kind):
    """Which ports of a pod to forward to."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodPortForwardOptions")

    ports: Annotated[list[Int32], ATOMIC] = []


class PodProxyOptions(Kind):
    """Which path of a pod to proxy a request to."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodProxyOptions")

    path: str = ""


class NodeProxyOptions(Kind):
    """Which path of a node's agent to proxy a request to."""

    gvk: ClassVar = GroupVersionKind("", "v1", "NodeProxyOptions")

    path: str = ""


class ServiceProxyOptions(Kind):
    """Which path of a service to proxy a request to."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ServiceProxyOptions")

    path: str = ""


class PodStatusResult(Kind):
    """A pod's status, as an agent reports it."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PodStatusResult")

    metadata: ObjectMeta = ObjectMeta()
    status: PodStatus = PodStatus()


class RangeAllocation(Kind):
    """Which members of a range of addresses or ports are taken, as a bitmap."""

    gvk: ClassVar = GroupVersionKind("", "v1", "RangeAllocation")

    metadata: ObjectMeta = ObjectMeta()
    range: Annotated[str, REQUIRED] = ""
    data: Annotated[Base64, REQUIRED] = ""


class SerializedReference(Kind):
    """A reference to an object, as a document of its own."""

    gvk: ClassVar = GroupVersionKind("", "v1", "SerializedReference")

    reference: ObjectReference = ObjectReference()
