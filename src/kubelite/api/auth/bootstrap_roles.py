"""The default roles and bindings: expanded from a table, and put back at each start where something is missing.

As upstream: an object annotated `autoupdate: "false"` is left alone; rules, subjects and labels are added back
but never taken away; a binding that points to another role is made anew.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth.lookup import Lookup
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
from kubelite.tasks import together

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
CONTROLLER_PREFIX = "system:controller:"
SUBJECT_KINDS = {"user": "User", "group": "Group", "account": "ServiceAccount"}
RESOURCE_FIELDS = 3

AnyRole = Role | ClusterRole
AnyBinding = RoleBinding | ClusterRoleBinding
Item = TypeVar("Item", Role, ClusterRole, RoleBinding, ClusterRoleBinding)


class Defaults(Struct, frozen=True):
    """Everything that is there from the start."""

    roles: tuple[AnyRole, ...]
    bindings: tuple[AnyBinding, ...]


class Writes(Struct, frozen=True):
    """What brings the stored objects up to the defaults."""

    create: tuple[AnyRole | AnyBinding, ...] = ()
    update: tuple[AnyRole | AnyBinding, ...] = ()
    delete: tuple[AnyBinding, ...] = ()  # before the creations


class RoleWriter(Protocol):
    """Writes the objects, with the rights of system:masters; a `Client` is one."""

    async def create(self, item: Any) -> Any: ...

    async def update(self, item: Any) -> Any: ...

    async def delete(self, kind: Any, name: str, namespace: str = "") -> None: ...


async def reconcile_roles(writer: RoleWriter, lookup: Lookup) -> Writes:
    """Add what is missing and return it; the namespaces kube-system and kube-public must exist."""
    writes = plan(defaults(), lookup)
    await together(
        *(writer.delete(type(b), b.metadata.name, b.metadata.namespace) for b in writes.delete)
    )
    await together(
        *(writer.create(item) for item in writes.create),
        *(writer.update(item) for item in writes.update),
    )
    return writes


def plan(wanted: Defaults, lookup: Lookup) -> Writes:
    """Compare what is stored with the defaults."""
    create: list[AnyRole | AnyBinding] = []
    update: list[AnyRole | AnyBinding] = []
    delete: list[AnyBinding] = []
    for role in wanted.roles:
        stored = lookup.get(type(role), role.metadata.name, role.metadata.namespace)
        if stored is None:
            create.append(role)
        elif _is_ours(stored) and (changed := completed_role(stored, role)) != stored:
            update.append(changed)
    for binding in wanted.bindings:
        bound = lookup.get(type(binding), binding.metadata.name, binding.metadata.namespace)
        if bound is None:
            create.append(binding)
        elif not _is_ours(bound):
            continue
        elif bound.roleRef != binding.roleRef:
            delete.append(bound)
            create.append(binding)
        elif (rebound := completed_binding(bound, binding)) != bound:
            update.append(rebound)
    return Writes(tuple(create), tuple(update), tuple(delete))


def completed_role(stored: AnyRole, wanted: AnyRole) -> AnyRole:
    """Return a stored role with the rules and labels it lacks."""
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
        # The aggregation controller owns the rules; only what it gathers from is ours.
        selectors = list(role.aggregationRule.clusterRoleSelectors if role.aggregationRule else [])
        selectors += [s for s in wanted.aggregationRule.clusterRoleSelectors if s not in selectors]
        role = replace(
            role,
            rules=stored.rules,
            aggregationRule=AggregationRule(clusterRoleSelectors=selectors),
        )
    return role


def completed_binding(stored: AnyBinding, wanted: AnyBinding) -> AnyBinding:
    """Return a stored binding with the subjects and labels it lacks."""
    lacking = [subject for subject in wanted.subjects if subject not in stored.subjects]
    binding: AnyBinding = replace(
        stored,
        metadata=_completed_meta(stored.metadata, wanted.metadata),
        subjects=[*stored.subjects, *lacking],
    )
    return binding


def defaults() -> Defaults:
    """Expand the table. Takes some milliseconds."""
    table = tomllib.loads((files(__package__) / "default_roles.toml").read_text())
    controllers = table["controllers"]
    own = table["own"]
    roles: list[AnyRole] = [
        *_cluster_roles(table["cluster_roles"], table["aggregates"], table["aggregated_to"]),
        *_cluster_roles({CONTROLLER_PREFIX + name: rules for name, rules in controllers.items()}),
        *_cluster_roles(own["cluster_roles"]),
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
    """Read one rule of the table."""
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
