import pytest

from kubelite.api.auth.caller import Attributes, Caller
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.rbac import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)
from kubelite.limits import DECISION_KEY

READ_PODS = PolicyRule(verbs=["get", "list"], apiGroups=[""], resources=["pods"])


def cluster_role(name: str, *rules: PolicyRule) -> ClusterRole:
    return ClusterRole(metadata=ObjectMeta(name=name), rules=list(rules))


def cluster_binding(name: str, role: str, *subjects: Subject) -> ClusterRoleBinding:
    ref = RoleRef(kind="ClusterRole", name=role)
    return ClusterRoleBinding(metadata=ObjectMeta(name=name), roleRef=ref, subjects=list(subjects))


def binding(name: str, namespace: str, ref: RoleRef, *subjects: Subject) -> RoleBinding:
    meta = ObjectMeta(name=name, namespace=namespace)
    return RoleBinding(metadata=meta, roleRef=ref, subjects=list(subjects))


def allowed(
    rbac: RBAC, user: str, verb: str, resource: str, namespace: str = "", *groups: str
) -> bool:
    attributes = Attributes(verb, resource=resource, namespace=namespace)
    return rbac.decide(Caller(user, groups), attributes).allowed


ANNA = Subject(kind="User", name="anna")
ROBOT = Subject(kind="ServiceAccount", name="robot", namespace="ci")


def test_cluster_wide_grant_holds_everywhere() -> None:
    rbac = RBAC(FixedLookup([cluster_role("r", READ_PODS), cluster_binding("b", "r", ANNA)]))
    assert allowed(rbac, "anna", "get", "pods")
    assert allowed(rbac, "anna", "get", "pods", "shop")
    assert not allowed(rbac, "anna", "delete", "pods")
    assert not allowed(rbac, "ben", "get", "pods")


def test_grant_in_a_namespace_holds_there_only() -> None:
    ref = RoleRef(kind="ClusterRole", name="r")
    rbac = RBAC(FixedLookup([cluster_role("r", READ_PODS), binding("b", "shop", ref, ANNA)]))
    assert allowed(rbac, "anna", "get", "pods", "shop")
    assert not allowed(rbac, "anna", "get", "pods", "other")
    assert not allowed(rbac, "anna", "get", "pods")


def test_role_is_looked_for_in_the_bindings_namespace() -> None:
    role = Role(metadata=ObjectMeta(name="r", namespace="shop"), rules=[READ_PODS])
    ref = RoleRef(kind="Role", name="r")
    rbac = RBAC(
        FixedLookup([role, binding("b", "shop", ref, ANNA), binding("b", "other", ref, ANNA)])
    )
    assert allowed(rbac, "anna", "list", "pods", "shop")
    decision = rbac.decide(Caller("anna"), Attributes("list", resource="pods", namespace="other"))
    assert not decision.allowed
    assert decision.reason == 'RBAC: role.rbac.authorization.k8s.io "r" not found'


def test_groups_and_service_accounts() -> None:
    team = Subject(kind="Group", name="team")
    rbac = RBAC(FixedLookup([cluster_role("r", READ_PODS), cluster_binding("b", "r", team, ROBOT)]))
    assert allowed(rbac, "ben", "get", "pods", "", "staff", "team")
    assert allowed(rbac, "system:serviceaccount:ci:robot", "get", "pods")
    assert not allowed(rbac, "system:serviceaccount:other:robot", "get", "pods")
    assert not allowed(rbac, "team", "get", "pods")


def test_changes_take_effect_at_once() -> None:
    lookup = FixedLookup([cluster_binding("b", "r", ANNA)])
    rbac = RBAC(lookup)
    assert not allowed(rbac, "anna", "get", "pods")
    lookup.put(cluster_role("r", READ_PODS))
    assert allowed(rbac, "anna", "get", "pods")
    lookup.put(cluster_role("r"))
    assert not allowed(rbac, "anna", "get", "pods")
    lookup.put(cluster_role("r", READ_PODS))
    lookup.put(cluster_binding("b", "r", ROBOT))
    assert not allowed(rbac, "anna", "get", "pods")
    lookup.put(cluster_binding("b", "r", ANNA))
    lookup.remove(ClusterRoleBinding, "b")
    assert not allowed(rbac, "anna", "get", "pods")


def test_one_of_two_bindings_goes() -> None:
    lookup = FixedLookup(
        [
            cluster_role("r", READ_PODS),
            cluster_binding("a", "r", ANNA),
            cluster_binding("b", "r", ANNA),
        ]
    )
    rbac = RBAC(lookup)
    lookup.remove(ClusterRoleBinding, "a")
    assert allowed(rbac, "anna", "get", "pods")
    lookup.remove(ClusterRoleBinding, "b")
    assert not allowed(rbac, "anna", "get", "pods")


