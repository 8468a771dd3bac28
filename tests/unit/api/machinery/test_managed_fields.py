"""Tracking of managers."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.steps import RATIO_MAX, growth

from kubelite.api.kinds.apps import Deployment
from kubelite.api.machinery.managed_fields import (
    ANCIENT,
    RESET_STATUS,
    UPDATE_MANAGERS_LIMIT,
    Writer,
    keep_times,
    track,
)
from kubelite.api.machinery.schema import compile_struct

SCHEMA = compile_struct(Deployment)
CREATOR = Writer("kubectl-create", "apps/v1", "2026-01-01T00:00:00Z")


def at(manager: str, second: int, **more: Any) -> Writer:
    """Name a writer at a second of the first minute."""
    return Writer(manager, "apps/v1", f"2026-01-01T00:01:{second:02}Z", **more)


def made() -> dict[str, Any]:
    """Return a created object."""
    new = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"a": "b"}},
        "spec": {"replicas": 1, "paused": True},
        "status": {"replicas": 1},
    }
    assert track(SCHEMA, None, new, CREATOR)
    return new


def changed(old: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return the object with another spec, and the metadata a client would send back."""
    return {**old, "metadata": dict(old["metadata"]), "spec": spec}


def test_creation() -> None:
    assert made()["metadata"]["managedFields"] == [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "apps/v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:replicas": {}, "f:paused": {}},
            },
        }
    ]


def test_an_update_moves_fields() -> None:
    old = made()
    new = changed(old, replicas=2)
    assert track(SCHEMA, old, new, at("scaler", 1))
    first, second = new["metadata"]["managedFields"]
    assert first["fieldsV1"] == {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}
    assert first["time"] == CREATOR.time
    assert second["manager"] == "scaler"
    assert second["fieldsV1"] == {"f:spec": {"f:replicas": {}}}


def test_the_same_manager_keeps_one_entry() -> None:
    old = made()
    new = changed(old, replicas=2, paused=True)
    track(SCHEMA, old, new, at("kubectl-create", 1))
    (entry,) = new["metadata"]["managedFields"]
    assert entry["time"] == "2026-01-01T00:01:01Z"
    assert entry["fieldsV1"]["f:spec"] == {"f:replicas": {}, "f:paused": {}}


def test_no_change_keeps_the_record() -> None:
    old = made()
    new = changed(old, **old["spec"])
    assert not track(SCHEMA, old, new, at("other", 1))
    assert new["metadata"]["managedFields"] is old["metadata"]["managedFields"]
    del new["metadata"]["managedFields"]
    track(SCHEMA, old, new, at("other", 1))
    assert new["metadata"]["managedFields"] == old["metadata"]["managedFields"]


def test_status_writes_own_only_status() -> None:
    old = made()
    new = {**changed(old, replicas=9), "status": {"replicas": 2}}
    track(SCHEMA, old, new, at("controller", 1, subresource="status", reset=RESET_STATUS))
    entry = new["metadata"]["managedFields"][-1]
    assert entry["subresource"] == "status"
    assert entry["fieldsV1"] == {"f:status": {"f:replicas": {}}}


def test_one_empty_entry_forgets_all() -> None:
    old = made()
    new = changed(old, replicas=5)
    new["metadata"]["managedFields"] = [{}]
    track(SCHEMA, old, new, at("other", 1))
    assert "managedFields" not in new["metadata"]
    newer = changed(new, replicas=6)
    assert not track(SCHEMA, new, newer, at("other", 2))
    assert "managedFields" not in newer["metadata"]


def test_old_updaters_are_folded() -> None:
    current = made()
    for index in range(UPDATE_MANAGERS_LIMIT + 5):
        new = {**current, "metadata": dict(current["metadata"])}
        new["metadata"]["labels"] = {**new["metadata"]["labels"], f"l{index}": "x"}
        track(SCHEMA, current, new, at(f"m{index}", index))
        current = new
    entries = current["metadata"]["managedFields"]
    assert len(entries) == UPDATE_MANAGERS_LIMIT
    ancient = next(entry for entry in entries if entry["manager"] == ANCIENT)
    assert {"f:l0", "f:l1"} <= set(ancient["fieldsV1"]["f:metadata"]["f:labels"])


def test_times_alone_are_no_change() -> None:
    old = made()
    new = changed(old, **old["spec"])
    (entry,) = old["metadata"]["managedFields"]
    new["metadata"]["managedFields"] = [{**entry, "time": "2027-01-01T00:00:00Z"}]
    keep_times(old, new)
    assert new == old
    new["metadata"]["managedFields"] = [{**entry, "time": "2027-01-01T00:00:00Z"}]
    new["spec"] = {}
    keep_times(old, new)
    assert new["metadata"]["managedFields"] != old["metadata"]["managedFields"]


def sent(count: int, operation: str) -> dict[str, Any]:
    """Return an object with so many managers, as a client may send it."""
    entries = [
        {
            "manager": f"m{index}",
            "operation": operation,
            "apiVersion": "apps/v1",
            "time": f"2026-01-01T00:00:{index % 60:02}Z",
            "fieldsV1": {"f:metadata": {"f:labels": {f"f:l{index}": {}}}},
        }
        for index in range(count)
    ]
    return {**made(), "metadata": {"name": "web", "managedFields": entries}}


@pytest.mark.parametrize("operation", ["Update", "Apply"])
def test_the_work_grows_no_faster_than_the_number_of_managers(operation: str) -> None:
    def creating(size: int) -> Callable[[], Any]:
        new = sent(size, operation)
        return lambda: track(SCHEMA, None, new, CREATOR)

    def updating(size: int) -> Callable[[], Any]:
        old, new = sent(size, operation), sent(size, operation)
        new["spec"] = {"replicas": 7}
        return lambda: track(SCHEMA, old, new, CREATOR)

    assert growth(creating) < RATIO_MAX
    assert growth(updating) < RATIO_MAX


def test_all_that_a_client_sends_is_folded_at_once() -> None:
    new = sent(500, "Update")
    track(SCHEMA, None, new, CREATOR)
    entries = new["metadata"]["managedFields"]
    assert len(entries) == UPDATE_MANAGERS_LIMIT
    owned = [
        entry["fieldsV1"]["f:metadata"]["f:labels"]
        for entry in entries
        if entry["manager"] != "kubectl-create"
    ]
    assert sorted(label for labels in owned for label in labels if label != ".") == sorted(
        f"f:l{index}" for index in range(500)
    )
