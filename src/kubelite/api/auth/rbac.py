"""Role-based access control with an index from subjects to roles, so a request does not scan all bindings."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from kubelite.api.auth.caller import Attributes, Caller, is_usual
from kubelite.api.auth.lookup import Lookup
from kubelite.api.auth.recent import Recent
from kubelite.api.auth.rules import CompiledRules, allows, asked, compiled
from kubelite.api.auth.tokens import USER_PREFIX
from kubelite.api.kinds.rbac import (
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    Role,
    RoleBinding,
    RoleRef,
    Subject,
)

REMEMBERED = 8192
USER, GROUP, SERVICE_ACCOUNT = "User", "Group", "ServiceAccount"


class RoleKey(NamedTuple):
    """Names a role; the namespace is "" for a ClusterRole."""

    namespace: str
    name: str


class Grant(NamedTuple):
    """A binding and one of its subjects; the namespace is "" for a ClusterRoleBinding."""

    namespace: str
    name: str
    subject: Subject


class Decision(Struct, frozen=True):
    """The result of authorization."""

    allowed: bool
    reason: str = ""


class Holder(NamedTuple):
    """A user or group and the namespace of its grants ("": the whole cluster); `kind` is User or Group."""

    kind: str
    name: str
    namespace: str


class RBAC:
    """Decides by roles and bindings, which change notifications keep current."""

    def __init__(self, lookup: Lookup) -> None:
        self._roles: dict[RoleKey, CompiledRules] = {}
        self._held: dict[Holder, dict[RoleKey, list[Grant]]] = {}
        self._decisions: Recent[tuple[str, tuple[str, ...], Attributes], Decision] = Recent(
            REMEMBERED
        )
        self._subscriptions = [
            lookup.subscribe(ClusterRole, self._role_changed),
            lookup.subscribe(Role, self._role_changed),
            lookup.subscribe(ClusterRoleBinding, self._binding_changed),
            lookup.subscribe(RoleBinding, self._binding_changed),
        ]

    def close(self) -> None:
        """End the subscriptions."""
        for end in self._subscriptions:
            end()

    def decide(self, caller: Caller, attributes: Attributes) -> Decision:
        """Return the decision of the caller's roles, from the cache if the request was decided before."""
        if not is_usual(caller, attributes):
            return self._decide(caller, attributes)
        key = (caller.user, caller.groups, attributes)
        decision = self._decisions.get(key)
        if decision is None:
            decision = self._decide(caller, attributes)
            self._decisions.put(key, decision)
        return decision

    def rules_of(self, caller: Caller, namespace: str = "") -> list[PolicyRule]:
        """Return all rules a caller has in a namespace, cluster-wide ones included."""
        return [
            rule
            for _, role, _ in self._bound(caller, namespace)
            if role is not None
            for rule in role.rules
        ]

    def held_roles(self, caller: Caller, namespace: str = "") -> list[CompiledRules]:
        """Return the roles a caller has in a namespace, cluster-wide ones included."""
        return [role for _, role, _ in self._bound(caller, namespace) if role is not None]

    def missing_roles(self, caller: Caller, namespace: str = "") -> list[str]:
        """Return an error text for each bound role that does not exist, sorted."""
        return sorted(
            {_not_found(key) for key, role, _ in self._bound(caller, namespace) if role is None}
        )

    def rules_behind(self, ref: RoleRef, namespace: str) -> Sequence[PolicyRule] | None:
        """Return the rules of a referenced role; None if it does not exist."""
        role = self._roles.get(_role_key(ref, namespace))
        return role.rules if role else None

    def _decide(self, caller: Caller, attributes: Attributes) -> Decision:
        request = asked(attributes)
        missing = []
        for key, role, grants in self._bound(caller, attributes.namespace):
            if role is None:
                missing.append(_not_found(key))
            elif allows(role, request):
                return Decision(allowed=True, reason=_described(grants[0], key))
        return Decision(allowed=False, reason=f"RBAC: {_joined(missing)}" if missing else "")

    def _bound(
        self, caller: Caller, namespace: str
    ) -> Iterator[tuple[RoleKey, CompiledRules | None, list[Grant]]]:
        names = [(USER, caller.user), *((GROUP, group) for group in caller.groups)]
        for place in ("", namespace) if namespace else ("",):
            for kind, name in names:
                for key, grants in self._held.get(Holder(kind, name, place), {}).items():
                    yield key, self._roles.get(key), grants

    def _role_changed(
        self, before: Role | ClusterRole | None, after: Role | ClusterRole | None
    ) -> None:
        self._decisions.clear()
        if after is not None:
            self._roles[_key_of(after)] = compiled(after.rules)
        elif before is not None:
            self._roles.pop(_key_of(before), None)

    def _binding_changed(
        self,
        before: RoleBinding | ClusterRoleBinding | None,
        after: RoleBinding | ClusterRoleBinding | None,
    ) -> None:
        self._decisions.clear()
        if before is not None:
            self._take(before)
        if after is not None:
            self._give(after)

    def _give(self, binding: RoleBinding | ClusterRoleBinding) -> None:
        for holder, grant in _grants(binding):
            roles = self._held.setdefault(holder, {})
            roles.setdefault(_role_key(binding.roleRef, grant.namespace), []).append(grant)

    def _take(self, binding: RoleBinding | ClusterRoleBinding) -> None:
        for holder, grant in _grants(binding):
            roles = self._held.get(holder, {})
            key = _role_key(binding.roleRef, grant.namespace)
            left = [g for g in roles.get(key, []) if g.name != grant.name]
            if left:
                roles[key] = left
            else:
                roles.pop(key, None)
            if not roles:
                self._held.pop(holder, None)


def _grants(binding: RoleBinding | ClusterRoleBinding) -> Iterator[tuple[Holder, Grant]]:
    namespace = binding.metadata.namespace if isinstance(binding, RoleBinding) else ""
    for subject in binding.subjects:
        grant = Grant(namespace, binding.metadata.name, subject)
        if subject.kind == SERVICE_ACCOUNT:
            place = subject.namespace or namespace
            if place:
                yield Holder(USER, f"{USER_PREFIX}{place}:{subject.name}", namespace), grant
        elif subject.kind in (USER, GROUP):
            yield Holder(subject.kind, subject.name, namespace), grant


def _key_of(role: Role | ClusterRole) -> RoleKey:
    return RoleKey(role.metadata.namespace if isinstance(role, Role) else "", role.metadata.name)


def _role_key(ref: RoleRef, namespace: str) -> RoleKey:
    return RoleKey(namespace if ref.kind == "Role" else "", ref.name)


def _not_found(key: RoleKey) -> str:
    kind = "role" if key.namespace else "clusterrole"
    return f'{kind}.rbac.authorization.k8s.io "{key.name}" not found'


def _joined(reasons: Sequence[str]) -> str:
    unique = list(dict.fromkeys(reasons))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"


def _described(grant: Grant, role: RoleKey) -> str:
    binding = (
        f'RoleBinding "{grant.name}/{grant.namespace}"'
        if grant.namespace
        else f'ClusterRoleBinding "{grant.name}"'
    )
    kind = "Role" if role.namespace else "ClusterRole"
    subject = grant.subject
    name = subject.name
    if subject.kind == SERVICE_ACCOUNT:
        name = f"{subject.name}/{subject.namespace or grant.namespace}"
    return f'RBAC: allowed by {binding} of {kind} "{role.name}" to {subject.kind} "{name}"'
