"""Deployments, replica sets, stateful sets, daemon sets and their revisions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import PodTemplateSpec
from kubelite.api.kinds.enums import (
    DEPLOYMENT_STRATEGIES,
    POD_MANAGEMENT_POLICIES,
    UPDATE_STRATEGIES,
)
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
    """A past state of a stateful set's or daemon set's template, kept for rolling back."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "ControllerRevision")

    revision: Annotated[Int64, REQUIRED] = 0
    metadata: ObjectMeta = ObjectMeta()
    data: RawExtension | None = None


class ControllerRevisionList(Kind):
    """A list of controller revisions."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "ControllerRevisionList")

    items: Annotated[list[ControllerRevision], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class RollingUpdateDaemonSet(Model):
    """How many nodes may be without a pod, or with two, during an update."""

    maxSurge: IntOrString | None = None
    maxUnavailable: IntOrString | None = None


class DaemonSetUpdateStrategy(Model):
    """How pods are replaced when the template changes."""

    rollingUpdate: RollingUpdateDaemonSet | None = None
    type: Annotated[str, UPDATE_STRATEGIES] = ""


class DaemonSetSpec(Model):
    """What is wanted of a daemon set."""

    selector: Annotated[LabelSelector | None, REQUIRED] = None
    template: Annotated[PodTemplateSpec, REQUIRED] = PodTemplateSpec()
    minReadySeconds: Int32 = 0
    revisionHistoryLimit: Int32 | None = None
    updateStrategy: DaemonSetUpdateStrategy = DaemonSetUpdateStrategy()


class DaemonSetCondition(Model):
    """One aspect of a daemon set's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class DaemonSetStatus(Model):
    """What was last observed of a daemon set."""

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
    """Runs one pod on every node, or on those a selector picks."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "DaemonSet")

    metadata: ObjectMeta = ObjectMeta()
    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class DaemonSetList(Kind):
    """A list of daemon sets."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "DaemonSetList")

    items: Annotated[list[DaemonSet], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class RollingUpdateDeployment(Model):
    """How many pods may be missing, or too many, during an update."""

    maxSurge: IntOrString | None = None
    maxUnavailable: IntOrString | None = None


class DeploymentStrategy(Model):
    """How old pods are replaced by new ones."""

    rollingUpdate: RollingUpdateDeployment | None = None
    type: Annotated[str, DEPLOYMENT_STRATEGIES] = ""


class DeploymentSpec(Model):
    """What is wanted of a deployment."""

    selector: Annotated[LabelSelector | None, REQUIRED] = None
    template: Annotated[PodTemplateSpec, REQUIRED] = PodTemplateSpec()
    minReadySeconds: Int32 = 0
    paused: bool = False
    progressDeadlineSeconds: Int32 | None = None
    replicas: Int32 | None = None
    revisionHistoryLimit: Int32 | None = None
    strategy: Annotated[DeploymentStrategy, Note(retain_keys=True)] = DeploymentStrategy()


class DeploymentCondition(Model):
    """One aspect of a deployment's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    lastUpdateTime: Time = ""
    message: str = ""
    reason: str = ""


class DeploymentStatus(Model):
    """What was last observed of a deployment."""

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
    """Runs a number of equal pods and replaces them step by step when the template changes."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "Deployment")

    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class DeploymentList(Kind):
    """A list of deployments."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "DeploymentList")

    items: Annotated[list[Deployment], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ReplicaSetSpec(Model):
    """What is wanted of a replica set."""

    selector: Annotated[LabelSelector | None, REQUIRED] = None
    minReadySeconds: Int32 = 0
    replicas: Int32 | None = None
    template: PodTemplateSpec = PodTemplateSpec()


class ReplicaSetCondition(Model):
    """One aspect of a replica set's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class ReplicaSetStatus(Model):
    """What was last observed of a replica set."""

    replicas: Annotated[Int32, REQUIRED] = 0
    availableReplicas: Int32 = 0
    conditions: Annotated[list[ReplicaSetCondition], list_map("type"), merge_by("type")] = []
    fullyLabeledReplicas: Int32 = 0
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0
    terminatingReplicas: Int32 | None = None


class ReplicaSet(Kind):
    """Keeps a number of equal pods running; usually made by a deployment."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "ReplicaSet")

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class ReplicaSetList(Kind):
    """A list of replica sets."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "ReplicaSetList")

    items: Annotated[list[ReplicaSet], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class RollingUpdateStatefulSetStrategy(Model):
    """How far and how fast a stateful set is updated."""

    maxUnavailable: IntOrString | None = None
    partition: Int32 | None = None


class StatefulSetOrdinals(Model):
    """The number of the first pod."""

    start: Annotated[Int32, ALWAYS] = 0


class StatefulSetPersistentVolumeClaimRetentionPolicy(Model):
    """What becomes of the claims when the set shrinks or is deleted."""

    whenDeleted: str = ""
    whenScaled: str = ""


class StatefulSetUpdateStrategy(Model):
    """How pods are replaced when the template changes."""

    rollingUpdate: RollingUpdateStatefulSetStrategy | None = None
    type: Annotated[str, UPDATE_STRATEGIES] = ""


class StatefulSetSpec(Model):
    """What is wanted of a stateful set."""

    selector: Annotated[LabelSelector | None, REQUIRED] = None
    template: Annotated[PodTemplateSpec, REQUIRED] = PodTemplateSpec()
    minReadySeconds: Int32 = 0
    ordinals: StatefulSetOrdinals | None = None
    persistentVolumeClaimRetentionPolicy: StatefulSetPersistentVolumeClaimRetentionPolicy | None = (
        None
    )
    podManagementPolicy: Annotated[str, POD_MANAGEMENT_POLICIES] = ""
    replicas: Int32 | None = None
    revisionHistoryLimit: Int32 | None = None
    serviceName: Annotated[str, ALWAYS] = ""
    updateStrategy: StatefulSetUpdateStrategy = StatefulSetUpdateStrategy()
    volumeClaimTemplates: Annotated[list[PersistentVolumeClaim], ATOMIC] = []


class StatefulSetCondition(Model):
    """One aspect of a stateful set's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class StatefulSetStatus(Model):
    """What was last observed of a stateful set."""

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
    """Runs numbered pods, each with a name, an address and volumes that outlive it."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "StatefulSet")

    metadata: ObjectMeta = ObjectMeta()
    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class StatefulSetList(Kind):
    """A list of stateful sets."""

    gvk: ClassVar = GroupVersionKind("apps", "v1", "StatefulSetList")

    items: Annotated[list[StatefulSet], REQUIRED] = []
    metadata: ListMeta = ListMeta()
