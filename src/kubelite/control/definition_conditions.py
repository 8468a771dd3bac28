"""Decides the status of a CustomResourceDefinition: its accepted names and conditions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from kubelite.api.kinds.apiextensions import CustomResourceDefinitionNames
from kubelite.api.machinery.api_approval import Approval, approval, is_protected
from kubelite.api.machinery.definition_status import (
    APPROVAL_CONFORMANT,
    ESTABLISHED,
    NAMES_ACCEPTED,
    NON_STRUCTURAL,
    condition,
    find_condition,
    is_condition_true,
    with_condition,
    without_condition,
)
from kubelite.control.conditions import find, is_true
from kubelite.control.definition_names import NamesInUse, decide_names
from kubelite.control.definitions import Definition, conditions_of

Conditions = Sequence[dict[str, Any]]

_APPROVALS: dict[Approval, tuple[str, str]] = {
    "approved": ("True", "ApprovedAnnotation"),
    "bypassed": ("False", "UnapprovedAnnotation"),
    "invalid": ("False", "InvalidAnnotation"),
    "missing": ("False", "MissingAnnotation"),
}


class Findings(Struct, frozen=True):
    """What was found in the parts of a definition that its controllers do not hold; None: not looked at."""

    violations: str | None = None  # why a schema is not structural; "": all are
    bad_ca_bundle: bool = False  # of the conversion webhook


class PlannedStatus(Struct, frozen=True):
    """The status to write."""

    names: CustomResourceDefinitionNames
    conditions: Conditions


def is_settled(definition: Definition) -> bool:
    """Return whether a definition has all names that it asks for and is served."""
    told = definition.status.conditions
    return (
        definition.spec.names == definition.status.acceptedNames
        and is_true(told, NAMES_ACCEPTED)
        and is_true(told, ESTABLISHED)
        and find(told, NON_STRUCTURAL) is None
        and not is_protected(definition.spec.group)
    )


def plan_status(
    definition: Definition, in_use: NamesInUse, findings: Findings, now: datetime
) -> PlannedStatus | None:
    """Decide the status of a definition; None if it has it already.

    Names come first, since only a definition that has them all is established; once established it remains so, even if
    a name that it asks for later is refused.
    """
    before = conditions_of(definition)
    names, after = _with_names(definition, before, in_use, now)
    after = _with_established(definition, after, findings, now)
    after = _with_approval(definition, after, now)
    after = _with_structure(after, findings, now)
    if names == definition.status.acceptedNames and list(after) == list(before):
        return None
    return PlannedStatus(names, after)


def _with_names(
    definition: Definition, conditions: Conditions, in_use: NamesInUse, now: datetime
) -> tuple[CustomResourceDefinitionNames, Conditions]:
    wanted, accepted = definition.spec.names, definition.status.acceptedNames
    if wanted == accepted and is_condition_true(conditions, NAMES_ACCEPTED):
        return accepted, conditions
    decision = decide_names(wanted, accepted, in_use)
    if decision.reason:
        refused = condition(NAMES_ACCEPTED, "False", decision.reason, decision.message)
        return decision.accepted, with_condition(conditions, refused, now)
    told = condition(NAMES_ACCEPTED, "True", "NoConflicts", "no conflicts found")
    return decision.accepted, with_condition(conditions, told, now)


def _with_established(
    definition: Definition, conditions: Conditions, findings: Findings, now: datetime
) -> Conditions:
    if is_condition_true(conditions, ESTABLISHED):
        return conditions
    if not is_condition_true(conditions, NAMES_ACCEPTED):
        if find_condition(conditions, ESTABLISHED) is not None:
            return conditions
        told = condition(ESTABLISHED, "False", "NotAccepted", "not all names are accepted")
        return with_condition(conditions, told, now)
    if definition.metadata.deletionTimestamp is not None:
        return conditions  # what goes is not served anew, so nobody can create objects of it
    if findings.bad_ca_bundle:
        message = "The conversion webhook CABundle is invalid"
        return with_condition(
            conditions, condition(ESTABLISHED, "False", "InvalidCABundle", message), now
        )
    message = "the initial names have been accepted"
    return with_condition(
        conditions, condition(ESTABLISHED, "True", "InitialNamesAccepted", message), now
    )


def _with_approval(definition: Definition, conditions: Conditions, now: datetime) -> Conditions:
    if not is_protected(definition.spec.group):
        return conditions
    state, message = approval(definition.metadata.annotations)
    status, reason = _APPROVALS[state]
    return with_condition(conditions, condition(APPROVAL_CONFORMANT, status, reason, message), now)


def _with_structure(conditions: Conditions, findings: Findings, now: datetime) -> Conditions:
    if findings.violations is None:
        return conditions
    if not findings.violations:
        return without_condition(conditions, NON_STRUCTURAL)
    told = condition(NON_STRUCTURAL, "True", "Violations", findings.violations)
    return with_condition(conditions, told, now)
