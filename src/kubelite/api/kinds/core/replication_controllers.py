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
    """What is wanted of a replication controller."""

    minReadySeconds: Int32 = 0
    replicas: Annotated[Int32 | None, default(1)] = None
    selector: Annotated[dict[str, str], ATOMIC_MAP] = {}
    template: PodTemplateSpec | None = None


class ReplicationControllerCondition(Model):
    """One aspect of a replication controller's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class ReplicationControllerStatus(Model):
    """What was last observed of a replication controller."""

    replicas: Annotated[Int32, REQUIRED] = 0
    availableReplicas: Int32 = 0
    conditions: Annotated[
        list[ReplicationControllerCondition], list_map("type"), merge_by("type")
    ] = []
    fullyLabeledReplicas: Int32 = 0
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0


class ReplicationController(Kind):
    """Keeps a number of equal pods running; deployments do it better."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ReplicationController")

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationControllerSpec = ReplicationControllerSpec()
    status: ReplicationControllerStatus = ReplicationControllerStatus()


class ReplicationControllerList(Kind):
    """A list of replication controllers."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ReplicationControllerList")

    items: Annotated[list[ReplicationController], REQUIRED] = []
    metadata: ListMeta = ListMeta()
