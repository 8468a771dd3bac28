from typing import Any

import pytest
from fakes.server import Server

from kubelite.api.errors import BadRequest, Conflict, Invalid

JSON = dict[str, Any]
PATH = "v1/pods/binding"


async def with_pod(**spec: Any) -> Server:
    server = Server()
    pod = {"spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    await server.create("v1/pods", {"metadata": {"name": "web"}, **pod}, field_manager="author")
    return server


def binding(**fields: Any) -> JSON:
    return {
        "metadata": {"name": "web", **fields.pop("metadata", {})},
        "target": {"name": "n1"},
        **fields,
    }


async def test_a_bound_pod_has_its_node_and_no_new_manager() -> None:
    server = await with_pod()
    answer = await server.create(PATH, binding(metadata={"labels": {"zone": "a"}}), name="web")
    assert (answer["kind"], answer["status"], answer["code"]) == ("Status", "Success", 201)
    pod = server.get("v1/pods", "web")
    assert pod["spec"]["nodeName"] == "n1"
    assert pod["metadata"]["labels"] == {"zone": "a"}
    assert [one["manager"] for one in pod["metadata"]["managedFields"]] == ["author"]
    (condition,) = pod["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "True")


async def test_a_pod_is_bound_once() -> None:
    server = await with_pod()
    await server.create(PATH, binding(), name="web")
    with pytest.raises(Conflict, match='pod web is already assigned to node "n1"'):
        await server.create(PATH, binding(), name="web")


async def test_a_gated_pod_is_not_bound() -> None:
    server = await with_pod(schedulingGates=[{"name": "example.com/gate"}])
    with pytest.raises(Conflict, match="has non-empty"):
        await server.create(PATH, binding(), name="web")


async def test_another_pod_of_the_same_name_is_not_bound() -> None:
    server = await with_pod()
    with pytest.raises(Conflict, match="Precondition failed: UID in precondition: other"):
        await server.create(PATH, binding(metadata={"uid": "other"}), name="web")


async def test_bindings_that_make_no_sense_are_refused() -> None:
    server = await with_pod()
    with pytest.raises(BadRequest, match="name in URL does not match"):
        await server.create(PATH, binding(metadata={"name": "db"}), name="web")
    with pytest.raises(Invalid, match=r"target\.name"):
        await server.create(PATH, {"metadata": {"name": "web"}, "target": {}}, name="web")
    with pytest.raises(Invalid, match=r"target\.kind"):
        await server.create(PATH, binding(target={"kind": "Pod", "name": "n1"}), name="web")
