"""The writes of APIServices."""

from typing import Any

import pytest
from fakes.server import Server

PLACE = "apiregistration.k8s.io/v1/apiservices"
LOCAL: dict[str, Any] = {
    "metadata": {"name": "v1.x.io"},
    "spec": {"group": "x.io", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 15},
}
REMOTE = {**LOCAL, "spec": {**LOCAL["spec"], "service": {"name": "x", "namespace": "shop"}}}
MINE: dict[str, Any] = {"conditions": [{"type": "Available", "status": "True", "reason": "Mine"}]}


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_a_local_one_is_available_at_once(server: Server) -> None:
    made = await server.create(PLACE, {**LOCAL, "status": MINE})
    (condition,) = made["status"]["conditions"]
    assert condition.pop("lastTransitionTime") == made["metadata"]["creationTimestamp"]
    assert condition == {
        "type": "Available",
        "status": "True",
        "reason": "Local",
        "message": "Local APIServices are always available",
    }


async def test_of_a_remote_one_nothing_is_known_yet(server: Server) -> None:
    made = await server.create(PLACE, {**REMOTE, "status": MINE})
    assert made["spec"]["service"]["port"] == 443
    assert not made.get("status")
    assert "generation" not in made["metadata"]


async def test_the_status_is_written_by_its_path_alone(server: Server) -> None:
    made = await server.create(PLACE, REMOTE)
    changed = await server.update(PLACE, "v1.x.io", {**made, "status": MINE})
    assert not changed.get("status")
    spec = {**changed["spec"], "versionPriority": 1}
    metadata = {
        **changed["metadata"],
        "labels": {"a": "b"},
        "annotations": {"a": "b"},
        "finalizers": ["x.io/hold"],
    }
    body = {**changed, "metadata": metadata, "spec": spec, "status": MINE}
    after = await server.update(f"{PLACE}/status", "v1.x.io", body)
    assert after["status"] == MINE
    assert after["spec"] == changed["spec"]
    assert not {"labels", "annotations", "finalizers"} & after["metadata"].keys()
