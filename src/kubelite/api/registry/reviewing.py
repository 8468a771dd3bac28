"""The review resources, which answer a POST and store nothing."""

from collections.abc import Awaitable, Callable
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
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.registry.answers import Written
from kubelite.api.registry.handlers import Post, Services
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.posted import take
from kubelite.api.registry.routes import not_allowed
from kubelite.api.registry.target import Target

K = TypeVar("K", bound=Kind)
JSON = dict[str, Any]
Answer = Callable[[Reviews, Allowed, JSON], Awaitable[Kind]]  # the body already fits the schema


def _post(answer: Answer) -> Post:
    """Return the handler of a review whose body `answer` answers."""

    async def post(
        services: Services, target: Target, body: JSON, options: WriteOptions
    ) -> Written:
        if services.reviews is None:
            raise not_allowed(target.resource)
        form, run = target.resource.shape, services.writer.offload.run
        cost = form.cost(options.body_bytes)
        warnings = tuple(await take(services, target, body, form, options))
        told = to_wire(await answer(services.reviews, target.allowed, body))

        def answered() -> bytes:
            structure(form.schema, told)  # "allowed": false is written, too
            return encode(told)

        return Written(await run(cost, answered), created=True, warnings=warnings)

    return post


async def _token(reviews: Reviews, _: Allowed, body: JSON) -> Kind:
    return await reviews.token(_typed(TokenReview, body))


async def _who_am_i(reviews: Reviews, allowed: Allowed, body: JSON) -> Kind:
    return reviews.who_am_i(allowed.caller, _typed(SelfSubjectReview, body))


async def _access(reviews: Reviews, _: Allowed, body: JSON) -> Kind:
    return reviews.access(_typed(SubjectAccessReview, body))


async def _local_access(reviews: Reviews, allowed: Allowed, body: JSON) -> Kind:
    review = _typed(LocalSubjectAccessReview, body)
    return reviews.local_access(allowed.attributes.namespace, review)


async def _self_access(reviews: Reviews, allowed: Allowed, body: JSON) -> Kind:
    return reviews.self_access(allowed.caller, _typed(SelfSubjectAccessReview, body))


async def _self_rules(reviews: Reviews, allowed: Allowed, body: JSON) -> Kind:
    return reviews.self_rules(allowed.caller, _typed(SelfSubjectRulesReview, body))


def _typed(kind: type[K], body: dict[str, Any]) -> K:
    return msgspec.convert(body, kind)


review_token = _post(_token)
review_self = _post(_who_am_i)
review_access = _post(_access)
review_local_access = _post(_local_access)
review_self_access = _post(_self_access)
review_self_rules = _post(_self_rules)
