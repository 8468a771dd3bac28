"""Accepts the names of CustomResourceDefinitions, which makes them served, and says what is wrong with them.

All conditions of a definition are decided together and written at once. The definitions of a group share their names,
so a group is reconciled as a whole, in the order in which its definitions came.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.errors import APIError, NotFound
from kubelite.api.kinds.apiextensions import CustomResourceDefinitionNames
from kubelite.api.kinds.model import to_wire
from kubelite.api.machinery.ca_bundles import ca_bundle_error
from kubelite.api.machinery.definition_status import (
    ESTABLISHED,
    NON_STRUCTURAL,
    find_condition,
    is_condition_true,
)
from kubelite.control.definition_conditions import (
    Findings,
    PlannedStatus,
    is_settled,
    plan_status,
)
from kubelite.control.definition_names import NONE, NamesInUse
from kubelite.control.definitions import (
    DEFINITIONS,
    Definition,
    conditions_of,
    status_patch,
)
from kubelite.control.runtime import Context, Key, Watch

SCHEMA_COST = 1  # passes over a definition's bytes that looking for violations takes
BUNDLE_COST = 8  # the same of a CA bundle: its certificates are parsed


class _Checked(Struct, frozen=True):
    """What was found in the schemas of one generation of a definition."""

    uid: str
    generation: int
    violations: str


class _Group:
    """What the reconciles of one group need of its definitions, kept as they change."""

    def __init__(self) -> None:
        self.in_use = NamesInUse()
        self.unsettled: dict[str, Definition] = {}
        self._accepted: dict[str, CustomResourceDefinitionNames] = {}

    @property
    def is_empty(self) -> bool:
        """Return whether the group has no definition."""
        return not self._accepted

    def put(self, definition: Definition) -> None:
        """Note a definition as it is now."""
        name, accepted = definition.metadata.name, definition.status.acceptedNames
        self.in_use.change(self._accepted.get(name, NONE), accepted)
        self._accepted[name] = accepted
        if is_settled(definition):
            self.unsettled.pop(name, None)
        else:
            self.unsettled[name] = definition

    def drop(self, name: str) -> None:
        """Note that a definition is gone."""
        self.in_use.change(self._accepted.pop(name, NONE), NONE)
        self.unsettled.pop(name, None)


class CustomDefinitionController:
    """Reconciles the CustomResourceDefinitions of a group."""

    name = "customresourcedefinition-controller"
    identity = "system:apiserver"  # upstream does it in the API server
    workers = (
        4  # a group has one at a time, so of two definitions that want a name only one gets it
    )

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._offload = context.offload
        self._groups: dict[str, _Group] = {}
        self._checked: dict[str, _Checked] = {}
        context.follow(Definition, self._changed)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch all definitions: one that goes frees its names for others of its group."""
        return (Watch(Definition, lambda definition: (Key("", definition.spec.group),)),)

    def _changed(self, before: Definition | None, after: Definition | None) -> None:
        if after is not None:
            self._groups.setdefault(after.spec.group, _Group()).put(after)
        elif before is not None:
            self._checked.pop(before.metadata.name, None)
            group = self._groups[before.spec.group]
            group.drop(before.metadata.name)
            if group.is_empty:
                del self._groups[before.spec.group]

    async def reconcile(self, key: Key) -> float | None:
        """Give the definitions of a group the names that are free, in their order, and write their conditions.

        One definition whose status cannot be written does not hold up the others; its error is raised at the end.
        """
        group = self._groups.get(key.name)
        if group is None:
            return None
        failure: APIError | None = None
        for definition in sorted(group.unsettled.values(), key=_seniority):
            try:
                await self._settle(definition, group.in_use)
            except NotFound:
                continue  # its deletion enqueues the group
            except APIError as error:
                failure = error
        if failure is not None:
            raise failure
        return None

    async def _settle(self, definition: Definition, in_use: NamesInUse) -> None:
        findings = Findings(
            violations=await self._violations(definition),
            bad_ca_bundle=await self._has_bad_bundle(definition),
        )
        planned = plan_status(definition, in_use, findings, self._clock.now())
        if planned is not None:
            await self._write(definition, planned)  # its change is noted before this returns

    async def _write(self, definition: Definition, planned: PlannedStatus) -> None:
        names = to_wire(planned.names)
        # A merge patch removes what is null; what is absent from it would stay.
        dropped = dict.fromkeys(to_wire(definition.status.acceptedNames).keys() - names.keys())
        patch = status_patch(
            definition, acceptedNames={**dropped, **names}, conditions=planned.conditions
        )
        await self._client.patch(Definition, definition.metadata.name, patch, subresource="status")

    async def _violations(self, definition: Definition) -> str | None:
        """Return why a schema is not structural; None if that was said already or cannot be.

        The rules of definitions see to it that one which is established and not known to be wrong is not.
        """
        conditions, metadata = conditions_of(definition), definition.metadata
        is_known_good = find_condition(conditions, NON_STRUCTURAL) is None
        if is_known_good and is_condition_true(conditions, ESTABLISHED):
            return None
        known = self._checked.get(metadata.name)
        if known is None or (known.uid, known.generation) != (metadata.uid, metadata.generation):
            from kubelite.api.machinery.schema_violations import structural_violations

            whole = await self._client.resource(*DEFINITIONS).get(metadata.name)
            cost_bytes = SCHEMA_COST * len(msgspec.json.encode(whole))
            violations = await self._offload.run(cost_bytes, lambda: structural_violations(whole))
            known = _Checked(metadata.uid, metadata.generation, violations)
            self._checked[metadata.name] = known
        return known.violations

    async def _has_bad_bundle(self, definition: Definition) -> bool:
        conversion = definition.spec.conversion
        config = conversion.webhook.clientConfig if conversion and conversion.webhook else None
        if config is None or not config.caBundle:
            return False
        bundle = config.caBundle
        cost_bytes = BUNDLE_COST * len(bundle)
        return bool(await self._offload.run(cost_bytes, lambda: ca_bundle_error(bundle)))


def _seniority(definition: Definition) -> tuple[str, int, str]:
    """Order definitions by their age; of those of one second the one that was written first is the elder."""
    metadata = definition.metadata
    return metadata.creationTimestamp, int(metadata.resourceVersion or 0), metadata.name
