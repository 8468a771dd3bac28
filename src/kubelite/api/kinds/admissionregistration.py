"""Admission webhooks and policies."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import Condition, LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    SET,
    Base64,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    list_map,
    merge_by,
)


class ApplyConfiguration(Model):
    """ApplyConfiguration."""

    expression: str = ""


class AuditAnnotation(Model):
    """AuditAnnotation."""

    key: Annotated[str, REQUIRED] = ""
    valueExpression: Annotated[str, REQUIRED] = ""


class ExpressionWarning(Model):
    """ExpressionWarning."""

    fieldRef: Annotated[str, REQUIRED] = ""
    warning: Annotated[str, REQUIRED] = ""


class JSONPatch(Model):
    """JSONPatch."""

    expression: str = ""


class MatchCondition(Model):
    """MatchCondition."""

    expression: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""


class NamedRuleWithOperations(Model):
    """NamedRuleWithOperations."""

    apiGroups: Annotated[list[str], ATOMIC] = []
    apiVersions: Annotated[list[str], ATOMIC] = []
    operations: Annotated[list[str], ATOMIC] = []
    resourceNames: Annotated[list[str], ATOMIC] = []
    resources: Annotated[list[str], ATOMIC] = []
    scope: str | None = None


class MatchResources(Model):
    """MatchResources."""

    excludeResourceRules: Annotated[list[NamedRuleWithOperations], ATOMIC] = []
    matchPolicy: str | None = None
    namespaceSelector: LabelSelector | None = None
    objectSelector: LabelSelector | None = None
    resourceRules: Annotated[list[NamedRuleWithOperations], ATOMIC] = []


class Mutation(Model):
    """Mutation."""

    patchType: Annotated[str, REQUIRED] = ""
    applyConfiguration: ApplyConfiguration | None = None
    jsonPatch: JSONPatch | None = None


class ParamKind(Model):
    """ParamKind."""

    apiVersion: str = ""
    kind: str = ""


class Variable(Model):
    """Variable."""

    expression: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""


class MutatingAdmissionPolicySpec(Model):
    """MutatingAdmissionPolicySpec."""

    failurePolicy: str | None = None
    matchConditions: Annotated[list[MatchCondition], list_map("name"), merge_by("name")] = []
    matchConstraints: MatchResources | None = None
    mutations: Annotated[list[Mutation], ATOMIC] = []
    paramKind: ParamKind | None = None
    reinvocationPolicy: str = ""
    variables: Annotated[list[Variable], ATOMIC] = []


class MutatingAdmissionPolicy(Kind):
    """MutatingAdmissionPolicy."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: MutatingAdmissionPolicySpec = MutatingAdmissionPolicySpec()


class ParamRef(Model):
    """ParamRef."""

    name: str = ""
    namespace: str = ""
    parameterNotFoundAction: str | None = None
    selector: LabelSelector | None = None


class MutatingAdmissionPolicyBindingSpec(Model):
    """MutatingAdmissionPolicyBindingSpec."""

    matchResources: MatchResources | None = None
    paramRef: ParamRef | None = None
    policyName: str = ""


class MutatingAdmissionPolicyBinding(Kind):
    """MutatingAdmissionPolicyBinding."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: MutatingAdmissionPolicyBindingSpec = MutatingAdmissionPolicyBindingSpec()


class MutatingAdmissionPolicyBindingList(Kind):
    """MutatingAdmissionPolicyBindingList."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBindingList"
    )

    items: Annotated[list[MutatingAdmissionPolicyBinding], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class MutatingAdmissionPolicyList(Kind):
    """MutatingAdmissionPolicyList."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyList"
    )

    items: Annotated[list[MutatingAdmissionPolicy], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ServiceReference(Model):
    """ServiceReference."""

    name: Annotated[str, REQUIRED] = ""
    namespace: Annotated[str, REQUIRED] = ""
    path: str | None = None
    port: Int32 | None = None


class WebhookClientConfig(Model):
    """WebhookClientConfig."""

    caBundle: Base64 = ""
    service: ServiceReference | None = None
    url: str | None = None


class RuleWithOperations(Model):
    """RuleWithOperations."""

    apiGroups: Annotated[list[str], ATOMIC] = []
    apiVersions: Annotated[list[str], ATOMIC] = []
    operations: Annotated[list[str], ATOMIC] = []
    resources: Annotated[list[str], ATOMIC] = []
    scope: str | None = None


class MutatingWebhook(Model):
    """MutatingWebhook."""

    admissionReviewVersions: Annotated[list[str], REQUIRED, ATOMIC] = []
    clientConfig: Annotated[WebhookClientConfig, REQUIRED] = WebhookClientConfig()
    name: Annotated[str, REQUIRED] = ""
    sideEffects: Annotated[str | None, REQUIRED] = None
    failurePolicy: str | None = None
    matchConditions: Annotated[list[MatchCondition], list_map("name"), merge_by("name")] = []
    matchPolicy: str | None = None
    namespaceSelector: LabelSelector | None = None
    objectSelector: LabelSelector | None = None
    reinvocationPolicy: str | None = None
    rules: Annotated[list[RuleWithOperations], ATOMIC] = []
    timeoutSeconds: Int32 | None = None


class MutatingWebhookConfiguration(Kind):
    """MutatingWebhookConfiguration."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration"
    )

    metadata: ObjectMeta = ObjectMeta()
    webhooks: Annotated[list[MutatingWebhook], list_map("name"), merge_by("name")] = []


