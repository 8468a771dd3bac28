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
    NilList,
    Time,
    list_map,
    merge_by,
)


class ExemptPriorityLevelConfiguration(Model):
    """Settings of a level whose requests never wait."""

    lendablePercent: Int32 | None = None
    nominalConcurrencyShares: Int32 | None = None


class FlowDistinguisherMethod(Model):
    """What tells one flow from another: the user or the namespace."""

    type: Annotated[str, REQUIRED] = ""


class PriorityLevelConfigurationReference(Model):
    """A priority level by name."""

    name: Annotated[str, REQUIRED] = ""


class NonResourcePolicyRule(Model):
    """Matches requests that are not about resources."""

    nonResourceURLs: Annotated[list[str], REQUIRED, SET] = []
    verbs: Annotated[list[str], REQUIRED, SET] = []


class ResourcePolicyRule(Model):
    """Matches requests about resources."""

    apiGroups: Annotated[list[str], REQUIRED, SET] = []
    resources: Annotated[list[str], REQUIRED, SET] = []
    verbs: Annotated[list[str], REQUIRED, SET] = []
    clusterScope: bool = False
    namespaces: Annotated[NilList[str], SET] = []


class GroupSubject(Model):
    """Everyone in a group."""

    name: Annotated[str, REQUIRED] = ""


class ServiceAccountSubject(Model):
    """A service account, or all of a namespace."""

    name: Annotated[str, REQUIRED] = ""
    namespace: Annotated[str, REQUIRED] = ""


class UserSubject(Model):
    """A user by name, or everyone."""

    name: Annotated[str, REQUIRED] = ""


class Subject(Model):
    """A user, a group or a service account."""

    kind: Annotated[str, REQUIRED] = ""
    group: GroupSubject | None = None
    serviceAccount: ServiceAccountSubject | None = None
    user: UserSubject | None = None


class PolicyRulesWithSubjects(Model):
    """Matches requests by who sends them and what they are about."""

    subjects: Annotated[list[Subject], REQUIRED, ATOMIC] = []
    nonResourceRules: Annotated[list[NonResourcePolicyRule], ATOMIC] = []
    resourceRules: Annotated[list[ResourcePolicyRule], ATOMIC] = []


class FlowSchemaSpec(Model):
    """What is wanted of a flow schema."""

    priorityLevelConfiguration: Annotated[PriorityLevelConfigurationReference, REQUIRED] = (
        PriorityLevelConfigurationReference()
    )
    distinguisherMethod: FlowDistinguisherMethod | None = None
    matchingPrecedence: Annotated[Int32, ALWAYS] = 0
    rules: Annotated[list[PolicyRulesWithSubjects], ATOMIC] = []


class FlowSchemaCondition(Model):
    """One aspect of a flow schema's state."""

    status: str = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = ""


class FlowSchemaStatus(Model):
    """What was last observed of a flow schema."""

    conditions: Annotated[list[FlowSchemaCondition], list_map("type"), merge_by("type")] = []


class FlowSchema(Kind):
    """Says which requests belong to which priority level."""

    gvk: ClassVar = GroupVersionKind("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema")

    metadata: ObjectMeta = ObjectMeta()
    spec: FlowSchemaSpec = FlowSchemaSpec()
    status: FlowSchemaStatus = FlowSchemaStatus()


class FlowSchemaList(Kind):
    """A list of flow schemas."""

    gvk: ClassVar = GroupVersionKind("flowcontrol.apiserver.k8s.io", "v1", "FlowSchemaList")

    items: Annotated[list[FlowSchema], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class QueuingConfiguration(Model):
    """How requests of a level queue while it is full."""

    handSize: Annotated[Int32, ALWAYS] = 0
    queueLengthLimit: Annotated[Int32, ALWAYS] = 0
    queues: Annotated[Int32, ALWAYS] = 0


class LimitResponse(Model):
    """What becomes of requests while a level is full: they queue or are refused."""

    type: Annotated[str, REQUIRED] = ""
    queuing: QueuingConfiguration | None = None


class LimitedPriorityLevelConfiguration(Model):
    """How many requests of a level run at once, and what it lends and borrows."""

    borrowingLimitPercent: Int32 | None = None
    lendablePercent: Int32 | None = None
    limitResponse: LimitResponse = LimitResponse()
    nominalConcurrencyShares: Int32 | None = None


class PriorityLevelConfigurationSpec(Model):
    """What is wanted of a priority level configuration."""

    type: Annotated[str, REQUIRED] = ""
    exempt: ExemptPriorityLevelConfiguration | None = None
    limited: LimitedPriorityLevelConfiguration | None = None


class PriorityLevelConfigurationCondition(Model):
    """One aspect of a priority level configuration's state."""

    status: str = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = ""


class PriorityLevelConfigurationStatus(Model):
    """What was last observed of a priority level configuration."""

    conditions: Annotated[
        list[PriorityLevelConfigurationCondition], list_map("type"), merge_by("type")
    ] = []


class PriorityLevelConfiguration(Kind):
    """A class of requests with a share of the server of its own."""

    gvk: ClassVar = GroupVersionKind(
        "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: PriorityLevelConfigurationSpec = PriorityLevelConfigurationSpec()
    status: PriorityLevelConfigurationStatus = PriorityLevelConfigurationStatus()


class PriorityLevelConfigurationList(Kind):
    """A list of priority level configurations."""

    gvk: ClassVar = GroupVersionKind(
        "flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfigurationList"
    )

    items: Annotated[list[PriorityLevelConfiguration], REQUIRED] = []
    metadata: ListMeta = ListMeta()
