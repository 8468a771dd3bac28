from datetime import UTC, datetime

import pytest

from kubelite.api.auth.authenticate import UnionAuthenticator
from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.nodes import NodeAuthorizer, NodeGraph
from kubelite.api.auth.rbac import RBAC
from kubelite.api.auth.reviews import Reviews
from kubelite.api.auth.static_tokens import StaticTokens
from kubelite.api.auth.tokens import ServiceAccountTokens
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.errors import BadRequest, Invalid
from kubelite.api.kinds.authentication import SelfSubjectReview, TokenReview, TokenReviewSpec
from kubelite.api.kinds.authorization import (
    FieldSelectorAttributes,
    LocalSubjectAccessReview,
    NonResourceAttributes,
    ResourceAttributes,
    SelfSubjectAccessReview,
    SelfSubjectAccessReviewSpec,
    SelfSubjectRulesReview,
    SelfSubjectRulesReviewSpec,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from kubelite.api.kinds.meta import FieldSelectorRequirement, ObjectMeta
from kubelite.api.kinds.rbac import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from kubelite.clock import SetClock
from kubelite.limits import REVIEW_GROUPS, REVIEW_SUBJECT

CLOCK = SetClock(datetime(2026, 9, 1, tzinfo=UTC))
RULES = [
    PolicyRule(verbs=["get"], apiGroups=[""], resources=["pods"]),
    PolicyRule(verbs=["get"], nonResourceURLs=["/metrics"]),
]
LOOKUP = FixedLookup(
    [
        ClusterRole(metadata=ObjectMeta(name="r"), rules=RULES),
        ClusterRoleBinding(
            metadata=ObjectMeta(name="b"),
            roleRef=RoleRef(kind="ClusterRole", name="r"),
            subjects=[Subject(kind="User", name="anna"), Subject(kind="Group", name="team")],
        ),
    ]
)
RBAC_ = RBAC(LOOKUP)
REVIEWS = Reviews(
    authenticator=UnionAuthenticator(
        certificates=ClientCertificates([], CLOCK),
        service_accounts=ServiceAccountTokens(
            issuer="https://here", audiences=[], keys=[], lookup=LOOKUP, clock=CLOCK
        ),
        audiences=["https://here"],
        static=StaticTokens("s3cret,ben,7,dev"),
    ),
    authorizer=UnionAuthorizer(RBAC_, NodeAuthorizer(NodeGraph(LOOKUP), [])),
    rbac=RBAC_,
    clock=CLOCK,
)
PODS = ResourceAttributes(verb="get", resource="pods", namespace="shop")


async def test_token_review() -> None:
    review = await REVIEWS.token(TokenReview(spec=TokenReviewSpec(token="s3cret")))
    assert review.status.authenticated
    assert review.status.user.username == "ben"
    assert review.status.audiences == ["https://here"]
    other = await REVIEWS.token(
        TokenReview(spec=TokenReviewSpec(token="s3cret", audiences=["vault"]))
    )
    assert not other.status.authenticated
    wrong = await REVIEWS.token(TokenReview(spec=TokenReviewSpec(token="wrong")))
    assert (wrong.status.authenticated, wrong.status.error) == (False, "invalid bearer token")
    with pytest.raises(BadRequest):
        await REVIEWS.token(TokenReview())


def test_who_am_i() -> None:
    caller = Caller("anna", ("team",), "7", {"a": ("b",)})
    info = REVIEWS.who_am_i(caller, SelfSubjectReview()).status.userInfo
    assert (info.username, info.groups, info.uid, info.extra) == (
        "anna",
        ["team"],
        "7",
        {"a": ["b"]},
    )


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        (SubjectAccessReviewSpec(user="anna", resourceAttributes=PODS), True),
        (SubjectAccessReviewSpec(groups=["team"], resourceAttributes=PODS), True),
        (SubjectAccessReviewSpec(user="ben", resourceAttributes=PODS), False),
        (
            SubjectAccessReviewSpec(
                user="anna",
                nonResourceAttributes=NonResourceAttributes(verb="get", path="/metrics"),
            ),
            True,
        ),
        (
            SubjectAccessReviewSpec(
                user="anna", nonResourceAttributes=NonResourceAttributes(verb="get", path="/logs")
            ),
            False,
        ),
    ],
)
def test_access(spec: SubjectAccessReviewSpec, allowed: bool) -> None:
    status = REVIEWS.access(SubjectAccessReview(spec=spec)).status
    assert status.allowed is allowed
    assert bool(status.reason) is allowed


@pytest.mark.parametrize(
    "spec",
    [
        SubjectAccessReviewSpec(),
        SubjectAccessReviewSpec(resourceAttributes=PODS),
        SubjectAccessReviewSpec(user="anna"),
        SubjectAccessReviewSpec(
            user="anna", resourceAttributes=PODS, nonResourceAttributes=NonResourceAttributes()
        ),
    ],
)
def test_reviews_that_ask_wrongly(spec: SubjectAccessReviewSpec) -> None:
    with pytest.raises(Invalid):
        REVIEWS.access(SubjectAccessReview(spec=spec))