class MutatingWebhookConfigurationList(Kind):
    """MutatingWebhookConfigurationList."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingWebhookConfigurationList"
    )

    items: Annotated[list[MutatingWebhookConfiguration], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class TypeChecking(Model):
    """TypeChecking."""

    expressionWarnings: Annotated[list[ExpressionWarning], ATOMIC] = []


class Validation(Model):
    """Validation."""

    expression: Annotated[str, REQUIRED] = ""
    message: str = ""
    messageExpression: str = ""
    reason: str | None = None


class ValidatingAdmissionPolicySpec(Model):
    """ValidatingAdmissionPolicySpec."""

    auditAnnotations: Annotated[list[AuditAnnotation], ATOMIC] = []
    failurePolicy: str | None = None
    matchConditions: Annotated[list[MatchCondition], list_map("name"), merge_by("name")] = []
    matchConstraints: MatchResources | None = None
    paramKind: ParamKind | None = None
    validations: Annotated[list[Validation], ATOMIC] = []
    variables: Annotated[list[Variable], list_map("name"), merge_by("name")] = []


class ValidatingAdmissionPolicyStatus(Model):
    """ValidatingAdmissionPolicyStatus."""

    conditions: Annotated[list[Condition], list_map("type")] = []
    observedGeneration: Int64 = 0
    typeChecking: TypeChecking | None = None


class ValidatingAdmissionPolicy(Kind):
    """ValidatingAdmissionPolicy."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: ValidatingAdmissionPolicySpec = ValidatingAdmissionPolicySpec()
    status: ValidatingAdmissionPolicyStatus = ValidatingAdmissionPolicyStatus()


class ValidatingAdmissionPolicyBindingSpec(Model):
    """ValidatingAdmissionPolicyBindingSpec."""

    policyName: Annotated[str, REQUIRED] = ""
    validationActions: Annotated[list[str], REQUIRED, SET] = []
    matchResources: MatchResources | None = None
    paramRef: ParamRef | None = None


class ValidatingAdmissionPolicyBinding(Kind):
    """ValidatingAdmissionPolicyBinding."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ValidatingAdmissionPolicyBindingSpec, REQUIRED] = (
        ValidatingAdmissionPolicyBindingSpec()
    )


class ValidatingAdmissionPolicyBindingList(Kind):
    """ValidatingAdmissionPolicyBindingList."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBindingList"
    )

    items: Annotated[list[ValidatingAdmissionPolicyBinding], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ValidatingAdmissionPolicyList(Kind):
    """ValidatingAdmissionPolicyList."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyList"
    )

    items: Annotated[list[ValidatingAdmissionPolicy], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ValidatingWebhook(Model):
    """ValidatingWebhook."""

    admissionReviewVersions: Annotated[list[str], REQUIRED, ATOMIC] = []
    clientConfig: Annotated[WebhookClientConfig, REQUIRED] = WebhookClientConfig()
    name: Annotated[str, REQUIRED] = ""
    sideEffects: Annotated[str | None, REQUIRED] = None
    failurePolicy: str | None = None
    matchConditions: Annotated[list[MatchCondition], list_map("name"), merge_by("name")] = []
    matchPolicy: str | None = None
    namespaceSelector: LabelSelector | None = None
    objectSelector: LabelSelector | None = None
    rules: Annotated[list[RuleWithOperations], ATOMIC] = []
    timeoutSeconds: Int32 | None = None


class ValidatingWebhookConfiguration(Kind):
    """ValidatingWebhookConfiguration."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"
    )

    metadata: ObjectMeta = ObjectMeta()
    webhooks: Annotated[list[ValidatingWebhook], list_map("name"), merge_by("name")] = []


class ValidatingWebhookConfigurationList(Kind):
    """ValidatingWebhookConfigurationList."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfigurationList"
    )

    items: Annotated[list[ValidatingWebhookConfiguration], REQUIRED] = []
    metadata: ListMeta = ListMeta()
