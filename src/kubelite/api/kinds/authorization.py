"""Reviews of what a caller may do."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import FieldSelectorRequirement, LabelSelectorRequirement, ObjectMeta
from kubelite.api.kinds.model import ATOMIC, REQUIRED, GroupVersionKind, Kind, Model


class FieldSelectorAttributes(Model):
    """The field selector of the request that is asked about."""

    rawSelector: str = ""
    requirements: Annotated[list[FieldSelectorRequirement], ATOMIC] = []


class LabelSelectorAttributes(Model):
    """The label selector of the request that is asked about."""

    rawSelector: str = ""
    requirements: Annotated[list[LabelSelectorRequirement], ATOMIC] = []


class NonResourceAttributes(Model):
    """A request that is not about a resource: verb and path."""

    path: str = ""
    verb: str = ""


class ResourceAttributes(Model):
    """A request about a resource: verb, group, resource, namespace and name."""

    fieldSelector: FieldSelectorAttributes | None = None
    group: str = ""
    labelSelector: LabelSelectorAttributes | None = None
    name: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    verb: str = ""
    version: str = ""


class SubjectAccessReviewSpec(Model):
    """What is wanted of a subject access review."""

    extra: dict[str, list[str]] = {}
    groups: Annotated[list[str], ATOMIC] = []
    nonResourceAttributes: NonResourceAttributes | None = None
    resourceAttributes: ResourceAttributes | None = None
    uid: str = ""
    user: str = ""


class SubjectAccessReviewStatus(Model):
    """What was last observed of a subject access review."""

    allowed: Annotated[bool, REQUIRED] = False
    denied: bool = False
    evaluationError: str = ""
    reason: str = ""


class LocalSubjectAccessReview(Kind):
    """Asks whether somebody may do something in one namespace."""

    gvk: ClassVar = GroupVersionKind("authorization.k8s.io", "v1", "LocalSubjectAccessReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[SubjectAccessReviewSpec, REQUIRED] = SubjectAccessReviewSpec()
    status: SubjectAccessReviewStatus = SubjectAccessReviewStatus()


class NonResourceRule(Model):
    """Paths on which the caller may use some verbs."""

    verbs: Annotated[list[str], REQUIRED, ATOMIC] = []
    nonResourceURLs: Annotated[list[str], ATOMIC] = []


class ResourceRule(Model):
    """Resources on which the caller may use some verbs."""

    verbs: Annotated[list[str], REQUIRED, ATOMIC] = []
    apiGroups: Annotated[list[str], ATOMIC] = []
    resourceNames: Annotated[list[str], ATOMIC] = []
    resources: Annotated[list[str], ATOMIC] = []


class SelfSubjectAccessReviewSpec(Model):
    """What is wanted of a self subject access review."""

    nonResourceAttributes: NonResourceAttributes | None = None
    resourceAttributes: ResourceAttributes | None = None


class SelfSubjectAccessReview(Kind):
    """Asks whether the caller may do something."""

    gvk: ClassVar = GroupVersionKind("authorization.k8s.io", "v1", "SelfSubjectAccessReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[SelfSubjectAccessReviewSpec, REQUIRED] = SelfSubjectAccessReviewSpec()
    status: SubjectAccessReviewStatus = SubjectAccessReviewStatus()


class SelfSubjectRulesReviewSpec(Model):
    """What is wanted of a self subject rules review."""

    namespace: str = ""


class SubjectRulesReviewStatus(Model):
    """What somebody may do in a namespace, as far as it can be listed."""

    incomplete: Annotated[bool, REQUIRED] = False
    nonResourceRules: Annotated[list[NonResourceRule], REQUIRED, ATOMIC] = []
    resourceRules: Annotated[list[ResourceRule], REQUIRED, ATOMIC] = []
    evaluationError: str = ""


class SelfSubjectRulesReview(Kind):
    """Asks what the caller may do in a namespace."""

    gvk: ClassVar = GroupVersionKind("authorization.k8s.io", "v1", "SelfSubjectRulesReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[SelfSubjectRulesReviewSpec, REQUIRED] = SelfSubjectRulesReviewSpec()
    status: SubjectRulesReviewStatus = SubjectRulesReviewStatus()


class SubjectAccessReview(Kind):
    """Asks whether somebody may do something."""

    gvk: ClassVar = GroupVersionKind("authorization.k8s.io", "v1", "SubjectAccessReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[SubjectAccessReviewSpec, REQUIRED] = SubjectAccessReviewSpec()
    status: SubjectAccessReviewStatus = SubjectAccessReviewStatus()
