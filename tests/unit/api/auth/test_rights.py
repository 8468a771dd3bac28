"""Corner cases of rights, each a row: what is held, what is asked for, and whether that is allowed."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import convert

from kubelite.api.auth.authorize import UnionAuthorizer
from kubelite.api.auth.caller import AUTHENTICATED, SYSTEM_MASTERS, Attributes, Caller
from kubelite.api.auth.escalation import GROUP, Escalation
from kubelite.api.auth.impersonate import Impersonation, impersonated
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.rbac import RBAC
from kubelite.api.errors import Forbidden, NotFound
from kubelite.api.kinds.rbac import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
)

ANNA = Caller("anna", ("team",))


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "") -> PolicyRule:
    """Return a rule; several values are parted by commas, and a lone dot in `names` is the empty name."""
    return PolicyRule(
        verbs=verbs.split(","),
        apiGroups=groups.split(","),
        resources=resources.split(","),
        resourceNames=["" if name == "." else name for name in names.split(",") if name],
    )


def urls(verbs: str, paths: str) -> PolicyRule:
    return PolicyRule(verbs=verbs.split(","), nonResourceURLs=paths.split(","))


def binding(
    role: str, subject: dict[str, str], namespace: str = ""
) -> ClusterRoleBinding | RoleBinding:
    body = {
        "metadata": {"name": f"of-{role}", "namespace": namespace},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }
    return convert(body, RoleBinding) if namespace else convert(body, ClusterRoleBinding)


def role(name: str, *rules: PolicyRule, namespace: str = "") -> ClusterRole | Role:
    if namespace:
        return convert(
            {"metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}, Role
        )
    return convert({"metadata": {"name": name}, "rules": list(rules)}, ClusterRole)


USER_ANNA = {"kind": "User", "name": "anna", "apiGroup": GROUP}


class Held:
    """What anna holds, in the cluster or in one namespace."""

    def __init__(self, *rules: PolicyRule, namespace: str = "", more: Sequence[Any] = ()) -> None:
        held = role("held", *rules)
        lookup = FixedLookup([held, binding("held", USER_ANNA, namespace), *more])
        self.rbac = RBAC(lookup)
        self.authorizer = UnionAuthorizer(self.rbac)

    def may(self, wanted: Attributes, caller: Caller = ANNA) -> bool:
        return self.authorizer.decide(caller, wanted).allowed

    def writes(self, after: Any, before: Any = None, namespace: str | None = None) -> str:
        """Write a role or binding; return why not."""
        resource = f"{type(after).__name__.lower()}s"
        place = after.metadata.namespace if namespace is None else namespace
        verb = "update" if before else "create"
        name = after.metadata.name if before else ""
        wanted = Attributes(verb, GROUP, "v1", resource, "", place, name)
        try:
            Escalation(self.authorizer, self.rbac).check(ANNA, wanted, after, before)
        except (Forbidden, NotFound) as error:
            return error.message
        return ""


def of(verb: str, resource: str, name: str = "", **more: str) -> Attributes:
    main, _, sub = resource.partition("/")
    plural, _, group = main.partition(".")
    namespace = more.pop("namespace", "shop")
    return Attributes(verb, group, "v1", plural, sub, namespace, name, **more)


def path(verb: str, text: str) -> Attributes:
    return Attributes(verb, path=text)


NAMED = rule("*", "", "secrets", "a")


@pytest.mark.parametrize(
    ("held", "wanted", "allowed"),
    [
        # Names limit what has a name: a creation has none, and a list only by its field selector.
        (NAMED, of("get", "secrets", "a"), True),
        (NAMED, of("get", "secrets", "b"), False),
        (NAMED, of("get", "secrets", "A"), False),
        (NAMED, of("create", "secrets"), False),
        (NAMED, of("create", "secrets", "a"), True),  # by PUT or apply, which name it
        (NAMED, of("create", "secrets", "b"), False),
        (NAMED, of("list", "secrets"), False),
        (NAMED, of("list", "secrets", field_selector="metadata.name=a"), True),
        (NAMED, of("list", "secrets", field_selector="metadata.name==a,type=x"), True),
        (NAMED, of("list", "secrets", field_selector="metadata.name!=a"), False),
        (NAMED, of("list", "secrets", field_selector="metadata.name!=b"), False),
        (NAMED, of("list", "secrets", field_selector="metadata.name=b"), False),
        (NAMED, of("list", "secrets", label_selector="metadata.name=a"), False),
        (NAMED, of("watch", "secrets", field_selector="metadata.name=a"), True),
        (NAMED, of("watch", "secrets"), False),
        (NAMED, of("deletecollection", "secrets"), False),
        (NAMED, of("deletecollection", "secrets", field_selector="metadata.name=a"), False),
        (NAMED, of("get", "secrets/status", "a"), False),
        (rule("list", "", "secrets", "."), of("list", "secrets"), True),  # as upstream
        (rule("get", "", "pods/log", "a"), of("get", "pods/log", "a"), True),
        (rule("get", "", "pods/log", "a"), of("get", "pods/log", "b"), False),
        # A resource is not its subresources, nor the other way round; stars stand in three places.
        (rule("get", "", "pods"), of("get", "pods/log", "a"), False),
        (rule("get", "", "pods/log"), of("get", "pods", "a"), False),
        (rule("get", "", "pods/*"), of("get", "pods/log", "a"), False),
        (rule("get", "", "pods/*"), of("get", "pods", "a"), False),
        (rule("get", "", "*/log"), of("get", "pods/log", "a"), True),
        (rule("get", "", "*/log"), of("get", "pods/exec", "a"), False),
        (rule("get", "", "*/log"), of("get", "pods", "a"), False),
        (rule("get", "", "*"), of("get", "pods/exec", "a"), True),
        (rule("get", "", "*"), of("get", "deployments.apps", "a"), False),
        (rule("update", "*", "*/scale"), of("update", "deployments.apps/scale", "a"), True),
        (
            rule("update", "apps", "*/scale"),
            of("update", "replicationcontrollers/scale", "a"),
            False,
        ),
        (rule("*", "*", "*"), of("escalate", f"roles.{GROUP}", "a"), True),
        (rule("get,list", "", "pods"), of("watch", "pods"), False),
        (rule("delete", "", "pods"), of("deletecollection", "pods"), False),
        (rule("GET", "", "pods"), of("get", "pods", "a"), False),
        (rule("get", "", "Pods"), of("get", "pods", "a"), False),
        # Paths: a star at the end alone is one, and covers any rest.
        (urls("get", "/healthz"), path("get", "/healthz"), True),
        (urls("get", "/healthz"), path("get", "/healthz/"), False),
        (urls("get", "/healthz/*"), path("get", "/healthz/"), True),
        (urls("get", "/healthz/*"), path("get", "/healthz"), False),
        (urls("get", "/healthz/*"), path("get", "/healthz/a/b"), True),
        (urls("get", "/healthz*"), path("get", "/healthzz"), True),
        (urls("get", "/a/*/c"), path("get", "/a/b/c"), False),
        (urls("get", "*"), path("get", "/any"), True),
        (urls("get", "*"), path("post", "/any"), False),
        (urls("*", "/metrics"), path("delete", "/metrics"), True),
        (urls("get", "*"), of("get", "pods", "a"), False),
        (rule("*", "*", "*"), path("get", "/metrics"), False),
        (urls("get", "/api/v1/secrets"), of("list", "secrets", namespace=""), False),
    ],
)
def test_rules(held: PolicyRule, wanted: Attributes, allowed: bool) -> None:
    assert Held(held).may(wanted) is allowed


@pytest.mark.parametrize(
    ("held", "wanted", "allowed"),
    [
        (rule("*", "*", "*"), of("get", "secrets", "a"), True),
        (rule("*", "*", "*"), of("get", "secrets", "a", namespace="other"), False),
        (rule("*", "*", "*"), of("list", "secrets", namespace=""), False),
        (rule("*", "*", "*"), of("create", f"clusterrolebindings.{GROUP}", namespace=""), False),
        (rule("*", "*", "*"), of("get", "nodes", "a", namespace=""), False),
        (
            rule("impersonate", "", "users,groups"),
            of("impersonate", "users", "x", namespace=""),
            False,
        ),
        (urls("*", "*"), path("get", "/metrics"), False),  # a path is in no namespace
    ],
)
def test_a_grant_in_a_namespace_stays_there(
    held: PolicyRule, wanted: Attributes, allowed: bool
) -> None:
    assert Held(held, namespace="shop").may(wanted) is allowed


@pytest.mark.parametrize(
    ("subject", "caller", "allowed"),
    [
        ({"kind": "User", "name": "anna"}, ANNA, True),
        ({"kind": "User", "name": "team"}, ANNA, False),
        ({"kind": "Group", "name": "team"}, ANNA, True),
        ({"kind": "Group", "name": "anna"}, ANNA, False),
        ({"kind": "User", "name": "*"}, ANNA, False),
        ({"kind": "ServiceAccount", "name": "web", "namespace": "shop"}, ANNA, False),
        (
            {"kind": "ServiceAccount", "name": "web", "namespace": "shop"},
            Caller("system:serviceaccount:shop:web"),
            True,
        ),
        (
            {"kind": "ServiceAccount", "name": "web", "namespace": "shop"},
            Caller("system:serviceaccount:other:web"),
            False,
        ),
        (
            {"kind": "ServiceAccount", "name": "web"},  # of no namespace, in a cluster binding
            Caller("system:serviceaccount::web"),
            False,
        ),
    ],
)
def test_subjects(subject: dict[str, str], caller: Caller, allowed: bool) -> None:
    lookup = FixedLookup([role("r", rule("get", "", "pods")), binding("r", subject)])
    authorizer = UnionAuthorizer(RBAC(lookup))
    assert authorizer.decide(caller, of("get", "pods", "a")).allowed is allowed


AS_ANYBODY = rule("impersonate", "", "users")
AUTHN = "authentication.k8s.io"


@pytest.mark.parametrize(
    ("held", "wanted", "allowed"),
    [
        ([AS_ANYBODY], Impersonation("ben"), True),
        ([AS_ANYBODY], Impersonation("ben", (SYSTEM_MASTERS,)), False),
        ([AS_ANYBODY], Impersonation("ben", (AUTHENTICATED,)), False),
        ([AS_ANYBODY], Impersonation("system:serviceaccount:kube-system:a"), False),
        ([AS_ANYBODY], Impersonation("ben", uid="7"), False),
        ([AS_ANYBODY], Impersonation("ben", extra={"scopes": ("all",)}), False),
        ([rule("impersonate", "", "users", "ben")], Impersonation("ben"), True),
        ([rule("impersonate", "", "users", "ben")], Impersonation("cleo"), False),
        (
            [AS_ANYBODY, rule("impersonate", "", "groups", "dev")],
            Impersonation("ben", ("dev",)),
            True,
        ),
        (
            [AS_ANYBODY, rule("impersonate", "", "groups", "dev")],
            Impersonation("ben", ("dev", SYSTEM_MASTERS)),
            False,
        ),
        (
            [AS_ANYBODY, rule("impersonate", "", "groups")],
            Impersonation("ben", (SYSTEM_MASTERS,)),
            True,
        ),
        ([rule("impersonate", "", "groups")], Impersonation("ben", ("dev",)), False),
        (
            [rule("impersonate", "", "serviceaccounts", "a")],
            Impersonation("system:serviceaccount:shop:a"),
            True,
        ),
        (
            [AS_ANYBODY, rule("impersonate", AUTHN, "userextras/scopes", "some")],
            Impersonation("ben", extra={"scopes": ("some",)}),
            True,
        ),
        (
            [AS_ANYBODY, rule("impersonate", AUTHN, "userextras/scopes", "some")],
            Impersonation("ben", extra={"scopes": ("some", "all")}),
            False,
        ),
        (
            [AS_ANYBODY, rule("impersonate", AUTHN, "userextras/scopes")],
            Impersonation("ben", extra={"reason": ("some",)}),
            False,
        ),
        ([AS_ANYBODY, rule("impersonate", AUTHN, "uids")], Impersonation("ben", uid="7"), True),
        ([rule("*", "", "*")], Impersonation("ben", uid="7"), False),
        ([rule("get,list", "", "users")], Impersonation("ben"), False),
    ],
)
def test_impersonation(held: list[PolicyRule], wanted: Impersonation, allowed: bool) -> None:
    authorizer = Held(*held).authorizer
    if allowed:
        assert impersonated(authorizer, ANNA, wanted).user == wanted.user
    else:
        with pytest.raises(Forbidden):
            impersonated(authorizer, ANNA, wanted)


def test_impersonation_in_a_namespace_is_for_its_service_accounts_alone() -> None:
    authorizer = Held(rule("impersonate", "", "*"), namespace="shop").authorizer
    account = "system:serviceaccount:shop:a"
    assert impersonated(authorizer, ANNA, Impersonation(account)).user == account
    for user in ("ben", "system:serviceaccount:kube-system:a", "system:serviceaccount:shop"):
        with pytest.raises(Forbidden):
            impersonated(authorizer, ANNA, Impersonation(user))


PODS = rule("get,list", "", "pods")
ADMIN = [rule("*", "*", "*"), urls("*", "*")]
GRANTING = "attempting to grant RBAC permissions not currently held"


@pytest.mark.parametrize(
    ("held", "given", "allowed"),
    [
        ([PODS], [rule("get", "", "pods")], True),
        ([PODS], [rule("get", "", "pods", "a")], True),
        ([rule("get", "", "pods", "a")], [rule("get", "", "pods")], False),
        ([rule("get", "", "pods", "a")], [rule("get", "", "pods", "a,b")], False),
        ([PODS], [rule("get,delete", "", "pods")], False),
        ([PODS], [rule("get", "*", "pods")], False),
        ([PODS], [rule("*", "", "pods")], False),
        ([rule("get", "", "*")], [rule("get", "", "pods/log,secrets")], True),
        ([rule("get", "", "*/log")], [rule("get", "", "pods/log")], True),
        ([rule("get", "", "pods/log")], [rule("get", "", "*/log")], False),
        ([rule("get", "", "pods/*")], [rule("get", "", "pods/log")], False),
        ([urls("get", "/a/*")], [urls("get", "/a/b,/a/c/*")], True),
        ([urls("get", "/a/b")], [urls("get", "/a/*")], False),
        ([rule("get", "*", "*")], [urls("get", "/metrics")], False),
        ([rule("*", "*", "*")], [urls("get", "/metrics")], True),  # the star is "escalate" as well
        ([rule("get", "", "pods"), rule("list", "", "pods")], [PODS], True),
        ([], [], True),
        ([rule("escalate", GROUP, "clusterroles")], ADMIN, True),
        ([rule("escalate", GROUP, "roles")], [PODS], False),
        ([rule("escalate", GROUP, "clusterroles", "other")], [PODS], False),
        ([rule("bind", GROUP, "clusterroles")], [PODS], False),
    ],
)
def test_what_a_role_may_give(
    held: list[PolicyRule], given: list[PolicyRule], allowed: bool
) -> None:
    refusal = Held(*held).writes(role("new", *given))
    assert not refusal if allowed else GRANTING in refusal
    before = role("new")
    assert bool(Held(*held).writes(role("new", *given), before)) is not allowed


@pytest.mark.parametrize(
    ("held", "ref", "reason"),
    [
        ([PODS], "reader", ""),
        ([PODS], "admin", GRANTING),
        ([rule("bind", GROUP, "clusterroles", "admin")], "admin", ""),
        ([rule("bind", GROUP, "clusterroles", "reader")], "admin", GRANTING),
        ([rule("bind", GROUP, "clusterroles")], "none", ""),
        ([rule("bind", GROUP, "roles")], "admin", GRANTING),
        ([rule("escalate", GROUP, "clusterroles")], "admin", GRANTING),
        ([PODS], "none", "not found"),
        (ADMIN, "admin", ""),
    ],
)
@pytest.mark.parametrize("namespace", ["", "shop"])
def test_what_may_be_bound(held: list[PolicyRule], ref: str, reason: str, namespace: str) -> None:
    there = [role("reader", PODS), role("admin", *ADMIN)]
    refusal = Held(*held, more=there).writes(binding(ref, USER_ANNA, namespace))
    assert (reason in refusal) if reason else not refusal


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (role("r", PODS, namespace="shop"), ""),
        (role("r", PODS, namespace="other"), GRANTING),
        (role("r", PODS), GRANTING),
        (binding("reader", USER_ANNA, "shop"), ""),
        (binding("reader", USER_ANNA, "other"), GRANTING),
        (binding("reader", USER_ANNA), GRANTING),
    ],
)
@pytest.mark.parametrize("place", [None, "shop"])
def test_what_is_held_in_a_namespace_is_given_there_alone(
    after: Any, reason: str, place: str | None
) -> None:
    """A cluster-wide role is judged by cluster-wide rights even if the request named a namespace."""
    held = Held(*ADMIN, namespace="shop", more=[role("reader", PODS)])
    if place and after.metadata.namespace:
        place = None
    refusal = held.writes(after, namespace=place)
    assert (reason in refusal) if reason else not refusal


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        (ADMIN, True),
        ([rule("get,list,create,update,delete", "*", "*"), urls("*", "*")], False),
        ([PODS], False),
        ([rule("escalate", GROUP, "clusterroles")], True),
    ],
)
@pytest.mark.parametrize("has_it_already", [True, False])
def test_an_aggregated_role_takes_everything(
    held: list[PolicyRule], allowed: bool, has_it_already: bool
) -> None:
    gathered = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    with_it = convert({"metadata": {"name": "r"}, "aggregationRule": gathered}, ClusterRole)
    plain = convert({"metadata": {"name": "r", "labels": {"x": "y"}}}, ClusterRole)
    states = (plain, with_it) if has_it_already else (with_it, None)  # taking it away counts too
    refusal = Held(*held).writes(*states)
    assert not refusal if allowed else "must have cluster-admin privileges" in refusal
