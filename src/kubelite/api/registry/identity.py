"""Puts the answers of `api.auth` behind the paths of the API: the reviews, and serviceaccounts/token."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from kubelite.api.auth.caller import Allowed
from kubelite.api.auth.reviews import Reviews
from kubelite.api.auth.tokens import TokenIssuer
from kubelite.api.kinds.authentication import SelfSubjectReview, TokenRequest, TokenReview
from kubelite.api.kinds.authorization import (
    LocalSubjectAccessReview,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
)
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.registry.admission import Admission
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.answers import Written
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.writing import Target, shape

Answer = Callable[[Allowed, dict[str, Any]], Awaitable[dict[str, Any]]]


def review_answers(reviews: Reviews) -> Mapping[str, Answer]:
    """Return who answers the review kinds, by group resource, for `Verbs(reviewers=)`."""

    async def token(_: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        return to_wire(await reviews.token(msgspec.convert(body, TokenReview)))

    async def self_subject(allowed: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        return to_wire(reviews.who_am_i(allowed.caller, msgspec.convert(body, SelfSubjectReview)))

    async def access(_: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        return to_wire(reviews.access(msgspec.convert(body, SubjectAccessReview)))

    async def local_access(allowed: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        namespace = allowed.attributes.namespace
        review = msgspec.convert(body, LocalSubjectAccessReview)
        return to_wire(reviews.local_access(namespace, review))

    async def self_access(allowed: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        review = msgspec.convert(body, SelfSubjectAccessReview)
        return to_wire(reviews.self_access(allowed.caller, review))

    async def self_rules(allowed: Allowed, body: dict[str, Any]) -> dict[str, Any]:
        review = msgspec.convert(body, SelfSubjectRulesReview)
        return to_wire(reviews.self_rules(allowed.caller, review))

    return {
        "tokenreviews.authentication.k8s.io": token,
        "selfsubjectreviews.authentication.k8s.io": self_subject,
        "subjectaccessreviews.authorization.k8s.io": access,
        "localsubjectaccessreviews.authorization.k8s.io": local_access,
        "selfsubjectaccessreviews.authorization.k8s.io": self_access,
        "selfsubjectrulesreviews.authorization.k8s.io": self_rules,
    }


class TokenRequests:
    """Answers posts to serviceaccounts/token; set it in `Verbs.posts` for ("serviceaccounts", "token")."""

    def __init__(self, issuer: TokenIssuer, admission: Admission) -> None:
        self._issuer = issuer
        self._admission = admission

    async def __call__(
        self, target: Target, body: dict[str, Any], options: WriteOptions
    ) -> Written:
        """Issue a token once admission lets it pass; raises APIError."""
        warnings = shape(compile_struct(TokenRequest), body, options)
        request = AdmissionRequest(
            caller=target.allowed.caller,
            attributes=target.allowed.attributes,
            operation=Verb.CREATE,
            resource=target.canonical,
            item=body,
            old=None,
            options=options,
            dry_run=options.dry_run,
        )
        await self._admission.mutate(request)
        await self._admission.validate(request)
        answer = self._issuer.request(
            target.namespace, target.name, msgspec.convert(body, TokenRequest)
        )
        return Written(
            encode(to_wire(answer)), created=True, warnings=(*warnings, *request.warnings)
        )
