"""Deployments, replica sets, stateful sets, daemon sets and their revisions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import PodTemplateSpec
from kubelite.api.kinds.meta import LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Int32,
    Int64,
    IntOrString,
    Kind,
    Model,
    Note,
    RawExtension,
    Time,
    list_map,
    merge_by,
)


class ControllerRevision(Kind):
    """ControllerRevision."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "ControllerRevision")

    revision: Annotated[Int64, REQUIRED] = 0
    metadata: ObjectMeta = ObjectMeta()
    data: RawExtension | None = None


class ControllerRevisionList(Kind):
    """ControllerRevisionList."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "ControllerRevisionList")

    items: Annotated[list[ControllerRevision], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class RollingUpdateDaemonSet(Model):
    """RollingUpdateDaemonSet."""

    maxSurge: IntOrString | None = None
    maxUnavailable: IntOrString | None = None


class DaemonSetUpdateStrategy(Model):
    """DaemonSetUpdateStrategy."""

    rollingUpdate: RollingUpdateDaemonSet | None = None
    type: str = ""


class DaemonSetSpec(Model):
    """DaemonSetSpec."""

    selector: Annotated[LabelSelector | None, REQUIRED] = None
    template: Annotated[PodTemplateSpec, REQUIRED] = PodTemplateSpec()
    minReadySeconds: Int32 = 0
    revisionHistoryLimit: Int32 | None = None
    updateStrategy: DaemonSetUpdateStrategy = DaemonSetUpdateStrategy()


class DaemonSetCondition(Model):
    """DaemonSetCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class DaemonSetStatus(Model):
    """DaemonSetStatus."""

    currentNumberScheduled: Annotated[Int32, REQUIRED] = 0
    desiredNumberScheduled: Annotated[Int32, REQUIRED] = 0
    numberMisscheduled: Annotated[Int32, REQUIRED] = 0
    numberReady: Annotated[Int32, REQUIRED] = 0
    collisionCount: Int32 | None = None
    conditions: Annotated[list[DaemonSetCondition], list_map("type"), merge_by("type")] = []
    numberAvailable: Int32 = 0
    numberUnavailable: Int32 = 0
    observedGeneration: Int64 = 0
    updatedNumberScheduled: Int32 = 0


class DaemonSet(Kind):
    """DaemonSet."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "DaemonSet")

    metadata: ObjectMeta = ObjectMeta()
    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class DaemonSetList(Kind):
    """DaemonSetList."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "DaemonSetList")

    items: Annotated[list[DaemonSet], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class RollingUpdateDeployment(Model):
    """RollingUpdateDeployment."""

    maxSurge: IntOrString | None = None
    maxUnavailable: IntOrString | None = None


class DeploymentStrategy(Model):
    """DeploymentStrategy."""

    rollingUpdate: RollingUpdateDeployment | None = None
    type: str = ""


class DeploymentSpec(Model):
    """DeploymentSpec."""

    selector: Annotated[LabelSelector | None, REQUIRED] = None
    template: Annotated[PodTemplateSpec, REQUIRED] = PodTemplateSpec()
    minReadySeconds: Int32 = 0
    paused: bool = False
    progressDeadlineSeconds: Int32 | None = None
    replicas: Int32 | None = None
    revisionHistoryLimit: Int32 | None = None
    strategy: Annotated[DeploymentStrategy, Note(retain_keys=True)] = DeploymentStrategy()


class DeploymentCondition(Model):
    """DeploymentCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    lastUpdateTime: Time = ""
    message: str = ""
    reason: str = ""


class DeploymentStatus(Model):
    """DeploymentStatus."""

    availableReplicas: Int32 = 0
    collisionCount: Int32 | None = None
    conditions: Annotated[list[DeploymentCondition], list_map("type"), merge_by("type")] = []
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0
    replicas: Int32 = 0
    terminatingReplicas: Int32 | None = None
    unavailableReplicas: Int32 = 0
    updatedReplicas: Int32 = 0


class Deployment(Kind):
    """Deployment."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "Deployment")

    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class DeploymentList(Kind):
    """DeploymentList."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "DeploymentList")

    items: Annotated[list[Deployment], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ReplicaSetSpec(Model):
    """ReplicaSetSpec."""

    selector: Annotated[LabelSelector | None, REQUIRED] = None
    minReadySeconds: Int32 = 0
    replicas: Int32 | None = None
    template: PodTemplateSpec = PodTemplateSpec()


class ReplicaSetCondition(Model):
    """ReplicaSetCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class ReplicaSetStatus(Model):
    """ReplicaSetStatus."""

    replicas: Annotated[Int32, REQUIRED] = 0
    availableReplicas: Int32 = 0
    conditions: Annotated[list[ReplicaSetCondition], list_map("type"), merge_by("type")] = []
    fullyLabeledReplicas: Int32 = 0
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0
    terminatingReplicas: Int32 | None = None


class ReplicaSet(Kind):
    """ReplicaSet."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "ReplicaSet")

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class ReplicaSetList(Kind):
    """ReplicaSetList."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "ReplicaSetList")

    items: Annotated[list[ReplicaSet], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class RollingUpdateStatefulSetStrategy(Model):
    """RollingUpdateStatefulSetStrategy."""

    maxUnavailable: IntOrString | None = None
    partition: Int32 | None = None


class StatefulSetOrdinals(Model):
    """StatefulSetOrdinals."""

    start: Annotated[Int32, ALWAYS] = 0


class StatefulSetPersistentVolumeClaimRetentionPolicy(Model):
    """StatefulSetPersistentVolumeClaimRetentionPolicy."""

    whenDeleted: str = ""
    whenScaled: str = ""


class StatefulSetUpdateStrategy(Model):
    """StatefulSetUpdateStrategy."""

    rollingUpdate: RollingUpdateStatefulSetStrategy | None = None
    type: str = ""


class StatefulSetSpec(Model):
    """StatefulSetSpec."""

    selector: Annotated[LabelSelector | None, REQUIRED] = None
    template: Annotated[PodTemplateSpec, REQUIRED] = PodTemplateSpec()
    minReadySeconds: Int32 = 0
    ordinals: StatefulSetOrdinals | None = None
    persistentVolumeClaimRetentionPolicy: StatefulSetPersistentVolumeClaimRetentionPolicy | None = (
        None
    )
    podManagementPolicy: str = ""
    replicas: Int32 | None = None
    revisionHistoryLimit: Int32 | None = None
    serviceName: Annotated[str, ALWAYS] = ""
    updateStrategy: StatefulSetUpdateStrategy = StatefulSetUpdateStrategy()
    volumeClaimTemplates: Annotated[list[PersistentVolumeClaim], ATOMIC] = []


class StatefulSetCondition(Model):
    """StatefulSetCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class StatefulSetStatus(Model):
    """StatefulSetStatus."""

    replicas: Annotated[Int32, REQUIRED] = 0
    availableReplicas: Annotated[Int32, ALWAYS] = 0
    collisionCount: Int32 | None = None
    conditions: Annotated[list[StatefulSetCondition], list_map("type"), merge_by("type")] = []
    currentReplicas: Int32 = 0
    currentRevision: str = ""
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0
    updateRevision: str = ""
    updatedReplicas: Int32 = 0


class StatefulSet(Kind):
    """StatefulSet."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "StatefulSet")

    metadata: ObjectMeta = ObjectMeta()
    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class StatefulSetList(Kind):
    """StatefulSetList."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "StatefulSetList")

    items: Annotated[list[StatefulSet], REQUIRED] = []
    metadata: ListMeta = ListMeta()
