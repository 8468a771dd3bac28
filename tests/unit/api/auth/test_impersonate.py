import pytest

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.impersonate import Impersonation, caller_as, impersonated, requested
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import BadRequest, Forbidden, InternalError
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.rbac import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject


def test_headers() -> None:
    headers = [
        ("Accept", "*/*"),
        ("Impersonate-User", "anna"),
        ("Impersonate-Group", "team"),
        ("impersonate-group", "ops"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Extra-Reason%2fWhy", "a"),
        ("Impersonate-Extra-Reason%2Fwhy", "b"),
    ]
    assert requested(headers) == Impersonation(
        "anna", ("team", "ops"), "7", {"reason/why": ("a", "b")}
    )
    assert requested([("Accept", "*/*")]) is None


@pytest.mark.parametrize("header", ["Impersonate-Group", "Impersonate-Uid", "Impersonate-Extra-x"])
def test_a_user_is_needed(header: str) -> None:
    with pytest.raises(InternalError, match="without impersonating a user"):
        requested([(header, "x")])


@pytest.mark.parametrize(
    ("wanted", "groups"),
    [
        (Impersonation("anna"), ("system:authenticated",)),
        (Impersonation("anna", ("team",)), ("team", "system:authenticated")),
        (Impersonation("anna", ("system:unauthenticated",)), ("system:unauthenticated",)),
        (Impersonation("system:anonymous"), ("system:unauthenticated",)),
        (
            Impersonation("system:serviceaccount:shop:web"),
            ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"),
        ),
        (Impersonation("system:serviceaccount:shop:web", ("x",)), ("x", "system:authenticated")),
    ],
)
def test_groups_of_the_identity(wanted: Impersonation, groups: tuple[str, ...]) -> None:
    assert caller_as(wanted).groups == groups


def authorizer(*rules: PolicyRule) -> UnionAuthorizer:
    role = ClusterRole(metadata=ObjectMeta(name="r"), rules=list(rules))
    binding = ClusterRoleBinding(
        metadata=ObjectMeta(name="b"),
        roleRef=RoleRef(kind="ClusterRole", name="r"),
        subjects=[Subject(kind="User", name="me")],
    )
    return UnionAuthorizer(RBAC(FixedLookup([role, binding])))


def impersonate(group: str, resource: str, *names: str) -> PolicyRule:
    return PolicyRule(
        verbs=["impersonate"], apiGroups=[group], resources=[resource], resourceNames=list(names)
    )


def test_each_part_takes_a_right() -> None:
    users = impersonate("", "users", "anna")
    rest = [
        impersonate("", "groups", "team"),
        impersonate("authentication.k8s.io", "userextras/reason"),
        impersonate("authentication.k8s.io", "uids", "7"),
    ]
    wanted = Impersonation("anna", ("team",), "7", {"reason": ("why",)})
    assert impersonated(authorizer(users, *rest), Caller("me"), wanted).user == "anna"
    for missing in range(3):
        rules = [rule for index, rule in enumerate(rest) if index != missing]
        with pytest.raises(Forbidden):
            impersonated(authorizer(users, *rules), Caller("me"), wanted)
    with pytest.raises(Forbidden) as refused:
        impersonated(authorizer(users, *rest), Caller("me"), Impersonation("ben"))
    assert refused.value.message == (
        'users "ben" is forbidden: User "me" cannot impersonate resource "users" in API group "" at the cluster scope'
    )


def test_service_accounts_are_a_right_of_their_own() -> None:
    wanted = Impersonation("system:serviceaccount:shop:web")
    caller = impersonated(authorizer(impersonate("", "serviceaccounts")), Caller("me"), wanted)
    assert caller.user == wanted.user
    with pytest.raises(Forbidden, match="cannot impersonate resource"):
        impersonated(authorizer(impersonate("", "users")), Caller("me"), wanted)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Impersonate-User", "anna\udcff"),
        ("Impersonate-Group", "\udc80"),
        ("Impersonate-Uid", "\udcfe7"),
        ("Impersonate-Extra-scopes", "\udcff"),
        ("Impersonate-Extra-\udcff", "x"),
    ],
)
def test_names_that_are_no_text_are_nobodys(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match="not valid UTF-8") as refused:
        requested([("Impersonate-User", "anna"), (name, value)])
    assert refused.value.message.isascii()
