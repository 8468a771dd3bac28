"""Answers to TokenReview, SelfSubjectReview, the access reviews and SelfSubjectRulesReview.

Each method takes the review that a client posts and returns it with its status filled in; nothing is stored.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from kubelite.api.auth.authenticate import UnionAuthenticator
from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import SYSTEM_MASTERS, Attributes, Caller
from kubelite.api.auth.nodes import node_name
from kubelite.api.auth.rbac import RBAC
from kubelite.api.auth.tokens import TokenInvalid
from kubelite.api.errors import BadRequest, Cause, Invalid
from kubelite.api.kinds.authentication import (
    SelfSubjectReview,
    SelfSubjectReviewStatus,
    TokenReview,
    TokenReviewStatus,
    UserInfo,
)
from kubelite.api.kinds.authorization import (
    FieldSelectorAttributes,
    LabelSelectorAttributes,
    LocalSubjectAccessReview,
    NonResourceAttributes,
    NonResourceRule,
    ResourceAttributes,
    ResourceRule,
    SelfSubjectAccessReview,
    SelfSubjectRulesReview,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
    SubjectRulesReviewStatus,
)
from kubelite.api.machinery import causes
from kubelite.api.machinery.field_selectors import Term
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.limits import RAW_SELECTOR, REVIEW_GROUPS, REVIEW_SUBJECT, SELECTOR_REQUIREMENTS

AUTHORIZATION = "authorization.k8s.io"
EXACTLY_ONE = "exactly one of nonResourceAttributes or resourceAttributes must be specified"


class Reviews:
    """Answers reviews from the authenticator and the authorizer of this server."""

    def __init__(
        self,
        *,
        authenticator: UnionAuthenticator,
        authorizer: UnionAuthorizer,
        rbac: RBAC,
        clock: Clock,
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._rbac = rbac
        self._clock = clock

    async def token(self, review: TokenReview) -> TokenReview:
        """Authenticate the token of a review; raises BadRequest if it is missing."""
        if not review.spec.token:
            raise BadRequest("token is required for TokenReview in authentication")
        try:
            proved = await self._authenticator.prove(review.spec.token, review.spec.audiences)
        except TokenInvalid as error:
            return replace(
                review, status=TokenReviewStatus(error=f"[invalid bearer token, {error}]")
            )
        if proved is None:
            return replace(review, status=TokenReviewStatus(error="invalid bearer token"))
        status = TokenReviewStatus(
            authenticated=True, user=user_info(proved.caller), audiences=list(proved.audiences)
        )
        return replace(review, status=status)

    def who_am_i(self, caller: Caller, review: SelfSubjectReview) -> SelfSubjectReview:
        """Return the review with the caller's identity."""
        metadata = replace(review.metadata, creationTimestamp=format_time(self._clock.now()))
        status = SelfSubjectReviewStatus(userInfo=user_info(caller))
        return replace(review, metadata=metadata, status=status)

    def access(self, review: SubjectAccessReview) -> SubjectAccessReview:
        """Authorize the attributes of a review for its subject; raises Invalid."""
        problems = _spec_problems(review.spec)
        if problems:
            raise _invalid("SubjectAccessReview", problems)
        return replace(review, status=self._status_of(review.spec))

    def local_access(
        self, namespace: str, review: LocalSubjectAccessReview
    ) -> LocalSubjectAccessReview:
        """Authorize the attributes of a review in `namespace` for its subject; raises Invalid."""
        problems = _spec_problems(review.spec)
        if review.spec.nonResourceAttributes is not None:
            message = "Invalid value: disallowed on this kind of request"
            problems.append(Cause("spec.nonResourceAttributes", "FieldValueInvalid", message))
        wanted = review.spec.resourceAttributes
        if wanted is not None and wanted.namespace != namespace:
            message = f'Invalid value: "{wanted.namespace}": must match metadata.namespace'
            problems.append(
                Cause("spec.resourceAttributes.namespace", "FieldValueInvalid", message)
            )
        if problems:
            raise _invalid("LocalSubjectAccessReview", problems)
        return replace(review, status=self._status_of(review.spec))

    def self_access(
        self, caller: Caller, review: SelfSubjectAccessReview
    ) -> SelfSubjectAccessReview:
        """Authorize the attributes of a review for the caller; raises Invalid."""
        spec = review.spec
        if (spec.resourceAttributes is None) == (spec.nonResourceAttributes is None):
            raise _invalid("SelfSubjectAccessReview", [_not_one(spec.resourceAttributes)])
        if problems := _selector_problems(spec.resourceAttributes):
            raise _invalid("SelfSubjectAccessReview", problems)
        attributes = attributes_of(spec.resourceAttributes, spec.nonResourceAttributes)
        return replace(review, status=self._decided(caller, attributes))

    def self_rules(self, caller: Caller, review: SelfSubjectRulesReview) -> SelfSubjectRulesReview:
        """List the rules of the caller in a namespace; raises BadRequest without a namespace."""
        namespace = review.spec.namespace
        if not namespace:
            raise BadRequest("no namespace on request")
        resources, paths = [], []
        if SYSTEM_MASTERS in caller.groups:
            resources.append(ResourceRule(verbs=["*"], apiGroups=["*"], resources=["*"]))
            paths.append(NonResourceRule(verbs=["*"], nonResourceURLs=["*"]))
        for rule in self._rbac.rules_of(caller, namespace):
            if rule.resources:
                resources.append(
                    ResourceRule(
                        verbs=rule.verbs,
                        apiGroups=rule.apiGroups,
                        resources=rule.resources,
                        resourceNames=rule.resourceNames,
                    )
                )
            if rule.nonResourceURLs:
                paths.append(
                    NonResourceRule(verbs=rule.verbs, nonResourceURLs=rule.nonResourceURLs)
                )
        errors = list(self._rbac.missing_roles(caller, namespace))
        if is_node := node_name(caller) is not None:
            errors.insert(0, "node authorizer does not support user rule resolution")
        status = SubjectRulesReviewStatus(
            resourceRules=resources,
            nonResourceRules=paths,
            incomplete=is_node or bool(errors),
            evaluationError=", ".join(errors),
        )
        return replace(review, status=status)

    def _status_of(self, spec: SubjectAccessReviewSpec) -> SubjectAccessReviewStatus:
        extra = {key: tuple(values) for key, values in spec.extra.items()}
        subject = Caller(spec.user, tuple(spec.groups), spec.uid, extra)
        attributes = attributes_of(spec.resourceAttributes, spec.nonResourceAttributes)
        return self._decided(subject, attributes)

    def _decided(self, caller: Caller, attributes: Attributes) -> SubjectAccessReviewStatus:
        decision = self._authorizer.decide(caller, attributes)
        return SubjectAccessReviewStatus(allowed=decision.allowed, reason=decision.reason)


