"""Managers of versions other than that of a write."""

from typing import Any

import pytest

from kubelite.api.errors import Conflict
from kubelite.api.machinery.field_sets import Difference
from kubelite.api.machinery.other_versions import settle, versions_of

JSON = dict[str, Any]
V1, V2, V3 = (f"example.com/{name}" for name in ("v1", "v2", "v3"))


def entry(version: str, *fields: str, manager: str = "one") -> JSON:
    """Make an entry that owns fields of the spec."""
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": version,
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {".": {}, **{f"f:{each}": {} for each in fields}}},
    }


CHANGED_A = Difference({"f:spec": {"f:a": {}}}, None)


def test_a_manager_loses_what_changes_at_its_version() -> None:
    kept = entry(V2, "a", manager="two")
    metadata = {"managedFields": [entry(V1, "a", "b"), entry(V3, "a"), kept]}
    assert versions_of(metadata) == {V1, V2, V3}
    removed = Difference(None, {"f:spec": {}})
    settle(metadata, {V1: CHANGED_A, V3: removed}, contests=False)
    assert metadata["managedFields"] == [entry(V1, "b"), kept]


def test_what_is_left_alone_is_written_as_a_leaf() -> None:
    metadata = {"managedFields": [entry(V1, "a")]}
    settle(metadata, {V1: CHANGED_A}, contests=False)
    (left,) = metadata["managedFields"]
    assert left["fieldsV1"] == {"f:spec": {}}


def test_managers_of_a_version_that_is_no_more_go_with_it() -> None:
    metadata = {"managedFields": [entry(V1, "a"), entry(V2, "a")]}
    settle(metadata, {V1: None}, contests=True)
    assert metadata["managedFields"] == [entry(V2, "a")]
    settle(metadata, {V2: None}, contests=True)
    assert "managedFields" not in metadata


def test_an_apply_contests_what_it_changes_at_another_version() -> None:
    metadata = {"managedFields": [entry(V1, "a"), entry(V2, "a")]}
    with pytest.raises(Conflict, match=r'conflict with "one" using example\.com/v1: \.spec\.a'):
        settle(metadata, {V1: CHANGED_A}, contests=True)
    settle(metadata, {V1: Difference({"f:spec": {"f:z": {}}}, None)}, contests=True)
    assert metadata["managedFields"] == [entry(V1, "a"), entry(V2, "a")]
