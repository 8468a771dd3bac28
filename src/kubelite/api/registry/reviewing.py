"""The review resources, which answer a POST and store nothing."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from kubelite.api.auth.caller import Allowed
from kubelite.api.auth.reviews import Reviews
from kubelite.api.kinds.authentication import SelfSubjectReview, TokenReview
from kubelite.api.kinds.authorization import (
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
)
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.registry.verbs import Reviewer

K = TypeVar("K", bound=Kind)
AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"


def reviewers(reviews: Reviews) -> Mapping[str, Reviewer]:
    """Return the function that answers each review, by group resource."""

    async def token(_: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        return to_wire(await reviews.token(_typed(TokenReview, body)))

    async def who_am_i(allowed: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        return to_wire(reviews.who_am_i(allowed.caller, _typed(SelfSubjectReview, body)))

    async def access(_: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        return to_wire(reviews.access(_typed(SubjectAccessReview, body)))

    async def local_access(allowed: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        review = _typed(LocalSubjectAccessReview, body)
        return to_wire(reviews.local_access(allowed.attributes.namespace, review))

    async def self_access(allowed: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        return to_wire(reviews.self_access(allowed.caller, _typed(SelfSubjectAccessReview, body)))

    async def self_rules(allowed: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        return to_wire(reviews.self_rules(allowed.caller, _typed(SelfSubjectRulesReview, body)))

    return {
        f"tokenreviews.{AUTHENTICATION}": token,
        f"selfsubjectreviews.{AUTHENTICATION}": who_am_i,
        f"subjectaccessreviews.{AUTHORIZATION}": access,
        f"localsubjectaccessreviews.{AUTHORIZATION}": local_access,
        f"selfsubjectaccessreviews.{AUTHORIZATION}": self_access,
        f"selfsubjectrulesreviews.{AUTHORIZATION}": self_rules,
    }


def _typed(kind: type[K], body: dict[str, Any]) -> K:
    return msgspec.convert(body, kind)
