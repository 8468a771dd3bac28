from typing import Any

import pytest
from msgspec.structs import replace

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.auth.escalation import CLUSTER_ADMIN, GROUP, Escalation
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import Forbidden, NotFound
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta, OwnerReference
from kubelite.api.kinds.rbac import (
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)

READ = PolicyRule(verbs=["get", "list"], apiGroups=[""], resources=["pods"])
SECRETS = PolicyRule(verbs=["get", "list"], apiGroups=[""], resources=["secrets"])
ANNA, BOSS = Caller("anna", ("team",)), Caller("boss")


def role(name: str, *rules: PolicyRule) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name), rules=list(rules))


def bound(name: str, user: str) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=ObjectMeta(name=f"{name}-{user}"),
        roleRef=RoleRef(apiGroup=GROUP, kind="ClusterRole", name=name),
        subjects=[Subject(kind="User", name=user)],
    )


def verb_on(verb: str, resource: str) -> PolicyRule:
    return PolicyRule(verbs=[verb], apiGroups=[GROUP], resources=[resource])


class Writes:
    def __init__(self, *objects: Any) -> None:
        everything = PolicyRule(verbs=["*"], apiGroups=["*"], resources=["*"])
        paths = PolicyRule(verbs=["*"], nonResourceURLs=["*"])
        self.lookup = FixedLookup(
            [
                role("reader", READ),
                role("admin", everything, paths),
                bound("reader", "anna"),
                bound("admin", "boss"),
                *objects,
            ]
        )
        rbac = RBAC(self.lookup)
        self.escalation = Escalation(UnionAuthorizer(rbac), rbac)

    def check(
        self, caller: Caller, after: Any, before: Any = None, *, namespace: str | None = None
    ) -> None:
        resource = f"{type(after).__name__.lower()}s"
        meta = after.metadata
        place = meta.namespace if namespace is None else namespace
        verb, name = ("update", meta.name) if before else ("create", "")  # as the path has it
        attributes = Attributes(verb, GROUP, "v1", resource, "", place, name)
        self.escalation.check(caller, attributes, after, before)


def test_gives_what_one_has() -> None:
    Writes().check(ANNA, role("new", READ))
    Writes().check(ANNA, bound("reader", "ben"))


def test_gives_no_more_than_one_has() -> None:
    with pytest.raises(Forbidden) as refused:
        Writes().check(ANNA, role("new", READ, SECRETS))
    assert refused.value.message == (
        'clusterroles.rbac.authorization.k8s.io "new" is forbidden: user "anna" (groups=["team"]) is attempting to '
        'grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}'
    )


def test_binds_no_stronger_role() -> None:
    with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held"):
        Writes().check(ANNA, bound("admin", "anna"))
    Writes().check(BOSS, bound("admin", "anna"))


def test_binds_no_stronger_role_in_a_namespace() -> None:
    ref = RoleRef(apiGroup=GROUP, kind="ClusterRole", name="admin")
    binding = RoleBinding(metadata=ObjectMeta(name="b", namespace="shop"), roleRef=ref)
    with pytest.raises(Forbidden):
        Writes().check(ANNA, binding)


def test_cluster_kinds_are_judged_at_the_cluster_scope_whatever_the_path() -> None:
    ref = RoleRef(apiGroup=GROUP, kind="ClusterRole", name="admin")
    owner = RoleBinding(
        metadata=ObjectMeta(name="b", namespace="shop"),
        roleRef=ref,
        subjects=[Subject(apiGroup=GROUP, kind="User", name="anna")],
    )
    writes = Writes(owner)
    writes.check(ANNA, Role(metadata=ObjectMeta(name="r", namespace="shop"), rules=[SECRETS]))
    for grant in (role("new", SECRETS), bound("admin", "anna")):
        with pytest.raises(Forbidden):
            writes.check(ANNA, grant, namespace="shop")


def test_unknown_role_cannot_be_bound_without_the_verb() -> None:
    with pytest.raises(NotFound):
        Writes().check(ANNA, bound("gone", "ben"))


def test_verbs_bind_and_escalate() -> None:
    may = Writes(
        role("may", verb_on("bind", "clusterroles"), verb_on("escalate", "clusterroles")),
        bound("may", "anna"),
    )
    may.check(ANNA, bound("admin", "ben"))
    may.check(ANNA, role("new", SECRETS))
    with pytest.raises(Forbidden):
        may.check(ANNA, Role(metadata=ObjectMeta(name="r", namespace="shop"), rules=[SECRETS]))


def test_masters_are_not_asked() -> None:
    Writes().check(Caller("root", ("system:masters",)), role("new", SECRETS))


def test_aggregation_takes_everything() -> None:
    gathering = AggregationRule(clusterRoleSelectors=[LabelSelector(matchLabels={"a": "b"})])
    with pytest.raises(Forbidden, match=CLUSTER_ADMIN):
        Writes().check(ANNA, replace(role("new", READ), aggregationRule=gathering))
    with pytest.raises(Forbidden, match=CLUSTER_ADMIN):
        Writes().check(
            ANNA, role("new", READ), replace(role("new", READ), aggregationRule=gathering)
        )
    Writes().check(BOSS, replace(role("new", READ), aggregationRule=gathering))


def test_collectors_may_finish_a_deletion() -> None:
    stored = role("new", SECRETS)
    owner = OwnerReference(apiVersion="v1", kind="Pod", name="p", uid="u")
    marked = replace(
        stored, metadata=replace(stored.metadata, finalizers=["x"], ownerReferences=[owner])
    )
    Writes().check(ANNA, stored, marked)
    with pytest.raises(Forbidden):
        Writes().check(ANNA, stored, role("new", READ))
