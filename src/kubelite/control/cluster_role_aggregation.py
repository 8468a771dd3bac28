"""Fills ClusterRoles that gather the rules of other ClusterRoles."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.kinds.rbac import ClusterRole, PolicyRule
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.selection import matcher


def gathered(role: ClusterRole, others: Iterable[ClusterRole]) -> list[PolicyRule]:
    """Return the rules of all roles that the role selects, each once, in the order of their names."""
    assert role.aggregationRule is not None
    selectors = [matcher(one) for one in role.aggregationRule.clusterRoleSelectors]
    rules: list[PolicyRule] = []
    for other in sorted(others, key=lambda one: one.metadata.name):
        if other.metadata.uid == role.metadata.uid:
            continue
        if any(matches(other.metadata.labels) for matches in selectors):
            rules += (rule for rule in other.rules if rule not in rules)
    return rules


class ClusterRoleAggregationController:
    """Reconciles ClusterRoles that aggregate."""

    name = "clusterrole-aggregation-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._roles = context.mirror(ClusterRole)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch all roles: a change of any can change those that aggregate."""
        return (Watch(ClusterRole, self._aggregating),)

    async def reconcile(self, key: Key) -> float | None:
        """Write the gathered rules where they differ."""
        role = self._roles.get(key.name)
        if role is None or role.aggregationRule is None:
            return None
        rules = gathered(role, self._roles.list())
        if rules != role.rules:
            await self._client.update(replace(role, rules=rules))
        return None

    def _aggregating(self, _changed: ClusterRole) -> Iterable[Key]:
        return (
            Key("", role.metadata.name)
            for role in self._roles.list()
            if role.aggregationRule is not None
        )