def test_local_access_stays_in_its_namespace() -> None:
    review = LocalSubjectAccessReview(
        spec=SubjectAccessReviewSpec(user="anna", resourceAttributes=PODS)
    )
    assert REVIEWS.local_access("shop", review).status.allowed
    with pytest.raises(Invalid, match=r"must match metadata\.namespace"):
        REVIEWS.local_access("other", review)


def demands(field: str, value: str) -> FieldSelectorRequirement:
    return FieldSelectorRequirement(key=field, operator="In", values=[value])


def test_self_access() -> None:
    review = SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=PODS))
    assert REVIEWS.self_access(Caller("anna"), review).status.allowed
    assert not REVIEWS.self_access(Caller("ben"), review).status.allowed
    assert REVIEWS.self_access(Caller("root", ("system:masters",)), review).status.allowed
    with pytest.raises(Invalid):
        REVIEWS.self_access(Caller("anna"), SelfSubjectAccessReview())


@pytest.mark.parametrize(
    ("selector", "allowed"),
    [
        (FieldSelectorAttributes(rawSelector="spec.nodeName=one"), True),
        (FieldSelectorAttributes(requirements=[demands("spec.nodeName", "one")]), True),
        (FieldSelectorAttributes(requirements=[demands("a", "b,spec.nodeName=one")]), False),
    ],
)
def test_selectors_count(selector: FieldSelectorAttributes, allowed: bool) -> None:
    node = Caller("system:node:one", ("system:nodes",))
    listed = ResourceAttributes(verb="list", resource="pods", fieldSelector=selector)
    review = SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=listed))
    assert REVIEWS.self_access(node, review).status.allowed is allowed


def test_self_rules() -> None:
    review = SelfSubjectRulesReview(spec=SelfSubjectRulesReviewSpec(namespace="shop"))
    status = REVIEWS.self_rules(Caller("anna"), review).status
    assert [rule.resources for rule in status.resourceRules] == [["pods"]]
    assert [rule.nonResourceURLs for rule in status.nonResourceRules] == [["/metrics"]]
    assert not status.incomplete
    assert REVIEWS.self_rules(
        Caller("system:node:one", ("system:nodes",)), review
    ).status.incomplete
    masters = REVIEWS.self_rules(Caller("root", ("system:masters",)), review).status
    assert masters.resourceRules[0].verbs == ["*"]
    with pytest.raises(BadRequest):
        REVIEWS.self_rules(Caller("anna"), SelfSubjectRulesReview())


@pytest.mark.parametrize(
    "selector",
    [
        FieldSelectorAttributes(requirements=[demands("a", "b")] * 1001),
        FieldSelectorAttributes(rawSelector="a=b," * 20_000),
    ],
)
def test_selectors_in_reviews_are_bounded(selector: FieldSelectorAttributes) -> None:
    wanted = ResourceAttributes(verb="get", resource="pods", fieldSelector=selector)
    asked = SelfSubjectAccessReviewSpec(resourceAttributes=wanted)
    with pytest.raises(Invalid, match=r"spec\.resourceAttributes\.fieldSelector\..*: Too "):
        REVIEWS.self_access(Caller("anna"), SelfSubjectAccessReview(spec=asked))
    spec = SubjectAccessReviewSpec(user="anna", resourceAttributes=wanted)
    with pytest.raises(Invalid, match="Too "):
        REVIEWS.access(SubjectAccessReview(spec=spec))


ASKED = ResourceAttributes(verb="get", resource="pods")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            SubjectAccessReviewSpec(
                user="anna", groups=["g"] * (REVIEW_GROUPS.value + 1), resourceAttributes=ASKED
            ),
            "spec.groups: Too many: 2001: must have at most 2000 items",
        ),
        (
            SubjectAccessReviewSpec(
                user="anna",
                extra={str(index): [""] * 100 for index in range(21)},
                resourceAttributes=ASKED,
            ),
            "spec.extra: Too many: 2100: must have at most 2000 items",
        ),
        (
            SubjectAccessReviewSpec(
                user="anna", groups=["g" * REVIEW_SUBJECT.value], resourceAttributes=ASKED
            ),
            "spec: Too long: may not be more than 65536 bytes",
        ),
        (
            SubjectAccessReviewSpec(
                user="anna", extra={"x" * REVIEW_SUBJECT.value: []}, resourceAttributes=ASKED
            ),
            "spec: Too long: may not be more than 65536 bytes",
        ),
    ],
)
def test_the_subject_of_a_review_is_bounded(spec: SubjectAccessReviewSpec, message: str) -> None:
    for ask in (
        lambda: REVIEWS.access(SubjectAccessReview(spec=spec)),
        lambda: REVIEWS.local_access("", LocalSubjectAccessReview(spec=spec)),
    ):
        with pytest.raises(Invalid) as refused:
            ask()
        assert refused.value.message.endswith(message)
