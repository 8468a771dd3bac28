"""Flow schemas and priority levels of the API server."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    SET,
    GroupVersionKind,
    Int32,
    Kind,
    Model,
    Time,
    list_map,
    merge_by,
)


class ExemptPriorityLevelConfiguration(Model):
    """ExemptPriorityLevelConfiguration."""

    lendablePercent: Int32 | None = None
    nominalConcurrencyShares: Int32 | None = None


class FlowDistinguisherMethod(Model):
    """FlowDistinguisherMethod."""

    type: Annotated[str, REQUIRED] = ""


class PriorityLevelConfigurationReference(Model):
    """PriorityLevelConfigurationReference."""

    name: Annotated[str, REQUIRED] = ""


class NonResourcePolicyRule(Model):
    """NonResourcePolicyRule."""

    nonResourceURLs: Annotated[list[str], REQUIRED, SET] = []
    verbs: Annotated[list[str], REQUIRED, SET] = []


class ResourcePolicyRule(Model):
    """ResourcePolicyRule."""

    apiGroups: Annotated[list[str], REQUIRED, SET] = []
    resources: Annotated[list[str], REQUIRED, SET] = []
    verbs: Annotated[list[str], REQUIRED, SET] = []
    clusterScope: bool = False
    namespaces: Annotated[list[str], SET, ALWAYS] = []


class GroupSubject(Model):
    """GroupSubject."""

    name: Annotated[str, REQUIRED] = ""


class ServiceAccountSubject(Model):
    """ServiceAccountSubject."""

    name: Annotated[str, REQUIRED] = ""
    namespace: Annotated[str, REQUIRED] = ""


class UserSubject(Model):
    """UserSubject."""

    name: Annotated[str, REQUIRED] = ""


class Subject(Model):
    """Subject."""

    kind: Annotated[str, REQUIRED] = ""
    group: GroupSubject | None = None
    serviceAccount: ServiceAccountSubject | None = None
    user: UserSubject | None = None


class PolicyRulesWithSubjects(Model):
    """PolicyRulesWithSubjects."""

    subjects: Annotated[list[Subject], REQUIRED, ATOMIC] = []
    nonResourceRules: Annotated[list[NonResourcePolicyRule], ATOMIC] = []
    resourceRules: Annotated[list[ResourcePolicyRule], ATOMIC] = []


class FlowSchemaSpec(Model):
    """FlowSchemaSpec."""

    priorityLevelConfiguration: Annotated[PriorityLevelConfigurationReference, REQUIRED] = (
        PriorityLevelConfigurationReference()
    )
    distinguisherMethod: FlowDistinguisherMethod | None = None
    matchingPrecedence: Annotated[Int32, ALWAYS] = 0
    rules: Annotated[list[PolicyRulesWithSubjects], ATOMIC] = []


class FlowSchemaCondition(Model):
    """FlowSchemaCondition."""

    status: str = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = ""


class FlowSchemaStatus(Model):
    """FlowSchemaStatus."""

    conditions: Annotated[list[FlowSchemaCondition], list_map("type"), merge_by("type")] = []


class FlowSchema(Kind):
    """FlowSchema."""

    gvk: ClassVar = GroupVersionKind("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema")

    metadata: ObjectMeta = ObjectMeta()
    spec: FlowSchemaSpec = FlowSchemaSpec()
    status: FlowSchemaStatus = FlowSchemaStatus()


class FlowSchemaList(Kind):
    """FlowSchemaList."""

    gvk: ClassVar = GroupVersionKind("flowcontrol.apiserver.k8s.io", "v1", "FlowSchemaList")

    items: Annotated[list[FlowSchema], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class QueuingConfiguration(Model):
    """QueuingConfiguration."""

    handSize: Annotated[Int32, ALWAYS] = 0
    queueLengthLimit: Annotated[Int32, ALWAYS] = 0
    queues: Annotated[Int32, ALWAYS] = 0


class LimitResponse(Model):
    """LimitResponse."""

    type: Annotated[str, REQUIRED] = ""
    queuing: QueuingConfiguration | None = None


class LimitedPriorityLevelConfiguration(Model):
    """LimitedPriorityLevelConfiguration."""

    borrowingLimitPercent: Int32 | None = None
    lendablePercent: Int32 | None = None
    limitResponse: LimitResponse = LimitResponse()
    nominalConcurrencyShares: Int32 | None = None


class PriorityLevelConfigurationSpec(Model):
    """PriorityLevelConfigurationSpec."""

    type: Annotated[str, REQUIRED] = ""
    exempt: ExemptPriorityLevelConfiguration | None = None
    limited: LimitedPriorityLevelConfiguration | None = None


class PriorityLevelConfigurationCondition(Model):
    """PriorityLevelConfigurationCondition."""

    status: str = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = ""


class PriorityLevelConfigurationStatus(Model):
    """PriorityLevelConfigurationStatus."""

    conditions: Annotated[
        list[PriorityLevelConfigurationCondition], list_map("type"), merge_by("type")
    ] = []


class PriorityLevelConfiguration(Kind):
    """PriorityLevelConfiguration."""

    gvk: ClassVar = GroupVersionKind(
        "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: PriorityLevelConfigurationSpec = PriorityLevelConfigurationSpec()
    status: PriorityLevelConfigurationStatus = PriorityLevelConfigurationStatus()


class PriorityLevelConfigurationList(Kind):
    """PriorityLevelConfigurationList."""

    gvk: ClassVar = GroupVersionKind(
        "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfigurationList"
    )

    items: Annotated[list[PriorityLevelConfiguration], REQUIRED] = []
    metadata: ListMeta = ListMeta()
