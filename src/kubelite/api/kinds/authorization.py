"""Reviews of what a caller may do."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import FieldSelectorRequirement, LabelSelectorRequirement, ObjectMeta
from kubelite.api.kinds.model import ATOMIC, REQUIRED, GroupVersionKind, Kind, Model


class FieldSelectorAttributes(Model):
    """FieldSelectorAttributes."""

    rawSelector: str = ""
    requirements: Annotated[list[FieldSelectorRequirement], ATOMIC] = []


class LabelSelectorAttributes(Model):
    """LabelSelectorAttributes."""

    rawSelector: str = ""
    requirements: Annotated[list[LabelSelectorRequirement], ATOMIC] = []


class NonResourceAttributes(Model):
    """NonResourceAttributes."""

    path: str = ""
    verb: str = ""


class ResourceAttributes(Model):
    """ResourceAttributes."""

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
    """SubjectAccessReviewSpec."""

    extra: dict[str, list[str]] = {}
    groups: Annotated[list[str], ATOMIC] = []
    nonResourceAttributes: NonResourceAttributes | None = None
    resourceAttributes: ResourceAttributes | None = None
    uid: str = ""
    user: str = ""


class SubjectAccessReviewStatus(Model):
    """SubjectAccessReviewStatus."""

    allowed: Annotated[bool, REQUIRED] = False
    denied: bool = False
    evaluationError: str = ""
    reason: str = ""


class LocalSubjectAccessReview(Kind):
    """LocalSubjectAccessReview."""

    gvk: ClassVar = GroupVersionKind("authorization.k8s.io", "v1", "LocalSubjectAccessReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[SubjectAccessReviewSpec, REQUIRED] = SubjectAccessReviewSpec()
    status: SubjectAccessReviewStatus = SubjectAccessReviewStatus()


class NonResourceRule(Model):
    """NonResourceRule."""

    verbs: Annotated[list[str], REQUIRED, ATOMIC] = []
    nonResourceURLs: Annotated[list[str], ATOMIC] = []


class ResourceRule(Model):
    """ResourceRule."""

    verbs: Annotated[list[str], REQUIRED, ATOMIC] = []
    apiGroups: Annotated[list[str], ATOMIC] = []
    resourceNames: Annotated[list[str], ATOMIC] = []
    resources: Annotated[list[str], ATOMIC] = []


class SelfSubjectAccessReviewSpec(Model):
    """SelfSubjectAccessReviewSpec."""

    nonResourceAttributes: NonResourceAttributes | None = None
    resourceAttributes: ResourceAttributes | None = None


class SelfSubjectAccessReview(Kind):
    """SelfSubjectAccessReview."""

    gvk: ClassVar = GroupVersionKind("authorization.k8s.io", "v1", "SelfSubjectAccessReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[SelfSubjectAccessReviewSpec, REQUIRED] = SelfSubjectAccessReviewSpec()
    status: SubjectAccessReviewStatus = SubjectAccessReviewStatus()


class SelfSubjectRulesReviewSpec(Model):
    """SelfSubjectRulesReviewSpec."""

    namespace: str = ""


class SubjectRulesReviewStatus(Model):
    """SubjectRulesReviewStatus."""

    incomplete: Annotated[bool, REQUIRED] = False
    nonResourceRules: Annotated[list[NonResourceRule], REQUIRED, ATOMIC] = []
    resourceRules: Annotated[list[ResourceRule], REQUIRED, ATOMIC] = []
    evaluationError: str = ""


class SelfSubjectRulesReview(Kind):
    """SelfSubjectRulesReview."""

    gvk: ClassVar = GroupVersionKind("authorization.k8s.io", "v1", "SelfSubjectRulesReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[SelfSubjectRulesReviewSpec, REQUIRED] = SelfSubjectRulesReviewSpec()
    status: SubjectRulesReviewStatus = SubjectRulesReviewStatus()


class SubjectAccessReview(Kind):
    """SubjectAccessReview."""

    gvk: ClassVar = GroupVersionKind("authorization.k8s.io", "v1", "SubjectAccessReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[SubjectAccessReviewSpec, REQUIRED] = SubjectAccessReviewSpec()
    status: SubjectAccessReviewStatus = SubjectAccessReviewStatus()
