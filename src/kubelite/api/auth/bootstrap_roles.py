"""The default roles and bindings: expanded from a table, and reconciled with the stored ones.

As in Kubernetes, an object annotated `autoupdate: "false"` is left alone; missing rules, subjects and labels are added,
but none is removed; a binding that refers to another role is recreated.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.rules import broken_down, compiled, covers
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
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

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
CONTROLLER_PREFIX = "system:controller:"
SUBJECT_KINDS = {"user": "User", "group": "Group", "account": "ServiceAccount"}
RESOURCE_FIELDS = 3

AnyRole = Role | ClusterRole
AnyBinding = RoleBinding | ClusterRoleBinding


class Defaults(Struct, frozen=True):
    """The roles and bindings that every cluster has."""

    roles: tuple[AnyRole, ...]
    bindings: tuple[AnyBinding, ...]


def revised(stored: AnyRole | AnyBinding, wanted: AnyRole | AnyBinding) -> AnyRole | AnyBinding:
    """Return a stored role or binding with its missing parts added; unchanged if it opted out. Both are of one kind."""
    if not _is_ours(stored):
        return stored
    if isinstance(wanted, Role | ClusterRole):
        assert isinstance(stored, Role | ClusterRole)
        return completed_role(stored, wanted)
    assert isinstance(stored, RoleBinding | ClusterRoleBinding)
    return completed_binding(stored, wanted)


def is_rebound(stored: AnyBinding, wanted: AnyBinding) -> bool:
    """Return whether a stored binding refers to another role; roleRef is immutable, so it must be recreated."""
    return _is_ours(stored) and stored.roleRef != wanted.roleRef


def completed_role(stored: AnyRole, wanted: AnyRole) -> AnyRole:
    """Return a stored role with its missing rules and labels added."""
    held = compiled(stored.rules)
    lacking = [
        rule for rule in wanted.rules if not all(covers(held, part) for part in broken_down(rule))
    ]
    role: AnyRole = replace(
        stored,
        metadata=_completed_meta(stored.metadata, wanted.metadata),
        rules=[*stored.rules, *lacking],
    )
    if isinstance(role, ClusterRole) and isinstance(wanted, ClusterRole) and wanted.aggregationRule:
        # The aggregation controller owns the rules, so add only missing selectors.
        selectors = list(role.aggregationRule.clusterRoleSelectors if role.aggregationRule else [])
        selectors += [s for s in wanted.aggregationRule.clusterRoleSelectors if s not in selectors]
        role = replace(
            role,
            rules=stored.rules,
            aggregationRule=AggregationRule(clusterRoleSelectors=selectors),
        )
    return role


def completed_binding(stored: AnyBinding, wanted: AnyBinding) -> AnyBinding:
    """Return a stored binding with its missing subjects and labels added."""
    lacking = [subject for subject in wanted.subjects if subject not in stored.subjects]
    binding: AnyBinding = replace(
        stored,
        metadata=_completed_meta(stored.metadata, wanted.metadata),
        subjects=[*stored.subjects, *lacking],
    )
    return binding


def defaults() -> Defaults:
    """Expand the table to all default roles and bindings. Takes some milliseconds."""
    table = tomllib.loads((files(__package__) / "default_roles.toml").read_text())
    controllers = table["controllers"]
    own = table["own"]
    roles: list[AnyRole] = [
        *_cluster_roles(table["cluster_roles"], table["aggregates"], table["aggregated_to"]),
        *_cluster_roles({CONTROLLER_PREFIX + name: rules for name, rules in controllers.items()}),
        *_cluster_roles(own["cluster_roles"], aggregated_to=own["aggregated_to"]),
        *_roles(table["roles"]),
        *_roles(own["roles"]),
    ]
    accounts = {CONTROLLER_PREFIX + name: [f"account:kube-system/{name}"] for name in controllers}
    bindings: list[AnyBinding] = [
        *_cluster_role_bindings(table["cluster_role_bindings"]),
        *_cluster_role_bindings(accounts),
        *_cluster_role_bindings(own["cluster_role_bindings"]),
        *_role_bindings(table["role_bindings"]),
        *_role_bindings(own["role_bindings"]),
    ]
    return Defaults(tuple(roles), tuple(bindings))


def node_rules(wanted: Defaults) -> Sequence[PolicyRule]:
    """Return the rules that hold for every node, for the Node authorizer."""
    return next(role.rules for role in wanted.roles if role.metadata.name == "system:node")


def rule_of(text: str) -> PolicyRule:
    """Parse a rule of the table: ``verbs groups resources [names]`` or ``verbs urls``, each comma-separated."""
    fields = [part.split(",") for part in text.split(" ")]
    if len(fields) < RESOURCE_FIELDS:
        return PolicyRule(verbs=fields[0], nonResourceURLs=fields[1])
    return PolicyRule(
        verbs=fields[0],
        apiGroups=["" if group == "core" else group for group in fields[1]],
        resources=fields[2],
        resourceNames=fields[3] if len(fields) > RESOURCE_FIELDS else [],
    )


def _cluster_roles(
    table: Mapping[str, Sequence[str]],
    aggregates: Mapping[str, str] | None = None,
    aggregated_to: Mapping[str, str] | None = None,
) -> Iterator[ClusterRole]:
    for name, rules in table.items():
        goal, source = (aggregated_to or {}).get(name), (aggregates or {}).get(name)
        gathered = LabelSelector(matchLabels={f"{AGGREGATE}{source}": "true"})
        yield ClusterRole(
            metadata=_meta(name, labels={f"{AGGREGATE}{goal}": "true"} if goal else {}),
            rules=[rule_of(rule) for rule in rules],
            aggregationRule=AggregationRule(clusterRoleSelectors=[gathered]) if source else None,
        )


def _roles(table: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[Role]:
    for namespace, roles in table.items():
        for name, rules in roles.items():
            yield Role(metadata=_meta(name, namespace), rules=[rule_of(rule) for rule in rules])


def _cluster_role_bindings(table: Mapping[str, Sequence[str]]) -> Iterator[ClusterRoleBinding]:
    for title, subjects in table.items():
        name, _, role = title.partition(" -> ")
        yield ClusterRoleBinding(
            metadata=_meta(name),
            roleRef=RoleRef(apiGroup=GROUP, kind="ClusterRole", name=role or name),
            subjects=[_subject(subject) for subject in subjects],
        )


def _role_bindings(table: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[RoleBinding]:
    for namespace, bindings in table.items():
        for title, subjects in bindings.items():
            name, _, role = title.partition(" -> ")
            yield RoleBinding(
                metadata=_meta(name, namespace),
                roleRef=RoleRef(apiGroup=GROUP, kind="Role", name=role or name),
                subjects=[_subject(subject) for subject in subjects],
            )


def _subject(text: str) -> Subject:
    kind, _, name = text.partition(":")
    if kind == "account":
        namespace, _, name = name.partition("/")
        return Subject(kind=SUBJECT_KINDS[kind], name=name, namespace=namespace)
    return Subject(kind=SUBJECT_KINDS[kind], name=name, apiGroup=GROUP)


def _meta(name: str, namespace: str = "", labels: Mapping[str, str] | None = None) -> ObjectMeta:
    return ObjectMeta(
        name=name,
        namespace=namespace,
        labels=LABELS | dict(labels or {}),
        annotations={AUTOUPDATE: "true"},
    )


def _completed_meta(stored: ObjectMeta, wanted: ObjectMeta) -> ObjectMeta:
    return replace(
        stored,
        labels=wanted.labels | stored.labels,
        annotations=wanted.annotations | stored.annotations,
    )


def _is_ours(stored: AnyRole | AnyBinding) -> bool:
    return stored.metadata.annotations.get(AUTOUPDATE, "true") != "false"
