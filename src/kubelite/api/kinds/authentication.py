"""Reviews and requests about who a caller is."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Int64,
    Kind,
    Model,
    Time,
)


class BoundObjectReference(Model):
    """BoundObjectReference."""

    apiVersion: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class UserInfo(Model):
    """UserInfo."""

    extra: dict[str, list[str]] = {}
    groups: Annotated[list[str], ATOMIC] = []
    uid: str = ""
    username: str = ""


class SelfSubjectReviewStatus(Model):
    """SelfSubjectReviewStatus."""

    userInfo: UserInfo = UserInfo()


class SelfSubjectReview(Kind):
    """SelfSubjectReview."""

    gvk: ClassVar = GroupVersionKind("authentication.k8s.io", "v1", "SelfSubjectReview")

    metadata: ObjectMeta = ObjectMeta()
    status: SelfSubjectReviewStatus = SelfSubjectReviewStatus()


class TokenRequestSpec(Model):
    """TokenRequestSpec."""

    audiences: Annotated[list[str], ATOMIC, ALWAYS] = []
    boundObjectRef: BoundObjectReference | None = None
    expirationSeconds: Int64 | None = None


class TokenRequestStatus(Model):
    """TokenRequestStatus."""

    expirationTimestamp: Time = ""
    token: Annotated[str, ALWAYS] = ""


class TokenRequest(Kind):
    """TokenRequest."""

    gvk: ClassVar = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")

    metadata: ObjectMeta = ObjectMeta()
    spec: TokenRequestSpec = TokenRequestSpec()
    status: TokenRequestStatus = TokenRequestStatus()


class TokenReviewSpec(Model):
    """TokenReviewSpec."""

    token: Annotated[str, REQUIRED] = ""
    audiences: Annotated[list[str], ATOMIC] = []


class TokenReviewStatus(Model):
    """TokenReviewStatus."""

    audiences: Annotated[list[str], ATOMIC] = []
    authenticated: bool = False
    error: str = ""
    user: UserInfo = UserInfo()


class TokenReview(Kind):
    """TokenReview."""

    gvk: ClassVar = GroupVersionKind("authentication.k8s.io", "v1", "TokenReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[TokenReviewSpec, REQUIRED] = TokenReviewSpec()
    status: TokenReviewStatus = TokenReviewStatus()
