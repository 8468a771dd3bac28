"""The status of custom resource definitions."""

from datetime import UTC, datetime
from typing import Any

from kubelite.api.machinery.definition_status import (
    CLEANUP_FINALIZER,
    TERMINATING,
    begin_deletion,
    condition,
    find_condition,
    is_condition_true,
    new_status,
    updated_status,
    with_condition,
    without_condition,
)

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)
A = condition("A", "True", "Yes", "well")


def versions(*stored: str) -> dict[str, Any]:
    return {
        "spec": {
            "versions": [{"name": name, "storage": name in stored} for name in ("v1", "v2", "v3")]
        }
    }


def test_a_condition_keeps_its_place_and_its_date_while_its_status_is_the_same() -> None:
    first = with_condition([], A, NOW)
    both = with_condition(first, condition("B", "False", "No", "bad"), NOW)
    again = with_condition(both, condition("A", "True", "Other", "words"), LATER)
    assert [each["type"] for each in again] == ["A", "B"]
    assert again[0]["lastTransitionTime"] == "2026-01-02T00:00:00Z"
    assert (again[0]["reason"], again[0]["message"]) == ("Other", "words")
    changed = with_condition(again, condition("A", "False", "Other", "words"), LATER)
    assert changed[0]["lastTransitionTime"] == "2026-01-03T00:00:00Z"
    assert with_condition(both, A, LATER) == both


def test_conditions_are_found_and_removed() -> None:
    conditions = with_condition([], A, NOW)
    assert is_condition_true(conditions, "A")
    assert not is_condition_true(conditions, "B")
    assert find_condition(conditions, "B") is None
    assert without_condition(conditions, "A") == []


def test_a_new_definition_has_its_storage_version_alone() -> None:
    client = {**versions("v2"), "status": {"storedVersions": ["v9"], "conditions": [A]}}
    assert new_status(client) == {"storedVersions": ["v2"]}
    assert new_status(versions()) == {"storedVersions": []}


def test_a_changed_one_keeps_its_status_and_gains_a_storage_version() -> None:
    old = {**versions("v1"), "status": {"storedVersions": ["v1"], "conditions": [A]}}
    assert updated_status(versions("v1"), old) == old["status"]
    assert updated_status({**versions("v3"), "status": {}}, old) == {
        "storedVersions": ["v1", "v3"],
        "conditions": [A],
    }
    assert old["status"]["storedVersions"] == ["v1"]


def test_the_first_deletion_adds_finalizer_and_condition() -> None:
    definition: dict[str, Any] = {"metadata": {"finalizers": ["mine"], "generation": 3}}
    begin_deletion(definition, NOW)
    begin_deletion(definition, LATER)
    assert definition["metadata"] == {
        "finalizers": ["mine", CLEANUP_FINALIZER],
        "generation": 3,
        "deletionTimestamp": "2026-01-02T00:00:00Z",
    }
    (pending,) = definition["status"]["conditions"]
    assert pending == {
        "type": TERMINATING,
        "status": "True",
        "lastTransitionTime": "2026-01-02T00:00:00Z",
        "reason": "InstanceDeletionPending",
        "message": (
            "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
        ),
    }
