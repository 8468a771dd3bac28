"""RBAC escalation checks: a caller cannot grant rights that it does not hold.

Admission calls `Escalation.check` for writes of the kinds of rbac.authorization.k8s.io. A write that changes only what
the garbage collector changes (owners, finalizers) is allowed.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.auth.authorize import UnionAuthorizer, refused
from kubelite.api.auth.caller import SYSTEM_MASTERS, Attributes, Caller
from kubelite.api.auth.rbac import RBAC
from kubelite.api.auth.rules import broken_down, covers
from kubelite.api.errors import Forbidden, NotFound
from kubelite.api.kinds.rbac import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
)

GROUP = "rbac.authorization.k8s.io"
EVERYTHING = (
    PolicyRule(verbs=["*"], apiGroups=["*"], resources=["*"]),
    PolicyRule(verbs=["*"], nonResourceURLs=["*"]),
)
CLUSTER_ADMIN = "must have cluster-admin privileges to use the aggregationRule"


class Escalation:
    """Checks writes of roles and bindings against the rights of the caller."""

    def __init__(self, authorizer: UnionAuthorizer, rbac: RBAC) -> None:
        self._authorizer = authorizer
        self._rbac = rbac

    def check(self, caller: Caller, attributes: Attributes, after: Any, before: Any = None) -> None:
        """Check a write of one of the four RBAC kinds; `attributes` are those of the write.

        Raises Forbidden, and NotFound for a binding to a role that does not exist.
        """
        if SYSTEM_MASTERS in caller.groups or _only_collector_fields(after, before):
            return
        if isinstance(after, ClusterRole | ClusterRoleBinding):
            # These grant rights in the whole cluster, so rights in a namespace do not suffice, whatever the path was.
            attributes = replace(attributes, namespace="")
        if isinstance(after, Role | ClusterRole):
            self._check_role(caller, attributes, after, before)
        elif isinstance(after, RoleBinding | ClusterRoleBinding):
            self._check_binding(caller, attributes, after)

    def _check_role(
        self, caller: Caller, attributes: Attributes, role: Role | ClusterRole, before: Any
    ) -> None:
        escalate = Attributes(
            "escalate", GROUP, "*", attributes.resource, "", attributes.namespace, attributes.name
        )
        if self._authorizer.decide(caller, escalate).allowed:
            return
        if reason := self._exceeds(caller, attributes.namespace, role.rules):
            raise _refusal(attributes, role, reason)
        aggregated = any(
            isinstance(state, ClusterRole)
            and state.aggregationRule
            and state.aggregationRule.clusterRoleSelectors
            for state in (role, before)
        )
        if aggregated and self._exceeds(caller, "", EVERYTHING):
            raise _refusal(attributes, role, CLUSTER_ADMIN)

    def _check_binding(
        self, caller: Caller, attributes: Attributes, binding: RoleBinding | ClusterRoleBinding
    ) -> None:
        ref, namespace = binding.roleRef, attributes.namespace
        resource = "roles" if ref.kind == "Role" else "clusterroles"
        bind = Attributes("bind", ref.apiGroup or GROUP, "*", resource, "", namespace, ref.name)
        if self._authorizer.decide(caller, bind).allowed:
            return
        rules = self._rbac.rules_behind(ref, namespace)
        if rules is None:
            raise NotFound(
                f'{resource}.{GROUP} "{ref.name}" not found',
                group=GROUP,
                kind=resource,
                name=ref.name,
            )
        if reason := self._exceeds(caller, namespace, rules):
            raise _refusal(attributes, binding, reason)

    def _exceeds(self, caller: Caller, namespace: str, rules: Sequence[PolicyRule]) -> str:
        held = self._rbac.held_roles(caller, namespace)
        lacking = [
            part
            for rule in rules
            for part in broken_down(rule)
            if not any(covers(role, part) for role in held)
        ]
        if not lacking:
            return ""
        parts = "\n".join(sorted({_described(part) for part in _compacted(lacking)}))
        text = (
            f'user "{caller.user}" (groups={_go_list(caller.groups)}) is attempting to grant RBAC permissions '
            f"not currently held:\n{parts}"
        )
        missing = self._rbac.missing_roles(caller, namespace)
        return f"{text}; resolution errors: {_go_list(missing)}" if missing else text


def _refusal(
    attributes: Attributes,
    item: Role | ClusterRole | RoleBinding | ClusterRoleBinding,
    reason: str,
) -> Forbidden:
    """Return a Forbidden error that names the object, since the path of a create does not."""
    return refused(replace(attributes, name=item.metadata.name), reason)


def _only_collector_fields(after: Any, before: Any) -> bool:
    if before is None:
        return False
    same = {
        "ownerReferences": [],
        "finalizers": [],
        "managedFields": [],
        "resourceVersion": "",
        "generation": 0,
    }
    plain = [replace(state, metadata=replace(state.metadata, **same)) for state in (before, after)]
    return bool(plain[0] == plain[1])


def _compacted(parts: Sequence[PolicyRule]) -> list[PolicyRule]:
    """Join parts that differ only in their verb, as Kubernetes does in its message."""
    joined: list[PolicyRule] = []
    for part in parts:
        bare = replace(part, verbs=[])
        same = next((rule for rule in joined if replace(rule, verbs=[]) == bare), None)
        if same is None:
            joined.append(replace(part, verbs=list(part.verbs)))
        elif part.verbs[0] not in same.verbs:
            same.verbs.append(part.verbs[0])
    return joined


def _described(part: PolicyRule) -> str:
    fields = (
        ("APIGroups", part.apiGroups),
        ("Resources", part.resources),
        ("NonResourceURLs", part.nonResourceURLs),
        ("ResourceNames", part.resourceNames),
        ("Verbs", part.verbs),
    )
    return "{" + ", ".join(f"{name}:{_go_list(values)}" for name, values in fields if values) + "}"


def _go_list(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
