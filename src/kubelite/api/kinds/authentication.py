"""Reviews and requests about who a caller is."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    OMIT_EMPTY,
    REQUIRED,
    GroupVersionKind,
    Int64,
    Kind,
    Model,
    NilList,
    Time,
)


class BoundObjectReference(Model):
    """The object a token lives and dies with."""

    apiVersion: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class UserInfo(Model):
    """Who somebody is: name, uid, groups and whatever else the authenticator told."""

    extra: dict[str, list[str]] = {}
    groups: Annotated[list[str], ATOMIC] = []
    uid: str = ""
    username: str = ""


class SelfSubjectReviewStatus(Model):
    """What was last observed of a self subject review."""

    userInfo: UserInfo = UserInfo()


class SelfSubjectReview(Kind):
    """Asks the server who the caller is."""

    gvk: ClassVar = GroupVersionKind("authentication.k8s.io", "v1", "SelfSubjectReview")

    metadata: ObjectMeta = ObjectMeta()
    status: SelfSubjectReviewStatus = SelfSubjectReviewStatus()


class TokenRequestSpec(Model):
    """What is wanted of a token request."""

    audiences: Annotated[NilList[str], ATOMIC] = []
    boundObjectRef: BoundObjectReference | None = None
    expirationSeconds: Int64 | None = None


class TokenRequestStatus(Model):
    """What was last observed of a token request."""

    expirationTimestamp: Time = ""
    token: Annotated[str, ALWAYS] = ""


class TokenRequest(Kind):
    """Asks for a token of a service account."""

    gvk: ClassVar = GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest")

    metadata: ObjectMeta = ObjectMeta()
    spec: TokenRequestSpec = TokenRequestSpec()
    status: TokenRequestStatus = TokenRequestStatus()


class TokenReviewSpec(Model):
    """What is wanted of a token review."""

    token: Annotated[str, REQUIRED, OMIT_EMPTY] = ""
    audiences: Annotated[list[str], ATOMIC] = []


class TokenReviewStatus(Model):
    """What was last observed of a token review."""

    audiences: Annotated[list[str], ATOMIC] = []
    authenticated: bool = False
    error: str = ""
    user: UserInfo = UserInfo()


class TokenReview(Kind):
    """Asks whose a token is."""

    gvk: ClassVar = GroupVersionKind("authentication.k8s.io", "v1", "TokenReview")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[TokenReviewSpec, REQUIRED] = TokenReviewSpec()
    status: TokenReviewStatus = TokenReviewStatus()
