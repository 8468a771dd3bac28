"""Admission webhooks and policies."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.enums import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    OPERATIONS,
    PATCH_TYPES,
    REINVOCATION_POLICIES,
    SCOPES,
    SIDE_EFFECTS,
    VALIDATION_ACTIONS,
)
from kubelite.api.kinds.meta import Condition, LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    OMIT_EMPTY,
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
    """A CEL expression whose value is applied to the object, as server-side apply would."""

    expression: str = ""


class AuditAnnotation(Model):
    """A CEL expression whose value goes into the audit log under a key."""

    key: Annotated[str, REQUIRED] = ""
    valueExpression: Annotated[str, REQUIRED] = ""


class ExpressionWarning(Model):
    """What the type checker found wrong with one expression of a policy."""

    fieldRef: Annotated[str, REQUIRED] = ""
    warning: Annotated[str, REQUIRED] = ""


class JSONPatch(Model):
    """A CEL expression whose value is a list of JSON Patch operations."""

    expression: str = ""


class MatchCondition(Model):
    """A CEL expression that must hold for a request to concern the webhook or policy."""

    expression: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""


class NamedRuleWithOperations(Model):
    """Operations and resources a policy is about, perhaps narrowed to named objects."""

    map_type: ClassVar = "atomic"

    apiGroups: Annotated[list[str], ATOMIC] = []
    apiVersions: Annotated[list[str], ATOMIC] = []
    operations: Annotated[list[Annotated[str, OPERATIONS]], ATOMIC] = []
    resourceNames: Annotated[list[str], ATOMIC] = []
    resources: Annotated[list[str], ATOMIC] = []
    scope: Annotated[str | None, SCOPES] = None


class MatchResources(Model):
    """Which requests a policy is about: rules, exceptions, and selectors for namespaces and objects."""

    map_type: ClassVar = "atomic"

    excludeResourceRules: Annotated[list[NamedRuleWithOperations], ATOMIC] = []
    matchPolicy: Annotated[str | None, MATCH_POLICIES] = None
    namespaceSelector: LabelSelector | None = None
    objectSelector: LabelSelector | None = None
    resourceRules: Annotated[list[NamedRuleWithOperations], ATOMIC] = []


class Mutation(Model):
    """One change a mutating policy makes, as an apply configuration or a JSON patch."""

    patchType: Annotated[str, REQUIRED, PATCH_TYPES] = ""
    applyConfiguration: ApplyConfiguration | None = None
    jsonPatch: JSONPatch | None = None


class ParamKind(Model):
    """The kind of the objects that parametrize a policy."""

    map_type: ClassVar = "atomic"

    apiVersion: str = ""
    kind: str = ""


class Variable(Model):
    """A named CEL expression that other expressions of the policy may use."""

    map_type: ClassVar = "atomic"

    expression: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""


class MutatingAdmissionPolicySpec(Model):
    """What is wanted of a mutating admission policy."""

    failurePolicy: Annotated[str | None, FAILURE_POLICIES] = None
    matchConditions: Annotated[list[MatchCondition], list_map("name"), merge_by("name")] = []
    matchConstraints: MatchResources | None = None
    mutations: Annotated[list[Mutation], ATOMIC] = []
    paramKind: ParamKind | None = None
    reinvocationPolicy: Annotated[str, REINVOCATION_POLICIES] = ""
    variables: Annotated[list[Variable], ATOMIC] = []


class MutatingAdmissionPolicy(Kind):
    """Changes objects on their way in by CEL expressions, without a webhook."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: MutatingAdmissionPolicySpec = MutatingAdmissionPolicySpec()


class ParamRef(Model):
    """Which objects parametrize a policy in a binding: one by name, or all that a selector picks."""

    map_type: ClassVar = "atomic"

    name: str = ""
    namespace: str = ""
    parameterNotFoundAction: str | None = None
    selector: LabelSelector | None = None


class MutatingAdmissionPolicyBindingSpec(Model):
    """What is wanted of a mutating admission policy binding."""

    matchResources: MatchResources | None = None
    paramRef: ParamRef | None = None
    policyName: str = ""


class MutatingAdmissionPolicyBinding(Kind):
    """Puts a mutating policy into effect, for some resources and with some parameters."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: MutatingAdmissionPolicyBindingSpec = MutatingAdmissionPolicyBindingSpec()


class MutatingAdmissionPolicyBindingList(Kind):
    """A list of mutating admission policy bindings."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBindingList"
    )

    items: Annotated[list[MutatingAdmissionPolicyBinding], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class MutatingAdmissionPolicyList(Kind):
    """A list of mutating admission policies."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyList"
    )

    items: Annotated[list[MutatingAdmissionPolicy], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ServiceReference(Model):
    """The service a webhook runs behind."""

    name: Annotated[str, REQUIRED] = ""
    namespace: Annotated[str, REQUIRED] = ""
    path: str | None = None
    port: Int32 | None = None


class WebhookClientConfig(Model):
    """How to reach a webhook: by URL or by service, and the CA that vouches for it."""

    caBundle: Base64 = ""
    service: ServiceReference | None = None
    url: str | None = None


class RuleWithOperations(Model):
    """Operations and resources a webhook is asked about."""

    apiGroups: Annotated[list[str], ATOMIC] = []
    apiVersions: Annotated[list[str], ATOMIC] = []
    operations: Annotated[list[Annotated[str, OPERATIONS]], ATOMIC] = []
    resources: Annotated[list[str], ATOMIC] = []
    scope: Annotated[str | None, SCOPES] = None


class MutatingWebhook(Model):
    """A webhook that may change objects on their way in."""

    admissionReviewVersions: Annotated[list[str], REQUIRED, ATOMIC] = []
    clientConfig: Annotated[WebhookClientConfig, REQUIRED] = WebhookClientConfig()
    name: Annotated[str, REQUIRED] = ""
    sideEffects: Annotated[str | None, REQUIRED, SIDE_EFFECTS] = None
    failurePolicy: Annotated[str | None, FAILURE_POLICIES] = None
    matchConditions: Annotated[list[MatchCondition], list_map("name"), merge_by("name")] = []
    matchPolicy: Annotated[str | None, MATCH_POLICIES] = None
    namespaceSelector: LabelSelector | None = None
    objectSelector: LabelSelector | None = None
    reinvocationPolicy: Annotated[str | None, REINVOCATION_POLICIES] = None
    rules: Annotated[list[RuleWithOperations], ATOMIC] = []
    timeoutSeconds: Int32 | None = None


class MutatingWebhookConfiguration(Kind):
    """A set of webhooks that may change objects on their way in."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration"
    )

    metadata: ObjectMeta = ObjectMeta()
    webhooks: Annotated[list[MutatingWebhook], list_map("name"), merge_by("name")] = []


