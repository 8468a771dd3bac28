"""Replication controllers."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.pods import PodTemplateSpec
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC_MAP,
    REQUIRED,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    Time,
    default,
    list_map,
    merge_by,
)


class ReplicationControllerSpec(Model):
    """ReplicationControllerSpec."""

    minReadySeconds: Int32 = 0
    replicas: Annotated[Int32 | None, default(1)] = None
    selector: Annotated[dict[str, str], ATOMIC_MAP] = {}
    template: PodTemplateSpec | None = None


class ReplicationControllerCondition(Model):
    """ReplicationControllerCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class ReplicationControllerStatus(Model):
    """ReplicationControllerStatus."""

    replicas: Annotated[Int32, REQUIRED] = 0
    availableReplicas: Int32 = 0
    conditions: Annotated[
        list[ReplicationControllerCondition], list_map("type"), merge_by("type")
    ] = []
    fullyLabeledReplicas: Int32 = 0
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0


class ReplicationController(Kind):
    """ReplicationController."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ReplicationController")

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationControllerSpec = ReplicationControllerSpec()
    status: ReplicationControllerStatus = ReplicationControllerStatus()


class ReplicationControllerList(Kind):
    """ReplicationControllerList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ReplicationControllerList")

    items: Annotated[list[ReplicationController], REQUIRED] = []
    metadata: ListMeta = ListMeta()