def test_a_removed_role_allows_nothing() -> None:
    lookup = FixedLookup([cluster_role("r", READ_PODS), cluster_binding("b", "r", ANNA)])
    rbac = RBAC(lookup)
    lookup.remove(ClusterRole, "r")
    assert not allowed(rbac, "anna", "get", "pods")
    assert rbac.missing_roles(Caller("anna")) == [
        'clusterrole.rbac.authorization.k8s.io "r" not found'
    ]


@pytest.mark.parametrize(
    ("subject", "caller", "who"),
    [
        (ANNA, "anna", 'to User "anna"'),
        (ROBOT, "system:serviceaccount:ci:robot", 'to ServiceAccount "robot/ci"'),
    ],
)
def test_reasons(subject: Subject, caller: str, who: str) -> None:
    ref = RoleRef(kind="ClusterRole", name="r")
    objects = [cluster_role("r", READ_PODS), cluster_binding("b", "r", subject)]
    rbac = RBAC(FixedLookup(objects))
    reason = rbac.decide(Caller(caller), Attributes("get", resource="pods")).reason
    assert reason == f'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "r" {who}'
    rbac = RBAC(FixedLookup([objects[0], binding("b", "shop", ref, subject)]))
    reason = rbac.decide(
        Caller(caller), Attributes("get", resource="pods", namespace="shop")
    ).reason
    assert reason == f'RBAC: allowed by RoleBinding "b/shop" of ClusterRole "r" {who}'


def test_after_close_nothing_changes() -> None:
    lookup = FixedLookup([cluster_binding("b", "r", ANNA)])
    rbac = RBAC(lookup)
    rbac.close()
    lookup.put(cluster_role("r", READ_PODS))
    assert not allowed(rbac, "anna", "get", "pods")


def test_a_service_account_without_a_namespace_is_that_of_its_binding() -> None:
    ref = RoleRef(kind="ClusterRole", name="r")
    bare = Subject(kind="ServiceAccount", name="robot")
    bindings = [binding("b", "shop", ref, bare), cluster_binding("c", "r", bare)]
    rbac = RBAC(FixedLookup([cluster_role("r", READ_PODS), *bindings]))
    assert allowed(rbac, "system:serviceaccount:shop:robot", "get", "pods", "shop")
    assert not allowed(rbac, "system:serviceaccount:ci:robot", "get", "pods", "shop")
    # Of a ClusterRoleBinding it is nobody.
    assert not allowed(rbac, "system:serviceaccount::robot", "get", "pods")
    assert not allowed(rbac, "system:serviceaccount:shop:robot", "get", "pods")


def test_the_first_of_several_grants_is_the_reason() -> None:
    lookup = FixedLookup([cluster_role("r", READ_PODS)])
    rbac = RBAC(lookup)
    for name in ("b", "a", "c"):
        lookup.put(cluster_binding(name, "r", ANNA))
    reason = rbac.decide(Caller("anna"), Attributes("get", resource="pods")).reason
    assert reason.startswith('RBAC: allowed by ClusterRoleBinding "b" ')


def test_an_answer_is_kept_and_what_is_taken_back_takes_no_room() -> None:
    lookup = FixedLookup([cluster_role("r", READ_PODS), cluster_binding("b", "r", ANNA)])
    rbac = RBAC(lookup)
    request = Attributes("get", resource="pods")
    assert rbac.decide(Caller("anna"), request) is rbac.decide(Caller("anna"), request)
    assert rbac._held
    lookup.remove(ClusterRoleBinding, "b")
    assert rbac._held == {}


@pytest.mark.parametrize(
    ("caller", "attributes"),
    [
        (Caller("u" * DECISION_KEY.value), Attributes("get")),
        (Caller("anna", ("g" * 100,) * 30), Attributes("get")),
        (Caller("anna"), Attributes("get", resource="pods", name="n" * DECISION_KEY.value)),
        (Caller("anna"), Attributes("list", resource="pods", label_selector="a," * 2000)),
    ],
)
def test_long_questions_are_answered_and_not_remembered(
    caller: Caller, attributes: Attributes
) -> None:
    rbac = RBAC(FixedLookup([cluster_role("r", READ_PODS), cluster_binding("b", "r", ANNA)]))
    before = DECISION_KEY.times_reached
    for _ in range(2):
        expected = caller.user == "anna" and attributes.resource == "pods"
        assert rbac.decide(caller, attributes).allowed is expected
    assert DECISION_KEY.times_reached == before + 2
    rbac.decide(Caller("anna"), Attributes("get", resource="pods"))
    assert DECISION_KEY.times_reached == before + 2
