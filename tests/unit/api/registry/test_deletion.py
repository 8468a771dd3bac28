from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.server import Server

from kubelite.api.errors import Conflict
from kubelite.api.registry.builtin import RESOURCES
from kubelite.api.registry.deletion import PENDING, Removal, ends, removal_of
from kubelite.api.registry.options import DeletionOptions, ReadOptions
from kubelite.api.registry.strategy import Strategy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ROWS = {row.storage: row for row in RESOURCES if row.is_canonical}


def strategy(storage: str) -> Strategy:
    return ROWS[storage].strategy


def item(*finalizers: str, **metadata: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"metadata": {"name": "x", "generation": 1, **metadata}}
    if finalizers:
        made["metadata"]["finalizers"] = list(finalizers)
    return made


def plan(thing: dict[str, Any], storage: str = "replicasets.apps", **options: Any) -> Removal:
    return removal_of(strategy(storage), thing, DeletionOptions(**options), NOW)


def test_an_object_that_nothing_holds_goes() -> None:
    assert plan(item()).remove


@pytest.mark.parametrize(
    ("storage", "present", "propagation", "expected"),
    [
        ("replicasets.apps", [], "Foreground", ["foregroundDeletion"]),
        ("replicasets.apps", [], "Orphan", ["orphan"]),
        ("replicasets.apps", [], "Background", None),
        ("replicasets.apps", ["x/y"], "Background", ["x/y"]),
        ("replicasets.apps", ["x/y", "orphan"], "Foreground", ["x/y", "foregroundDeletion"]),
        ("replicasets.apps", ["orphan"], "", ["orphan"]),
        ("jobs.batch", [], "", ["orphan"]),
        ("jobs.batch", [], "Background", None),
        ("replicationcontrollers.core", [], "", ["orphan"]),
        ("events.core", [], "Foreground", None),
    ],
)
def test_propagation_becomes_a_finalizer(
    storage: str, present: list[str], propagation: str, expected: list[str] | None
) -> None:
    found = plan(item(*present), storage, propagation=propagation)
    assert found.item is not None
    assert found.remove == (expected is None)
    if expected is not None:
        metadata = found.item["metadata"]
        assert metadata["finalizers"] == expected
        assert metadata["deletionTimestamp"] == "2026-05-01T12:00:00Z"
        assert metadata["deletionGracePeriodSeconds"] == 0
        assert metadata["generation"] == 2


def test_a_second_deletion_of_a_held_object_changes_nothing() -> None:
    held = plan(item("x/y")).item
    assert held is not None
    assert plan(held) == PENDING


def test_the_propagation_of_a_deletion_under_way_can_change() -> None:
    held = plan(item(), propagation="Foreground").item
    assert held is not None
    changed = plan(held, propagation="Orphan")
    assert changed.item is not None
    assert changed.item["metadata"]["finalizers"] == ["orphan"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, False),
        ({"deletionTimestamp": "t"}, True),
        ({"deletionTimestamp": "t", "deletionGracePeriodSeconds": 0}, True),
        ({"deletionTimestamp": "t", "deletionGracePeriodSeconds": 5}, False),
        ({"deletionTimestamp": "t", "finalizers": ["x"]}, False),
    ],
)
def test_what_ends_an_object(metadata: dict[str, Any], expected: bool) -> None:
    assert ends(strategy("replicasets.apps"), item(**metadata)) is expected


async def test_preconditions_protect_another_object() -> None:
    server = Server()
    made = await server.create("v1/configmaps", {"metadata": {"name": "a"}})
    with pytest.raises(Conflict, match="the UID in the precondition"):
        await server.delete("v1/configmaps", "a", uid="other")
    with pytest.raises(Conflict, match="the ResourceVersion in the precondition"):
        await server.delete("v1/configmaps", "a", resource_version="77")
    metadata = made["metadata"]
    await server.delete(
        "v1/configmaps", "a", uid=metadata["uid"], resource_version=metadata["resourceVersion"]
    )


async def test_a_collection_is_deleted_by_selection() -> None:
    server = Server()
    for number in range(150):
        labels = {"even": str(number % 2 == 0).lower()}
        await server.create("v1/configmaps", {"metadata": {"name": f"c{number}", "labels": labels}})
    await server.create("v1/configmaps", {"metadata": {"name": "x", "namespace": "other"}})
    allowed = server.allowed("deletecollection", "v1/configmaps")
    selection = ReadOptions(label_selector="even=true")
    body = (await server.verbs.delete_collection(allowed, selection, DeletionOptions())).body
    assert body.startswith(b'{"kind":"ConfigMapList"')
    assert len(server.names("v1/configmaps")) == 75
    await server.verbs.delete_collection(allowed, ReadOptions(), DeletionOptions())
    assert server.names("v1/configmaps", "") == ["x"]