class MutatingWebhookConfigurationList(Kind):
    """A list of mutating webhook configurations."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "MutatingWebhookConfigurationList"
    )

    items: Annotated[list[MutatingWebhookConfiguration], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class TypeChecking(Model):
    """What the type checker found in a policy's expressions."""

    expressionWarnings: Annotated[list[ExpressionWarning], ATOMIC] = []


class Validation(Model):
    """A CEL expression that must hold, and what to say when it does not."""

    expression: Annotated[str, REQUIRED] = ""
    message: str = ""
    messageExpression: str = ""
    reason: str | None = None


class ValidatingAdmissionPolicySpec(Model):
    """What is wanted of a validating admission policy."""

    auditAnnotations: Annotated[list[AuditAnnotation], ATOMIC] = []
    failurePolicy: Annotated[str | None, FAILURE_POLICIES] = None
    matchConditions: Annotated[list[MatchCondition], list_map("name"), merge_by("name")] = []
    matchConstraints: MatchResources | None = None
    paramKind: ParamKind | None = None
    validations: Annotated[list[Validation], ATOMIC] = []
    variables: Annotated[list[Variable], list_map("name"), merge_by("name")] = []


class ValidatingAdmissionPolicyStatus(Model):
    """What was last observed of a validating admission policy."""

    conditions: Annotated[list[Condition], list_map("type")] = []
    observedGeneration: Int64 = 0
    typeChecking: TypeChecking | None = None


class ValidatingAdmissionPolicy(Kind):
    """Refuses objects by CEL expressions, without a webhook."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: ValidatingAdmissionPolicySpec = ValidatingAdmissionPolicySpec()
    status: ValidatingAdmissionPolicyStatus = ValidatingAdmissionPolicyStatus()


class ValidatingAdmissionPolicyBindingSpec(Model):
    """What is wanted of a validating admission policy binding."""

    policyName: Annotated[str, REQUIRED, OMIT_EMPTY] = ""
    validationActions: Annotated[
        list[Annotated[str, VALIDATION_ACTIONS]], REQUIRED, OMIT_EMPTY, SET
    ] = []
    matchResources: MatchResources | None = None
    paramRef: ParamRef | None = None


class ValidatingAdmissionPolicyBinding(Kind):
    """Puts a validating policy into effect: for which resources, with which parameters and consequences."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding"
    )

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ValidatingAdmissionPolicyBindingSpec, REQUIRED] = (
        ValidatingAdmissionPolicyBindingSpec()
    )


class ValidatingAdmissionPolicyBindingList(Kind):
    """A list of validating admission policy bindings."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBindingList"
    )

    items: Annotated[list[ValidatingAdmissionPolicyBinding], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ValidatingAdmissionPolicyList(Kind):
    """A list of validating admission policies."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyList"
    )

    items: Annotated[list[ValidatingAdmissionPolicy], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ValidatingWebhook(Model):
    """A webhook that may refuse requests."""

    admissionReviewVersions: Annotated[list[str], REQUIRED, ATOMIC] = []
    clientConfig: Annotated[WebhookClientConfig, REQUIRED] = WebhookClientConfig()
    name: Annotated[str, REQUIRED] = ""
    sideEffects: Annotated[str | None, REQUIRED, SIDE_EFFECTS] = None
    failurePolicy: Annotated[str | None, FAILURE_POLICIES] = None
    matchConditions: Annotated[list[MatchCondition], list_map("name"), merge_by("name")] = []
    matchPolicy: Annotated[str | None, MATCH_POLICIES] = None
    namespaceSelector: LabelSelector | None = None
    objectSelector: LabelSelector | None = None
    rules: Annotated[list[RuleWithOperations], ATOMIC] = []
    timeoutSeconds: Int32 | None = None


class ValidatingWebhookConfiguration(Kind):
    """A set of webhooks that may refuse requests."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration"
    )

    metadata: ObjectMeta = ObjectMeta()
    webhooks: Annotated[list[ValidatingWebhook], list_map("name"), merge_by("name")] = []


class ValidatingWebhookConfigurationList(Kind):
    """A list of validating webhook configurations."""

    gvk: ClassVar = GroupVersionKind(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfigurationList"
    )

    items: Annotated[list[ValidatingWebhookConfiguration], REQUIRED] = []
    metadata: ListMeta = ListMeta()
