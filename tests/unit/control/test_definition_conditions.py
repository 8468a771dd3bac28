"""The status that a custom resource definition gets."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kubelite.api.kinds.apiextensions import (
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.api_approval import APPROVED_ANNOTATION
from kubelite.control.definition_conditions import Findings, is_settled, plan_status
from kubelite.control.definition_names import NONE, NamesInUse
from kubelite.control.definitions import Definition, DefinitionSpec

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = CustomResourceDefinitionNames(plural="as", singular="a", kind="A", listKind="AList")
FREE = NamesInUse([])
TAKEN = NamesInUse([CustomResourceDefinitionNames(kind="A")])


def definition(
    *conditions: tuple[str, str, str, str],
    accepted: CustomResourceDefinitionNames = NONE,
    group: str = "example.com",
    **metadata: Any,
) -> Definition:
    status = CustomResourceDefinitionStatus(
        acceptedNames=accepted,
        conditions=[
            CustomResourceDefinitionCondition(
                type=type_, status=status, reason=reason, message=message, lastTransitionTime="old"
            )
            for type_, status, reason, message in conditions
        ],
    )
    spec = DefinitionSpec(group=group, names=NAMES)
    return Definition(metadata=ObjectMeta(name="x", **metadata), spec=spec, status=status)


ACCEPTED = ("NamesAccepted", "True", "NoConflicts", "no conflicts found")
REFUSED = ("NamesAccepted", "False", "KindConflict", '"A" is already in use')
ESTABLISHED = (
    "Established",
    "True",
    "InitialNamesAccepted",
    "the initial names have been accepted",
)
NOT_ACCEPTED = ("Established", "False", "NotAccepted", "not all names are accepted")
BAD_BUNDLE = (
    "Established",
    "False",
    "InvalidCABundle",
    "The conversion webhook CABundle is invalid",
)
NON_STRUCTURAL = ("NonStructuralSchema", "True", "Violations", "bad")
APPROVED = (
    "KubernetesAPIApprovalPolicyConformant",
    "True",
    "ApprovedAnnotation",
    "approved in https://x.io",
)
UNAPPROVED = (
    "KubernetesAPIApprovalPolicyConformant",
    "False",
    "UnapprovedAnnotation",
    'not approved: "unapproved"',
)
GONE: dict[str, Any] = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("before", "in_use", "findings", "after"),
    [
        (definition(), FREE, Findings(), [ACCEPTED, ESTABLISHED]),
        (definition(), TAKEN, Findings(), [REFUSED, NOT_ACCEPTED]),
        (definition(REFUSED, NOT_ACCEPTED), FREE, Findings(), [ACCEPTED, ESTABLISHED]),
        (definition(ACCEPTED, ESTABLISHED), TAKEN, Findings(), [REFUSED, ESTABLISHED]),
        (definition(), FREE, Findings(bad_ca_bundle=True), [ACCEPTED, BAD_BUNDLE]),
        (
            definition(ACCEPTED, BAD_BUNDLE, accepted=NAMES),
            FREE,
            Findings(),
            [ACCEPTED, ESTABLISHED],
        ),
        (definition(**GONE), FREE, Findings(), [ACCEPTED]),
        (definition(), FREE, Findings(violations=""), [ACCEPTED, ESTABLISHED]),
        (
            definition(),
            FREE,
            Findings(violations="bad"),
            [ACCEPTED, ESTABLISHED, NON_STRUCTURAL],
        ),
        (
            definition(NON_STRUCTURAL, ACCEPTED, ESTABLISHED, accepted=NAMES),
            FREE,
            Findings(violations=""),
            [ACCEPTED, ESTABLISHED],
        ),
        (
            definition(group="x.k8s.io", annotations={APPROVED_ANNOTATION: "https://x.io"}),
            FREE,
            Findings(),
            [ACCEPTED, ESTABLISHED, APPROVED],
        ),
        (
            definition(
                ACCEPTED,
                ESTABLISHED,
                APPROVED,
                accepted=NAMES,
                group="x.k8s.io",
                annotations={APPROVED_ANNOTATION: "unapproved"},
            ),
            FREE,
            Findings(),
            [ACCEPTED, ESTABLISHED, UNAPPROVED],
        ),
    ],
)
def test_what_is_written(
    before: Definition,
    in_use: NamesInUse,
    findings: Findings,
    after: list[tuple[str, str, str, str]],
) -> None:
    planned = plan_status(before, in_use, findings, NOW)
    assert planned is not None
    assert [
        (each["type"], each["status"], each["reason"], each["message"])
        for each in planned.conditions
    ] == after


@pytest.mark.parametrize(
    ("before", "in_use"),
    [
        (definition(ACCEPTED, ESTABLISHED, accepted=NAMES), TAKEN),
        (definition(ACCEPTED, BAD_BUNDLE, accepted=NAMES, **GONE), FREE),
        (
            definition(
                REFUSED,
                NOT_ACCEPTED,
                accepted=CustomResourceDefinitionNames(plural="as", singular="a", listKind="AList"),
            ),
            TAKEN,
        ),
    ],
)
def test_what_is_right_is_not_written(before: Definition, in_use: NamesInUse) -> None:
    assert plan_status(before, in_use, Findings(), NOW) is None


def test_a_settled_definition_needs_no_plan() -> None:
    assert is_settled(definition(ACCEPTED, ESTABLISHED, accepted=NAMES))
    assert not is_settled(definition(ACCEPTED, ESTABLISHED))
    assert not is_settled(definition(ACCEPTED, BAD_BUNDLE, accepted=NAMES))
    assert not is_settled(definition(ACCEPTED, ESTABLISHED, NON_STRUCTURAL, accepted=NAMES))
    assert not is_settled(definition(ACCEPTED, ESTABLISHED, accepted=NAMES, group="x.k8s.io"))


def test_dates_change_with_the_status() -> None:
    planned = plan_status(definition(ACCEPTED, NOT_ACCEPTED), FREE, Findings(), NOW)
    assert planned is not None
    assert [each["lastTransitionTime"] for each in planned.conditions] == [
        "old",
        "2026-01-02T00:00:00Z",
    ]