def user_info(caller: Caller) -> UserInfo:
    """Return a caller as the UserInfo of reviews and requests."""
    return UserInfo(
        username=caller.user,
        uid=caller.uid,
        groups=list(caller.groups),
        extra=_lists(caller.extra),
    )


def attributes_of(
    resource: ResourceAttributes | None, path: NonResourceAttributes | None
) -> Attributes:
    """Convert the attributes of a review to those of a request."""
    if resource is None:
        return Attributes(verb=path.verb, path=path.path) if path else Attributes(verb="")
    return Attributes(
        verb=resource.verb,
        group=resource.group,
        version=resource.version,
        resource=resource.resource,
        subresource=resource.subresource,
        namespace=resource.namespace,
        name=resource.name,
        field_selector=_selector(resource.fieldSelector),
        label_selector=_selector(resource.labelSelector),
    )


def _selector(selector: FieldSelectorAttributes | LabelSelectorAttributes | None) -> str:
    if selector is None:
        return ""
    if selector.rawSelector:
        return selector.rawSelector
    terms = [(term.key, term.values) for term in selector.requirements if term.operator == "In"]
    return ",".join(
        str(
            Term(field=key, equal=True, value=values[0])
        )  # escape the value, which must not become another term
        for key, values in terms
        if len(values) == 1
    )


def _lists(extra: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {key: list(values) for key, values in extra.items()}


def _spec_problems(spec: SubjectAccessReviewSpec) -> list[Cause]:
    problems = []
    if (spec.resourceAttributes is None) == (spec.nonResourceAttributes is None):
        problems.append(_not_one(spec.resourceAttributes))
    if not spec.user and not spec.groups:
        message = 'Invalid value: "": at least one of user or group must be specified'
        problems.append(Cause("spec.user", "FieldValueInvalid", message))
    return problems + _subject_problems(spec) + _selector_problems(spec.resourceAttributes)


def _subject_problems(spec: SubjectAccessReviewSpec) -> list[Cause]:
    """Return causes for a subject larger than any caller's, since each of its groups costs a look-up."""
    problems: list[Cause] = []
    limit = REVIEW_GROUPS.value
    values = sum(len(each) for each in spec.extra.values())
    for path, count in (("spec.groups", len(spec.groups)), ("spec.extra", values)):
        if count > limit:
            REVIEW_GROUPS.reached()
            problems.append(causes.too_many(path, count, limit))
    texts = [spec.user, spec.uid, *spec.groups, *spec.extra]
    texts += [value for each in spec.extra.values() for value in each]
    if sum(map(len, texts)) > REVIEW_SUBJECT.value:
        REVIEW_SUBJECT.reached()
        problems.append(causes.too_long("spec", REVIEW_SUBJECT.value))
    return problems


def _selector_problems(resource: ResourceAttributes | None) -> list[Cause]:
    """Return causes for selectors larger than any request's: every caller may post them, unbounded in Kubernetes."""
    problems: list[Cause] = []
    for name in ("fieldSelector", "labelSelector") if resource is not None else ():
        selector = getattr(resource, name)
        if selector is None:
            continue
        path, limit = f"spec.resourceAttributes.{name}", SELECTOR_REQUIREMENTS.value
        if (count := len(selector.requirements)) > limit:
            problems.append(causes.too_many(f"{path}.requirements", count, limit))
        if len(selector.rawSelector) > RAW_SELECTOR.value:
            problems.append(causes.too_long(f"{path}.rawSelector", RAW_SELECTOR.value))
            RAW_SELECTOR.reached()
    if problems:
        SELECTOR_REQUIREMENTS.reached()
    return problems


def _not_one(resource: ResourceAttributes | None) -> Cause:
    if resource is not None:
        message = "Invalid value: cannot be specified in combination with resourceAttributes"
        return Cause("spec.nonResourceAttributes", "FieldValueInvalid", message)
    return Cause(
        "spec.resourceAttributes", "FieldValueInvalid", f"Invalid value: null: {EXACTLY_ONE}"
    )


def _invalid(kind: str, causes: Sequence[Cause]) -> Invalid:
    details = ", ".join(f"{cause.path}: {cause.message}" for cause in causes)
    details = f"[{details}]" if len(causes) > 1 else details
    return Invalid(
        f'{kind}.{AUTHORIZATION} "" is invalid: {details}',
        group=AUTHORIZATION,
        kind=kind,
        causes=causes,
    )
