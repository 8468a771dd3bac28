from typing import Any

import pytest
from fakes.server import Server

from kubelite.api.errors import BadRequest, Conflict, Invalid, PlainError

PATH = "apps/v1/deployments"


def config(replicas: int | None = 1, image: str = "web:1") -> dict[str, Any]:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": image}]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": spec,
    }


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_applying_creates_and_owns(server: Server) -> None:
    made = await server.patch(PATH, "web", config(), "apply", field_manager="me")
    assert made["metadata"]["uid"]
    [entry] = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("me", "Apply")
    assert entry["fieldsV1"]["f:spec"]["f:replicas"] == {}
    assert "f:strategy" not in entry["fieldsV1"]["f:spec"]  # a default is nobody's


async def test_applying_the_same_again_writes_nothing(server: Server) -> None:
    await server.patch(PATH, "web", config(), "apply", field_manager="me")
    before = server.store.revision
    server.clock.advance(60)
    await server.patch(PATH, "web", config(), "apply", field_manager="me")
    assert server.store.revision == before


async def test_the_same_amount_in_other_words_writes_nothing(server: Server) -> None:
    wanted = config()
    resources = {"requests": {"cpu": "0.1"}}
    wanted["spec"]["template"]["spec"]["containers"][0]["resources"] = resources
    await server.patch(PATH, "web", wanted, "apply", field_manager="me")
    before = server.store.revision
    server.clock.advance(60)
    await server.patch(PATH, "web", wanted, "apply", field_manager="me")
    assert server.store.revision == before


async def test_what_another_manager_owns_is_a_conflict(server: Server) -> None:
    await server.patch(PATH, "web", config(), "apply", field_manager="me")
    with pytest.raises(Conflict, match='conflict with "me"') as caught:
        await server.patch(PATH, "web", config(3), "apply", field_manager="you")
    assert caught.value.causes[0].reason == "FieldManagerConflict"
    forced = await server.patch(PATH, "web", config(3), "apply", field_manager="you", force=True)
    assert forced["spec"]["replicas"] == 3


async def test_what_is_applied_no_longer_goes(server: Server) -> None:
    await server.patch(PATH, "web", config(5), "apply", field_manager="me")
    changed = await server.patch(PATH, "web", config(None), "apply", field_manager="me")
    assert changed["spec"]["replicas"] == 1  # the default again


async def test_updates_are_recorded_beside_applies(server: Server) -> None:
    await server.patch(PATH, "web", config(), "apply", field_manager="me")
    await server.patch(PATH, "web", {"spec": {"replicas": 4}}, field_manager="scaler")
    status = {"status": {"replicas": 4}}
    shown = await server.patch(f"{PATH}/status", "web", status, field_manager="controller")
    entries = {entry["manager"]: entry for entry in shown["metadata"]["managedFields"]}
    assert entries["scaler"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert entries["controller"]["subresource"] == "status"
    assert "f:replicas" not in entries["me"]["fieldsV1"]["f:spec"]


async def test_apply_needs_a_manager_and_known_fields(server: Server) -> None:
    with pytest.raises(Invalid, match="fieldManager"):
        await server.patch(PATH, "web", config(), "apply")
    unknown = {**config(), "spcc": {}}
    for validation in ("Strict", "Warn", "Ignore", ""):
        with pytest.raises(PlainError) as caught:
            await server.patch(
                PATH, "web", unknown, "apply", field_manager="me", field_validation=validation
            )
        assert caught.value.message == (
            "failed to create typed patch object (/web; apps/v1, Kind=Deployment): "
            ".spcc: field not declared in schema"
        )


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"apiVersion": None}, "/, Kind=Deployment"),
        ({"kind": None}, "apps/v1, Kind="),
        ({"apiVersion": "v1"}, "/v1, Kind=Deployment"),
        ({"apiVersion": "apps/v1beta1"}, "apps/v1beta1, Kind=Deployment"),
        ({"apiVersion": ["x"], "kind": {}}, "/, Kind="),
    ],
)
async def test_a_configuration_says_of_which_type_it_is(
    server: Server, given: dict[str, Any], shown: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await server.patch(PATH, "web", {**config(), **given}, "apply", field_manager="me")
    assert caught.value.message == f"invalid object type: {shown}"


async def test_a_null_in_a_map_is_owned_and_empty(server: Server) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default"},
        "data": {"x": "1", "y": None},
    }
    made = await server.patch("v1/configmaps", "a", body, "apply", field_manager="me")
    assert made["data"] == {"x": "1", "y": ""}
    [entry] = made["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:data": {"f:x": {}, "f:y": {}}}
    again = await server.patch("v1/configmaps", "a", body, "apply", field_manager="me")
    assert again == made


async def test_ports_that_stand_twice_stay(server: Server) -> None:
    ports = [{"containerPort": 80, "name": "a"}, {"containerPort": 80, "name": "b"}]
    whole = config()
    whole["spec"]["template"]["spec"]["containers"][0]["ports"] = ports
    await server.create(PATH, whole)
    shown = await server.patch(
        PATH, "web", config(image="web:2"), "apply", field_manager="me", force=True
    )
    [container] = shown["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in container["ports"]] == ["a", "b"]
    assert container["image"] == "web:2"


async def test_an_applied_scale_is_a_scale(server: Server) -> None:
    await server.create(PATH, config())
    scale: dict[str, Any] = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "spec": {"replicas": 4},
    }
    path = f"{PATH}/scale"
    shown = await server.patch(path, "web", scale, "apply", field_manager="me")
    assert shown["spec"] == {"replicas": 4}
    for wrong in (
        {**scale, "kind": "Deployment"},
        {**scale, "spce": {}},
        {"spec": {"replicas": 1}},
    ):
        with pytest.raises((BadRequest, PlainError)):
            await server.patch(path, "web", wrong, "apply", field_manager="me")


async def test_what_the_strategy_adds_to_a_new_object_is_nobodys(server: Server) -> None:
    container = {"name": "a", "image": "a:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"metadata": {"name": "once"}, "spec": {"template": template}}
    made = await server.create("batch/v1/jobs", job)
    assert made["spec"]["selector"]["matchLabels"]
    [entry] = made["metadata"]["managedFields"]
    assert "f:selector" not in entry["fieldsV1"]["f:spec"]
    assert "f:metadata" not in entry["fieldsV1"]["f:spec"]["f:template"]


async def test_who_scales_has_no_time(server: Server) -> None:
    await server.create(PATH, config(replicas=1))
    await server.patch(f"{PATH}/scale", "web", {"spec": {"replicas": 3}})
    made = server.get(PATH, "web")
    scaler = next(one for one in made["metadata"]["managedFields"] if "subresource" in one)
    assert scaler["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert "time" not in scaler
