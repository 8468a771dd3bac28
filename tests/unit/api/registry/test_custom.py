"""Custom resources, from their definitions to their objects."""

import asyncio
from typing import Any

import msgspec
import pytest
from fakes.custom_server import CRDS, define, definition, version
from fakes.server import Server

from kubelite.api.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    InternalError,
    Invalid,
    PlainError,
)
from kubelite.api.registry import topic
from kubelite.api.registry.custom import CustomResources
from kubelite.api.registry.options import WatchOptions
from kubelite.api.registry.table import ResourceTable
from kubelite.api.registry.watch import PLAIN

CATS = "example.com/v1/cats"
SPEC: dict[str, Any] = {
    "spec": {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "name": {"type": "string", "default": "Tom"},
        },
    },
    "status": {"type": "object", "properties": {"lives": {"type": "integer"}}},
}


async def test_a_definition_is_served_as_soon_as_it_is_established() -> None:
    server = Server()
    made = definition()
    await server.create(CRDS, made)
    assert server.resources.find("example.com", "v1", "cats") is None
    await define(server, made)
    cat = await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"x": ""}})
    assert (cat["apiVersion"], cat["kind"], cat["spec"]) == ("example.com/v1", "Cat", {"x": ""})
    assert cat["metadata"]["generation"] == 1
    await server.delete(CRDS, "cats.example.com")
    ending = server.get(CRDS, "cats.example.com")
    assert ending["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    assert server.names(CATS) == ["a"]
    await server.patch(CRDS, "cats.example.com", {"metadata": {"finalizers": None}})
    assert server.resources.find("example.com", "v1", "cats") is None


async def test_objects_have_the_form_of_their_schema() -> None:
    server = Server()
    await define(server, definition(version(schema=SPEC)))
    cat = await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"size": 3, "y": 1}})
    assert cat["spec"] == {"size": 3, "name": "Tom"}
    with pytest.raises(Invalid, match=r"spec\.size in body should be greater than or equal to 1"):
        await server.create(CATS, {"metadata": {"name": "b"}, "spec": {"size": 0}})
    with pytest.raises(BadRequest, match="unknown field"):
        await server.create(
            CATS, {"metadata": {"name": "b"}, "spec": {"y": 1}}, field_validation="Strict"
        )


async def test_status_and_scale_are_written_by_their_own_paths() -> None:
    server = Server()
    scale = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.lives"}
    made = version(schema=SPEC, subresources={"status": {}, "scale": scale})
    await define(server, definition(made))
    cat = await server.create(
        CATS, {"metadata": {"name": "a"}, "spec": {"size": 2}, "status": {"lives": 9}}
    )
    assert "status" not in cat
    labelled = {
        **cat,
        "metadata": {**cat["metadata"], "labels": {"a": "b"}},
        "status": {"lives": 9},
    }
    shown = await server.update(f"{CATS}/status", "a", labelled)
    assert shown["status"] == {"lives": 9}
    assert "labels" not in shown["metadata"]
    assert shown["metadata"]["generation"] == 1
    seen = server.get(f"{CATS}/scale", "a")
    assert (seen["spec"], seen["status"]) == ({"replicas": 2}, {"replicas": 9})
    scaled = await server.patch(f"{CATS}/scale", "a", {"spec": {"replicas": 5}}, "merge")
    assert scaled["spec"] == {"replicas": 5}
    cat = server.get(CATS, "a")
    assert cat["spec"]["size"] == 5
    assert cat["metadata"]["generation"] == 2


async def test_a_changed_schema_holds_for_what_was_stored_before() -> None:
    server = Server()
    await define(server, definition())
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"size": 1, "y": 2}})
    await define(server, definition(version(schema=SPEC)))
    assert server.get(CATS, "a")["spec"] == {"size": 1, "name": "Tom"}
    (listed,) = server.list(CATS).items
    assert msgspec.json.decode(listed)["spec"] == {"size": 1, "name": "Tom"}
    await server.create(CATS, {"metadata": {"name": "b"}, "spec": {"size": 1}})
    assert server.names(CATS) == ["a", "b"]


async def test_versions_differ_by_their_schema() -> None:
    server = Server()
    v2 = version(
        "v2",
        storage=False,
        schema={"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    )
    await define(server, definition(version(schema=SPEC), v2))
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"size": 1}})
    seen = server.get("example.com/v2/cats", "a")
    assert (seen["apiVersion"], seen["spec"]) == ("example.com/v2", {"size": 1})
    changed = await server.patch("example.com/v2/cats", "a", {"spec": {"size": 7}}, "merge")
    assert changed["apiVersion"] == "example.com/v2"
    assert server.get(CATS, "a")["spec"] == {"size": 7, "name": "Tom"}
    assert server.get(CATS, "a")["apiVersion"] == "example.com/v1"
    await server.create("example.com/v2/cats", {"metadata": {"name": "b"}, "spec": {"size": 2}})
    assert server.names(CATS) == ["a", "b"]


async def test_an_object_of_an_older_storage_version_is_written_anew() -> None:
    server = Server()
    v2 = version("v2", storage=False)
    await define(server, definition(version(), v2))
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"x": 1}})
    await define(server, definition(version(storage=False), {**v2, "storage": True}))
    cat = server.get("example.com/v2/cats", "a")
    before = cat["metadata"]["resourceVersion"]
    entry = server.store.get("/cats.example.com/default/a")
    assert entry is not None
    assert b"example.com/v1" in entry.value
    written = await server.update("example.com/v2/cats", "a", cat)
    assert written["metadata"]["resourceVersion"] != before
    entry = server.store.get("/cats.example.com/default/a")
    assert entry is not None
    assert b"example.com/v2" in entry.value[:60]
    again = await server.update("example.com/v2/cats", "a", written)
    assert again["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]


async def test_a_terminating_definition_takes_no_new_objects() -> None:
    server = Server()
    made = await define(server, definition())
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {}})
    made["status"]["conditions"].append({"type": "Terminating", "status": "True"})
    await server.update(f"{CRDS}/status", "cats.example.com", made)
    with pytest.raises(Forbidden, match="create not allowed while"):
        await server.create(CATS, {"metadata": {"name": "b"}, "spec": {}})
    changed = await server.patch(CATS, "a", {"spec": {"x": 1}})
    assert changed["spec"] == {"x": 1}
    assert server.names(CATS) == ["a"]
    await server.delete(CATS, "a")


async def test_a_definition_without_objects_takes_none_before_it_is_gone() -> None:
    server = Server()
    await define(server, definition())
    await server.delete(CRDS, "cats.example.com")
    made = server.get(CRDS, "cats.example.com")
    conditions = [one for one in made["status"]["conditions"] if one["type"] != "Terminating"]
    made["status"]["conditions"] = [*conditions, {"type": "Terminating", "status": "False"}]
    await server.update(f"{CRDS}/status", "cats.example.com", made)
    with pytest.raises(Forbidden, match="create not allowed while"):
        await server.create(CATS, {"metadata": {"name": "b"}, "spec": {}})
    applied = {"apiVersion": "example.com/v1", "kind": "Cat", "metadata": {"name": "b"}}
    with pytest.raises(Forbidden, match="create not allowed while"):
        await server.patch(CATS, "b", applied, "apply", field_manager="me")
    assert server.names(CATS) == []


@pytest.mark.parametrize("delivery", ["at once", "behind"])
async def test_a_watch_sees_the_objects_of_a_terminating_definition_go(
    delivery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if delivery == "behind":
        monkeypatch.setattr(topic, "TURN_STEPS", 1)
    server = Server()
    made = await define(server, definition(version(), version("v2", storage=False)))
    for name in "abc":
        await server.create(CATS, {"metadata": {"name": name}, "spec": {}})
    heard = {name: await watch(server, f"example.com/{name}/cats") for name in ("v1", "v2")}
    made["status"]["conditions"].append({"type": "Terminating", "status": "True"})
    await server.update(f"{CRDS}/status", "cats.example.com", made)
    for name in "abc":
        await server.delete(CATS, name)
    await server.delete(CRDS, "cats.example.com")
    await server.patch(CRDS, "cats.example.com", {"metadata": {"finalizers": None}})
    for _ in range(100):
        await asyncio.sleep(0)
    assert heard == {name: ["DELETED"] * 3 + ["end"] for name in ("v1", "v2")}


async def test_a_definition_that_serves_no_version_can_go() -> None:
    server = Server()
    made = definition({**version(), "served": False})
    await define(server, made)
    await server.delete(CRDS, "cats.example.com")
    await server.patch(CRDS, "cats.example.com", {"metadata": {"finalizers": None}})
    await define(server, definition())
    assert server.names(CATS) == []


async def test_selectors_see_defaults_that_came_after_the_object() -> None:
    server = Server()
    fields = [{"jsonPath": ".spec.name"}]
    name: dict[str, Any] = {"type": "string"}
    schema = {"spec": {"type": "object", "properties": {"name": name}}}
    made = definition(version(schema=schema, selectableFields=fields))
    await define(server, made)
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {}})
    name["default"] = "Tom"
    await define(server, made)
    assert server.get(CATS, "a")["spec"] == {"name": "Tom"}
    assert server.names(CATS, field_selector="spec.name=Tom") == ["a"]
    assert server.names(CATS, field_selector="spec.name=") == []
    heard = await watch(server, CATS, field_selector="spec.name=Tom")
    await server.patch(CATS, "a", {"metadata": {"labels": {"x": "y"}}})
    await server.patch(CATS, "a", {"spec": {"name": "Tim"}})
    for _ in range(100):
        await asyncio.sleep(0)
    assert heard == ["MODIFIED", "DELETED"]


async def watch(server: Server, path: str, **options: Any) -> list[str]:
    """Watch from now on; return the list of what is heard."""
    heard: list[str] = []

    async def drain() -> None:
        return

    watching = await server.verbs.watch(
        server.allowed("watch", path),
        WatchOptions(resource_version=str(server.store.revision), **options),
        PLAIN,
        lambda frames: heard.extend(msgspec.json.decode(frame)["type"] for frame in frames),
        lambda _: heard.append("end"),
    )
    await watching.begin(drain)
    return heard


async def test_rows_are_kept_while_their_definition_says_the_same() -> None:
    server = Server()
    made = await define(server, definition())
    row = server.resources.find("example.com", "v1", "cats")
    assert row is not None
    made["metadata"]["labels"] = {"a": "b"}
    await server.update(CRDS, "cats.example.com", made)
    assert server.resources.find("example.com", "v1", "cats") is row


async def test_definitions_are_found_again_after_a_restart() -> None:
    server = Server()
    await define(server, definition())
    await define(server, definition(kind="Dog"))
    table = ResourceTable(row for row in server.resources.all() if row.type is not None)
    CustomResources(server.store, table).start()
    assert [row.plural for row in table.all() if row.type is None] == ["cats", "dogs"]


SCALED = version(
    schema=SPEC,
    subresources={
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.size",
            "statusReplicasPath": ".status.lives",
            "labelSelectorPath": ".status.labels",
        },
    },
)


async def test_who_applies_a_status_owns_it() -> None:
    server = Server()
    await define(server, definition(SCALED))
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"size": 1}})
    config = {
        "apiVersion": "example.com/v1",
        "kind": "Cat",
        "metadata": {"name": "a"},
        "status": {"lives": 9},
    }
    cat = await server.patch(f"{CATS}/status", "a", config, "apply", field_manager="vet")
    (vet,) = (each for each in cat["metadata"]["managedFields"] if each["manager"] == "vet")
    assert vet["fieldsV1"] == {"f:status": {"f:lives": {}}}
    assert (vet["operation"], vet["subresource"]) == ("Apply", "status")


async def test_a_scale_that_cannot_be_is_refused_as_the_object() -> None:
    server = Server()
    await define(server, definition(SCALED))
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"size": 3}})
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}}
    made = await server.update(f"{CATS}/scale", "a", {**scale, "spec": {"replicas": 2}})
    assert made["spec"] == {"replicas": 2}
    with pytest.raises(
        Invalid, match=r"^Cat\.example\.com .*\.spec\.size: Invalid value: -1: should"
    ):
        await server.update(f"{CATS}/scale", "a", {**scale, "spec": {"replicas": -1}})
    with pytest.raises(BadRequest, match="cannot be handled as a Scale"):
        await server.update(f"{CATS}/scale", "a", {**scale, "kind": "Cat"})
    with pytest.raises(PlainError, match="request to convert CR to an invalid group/version"):
        await server.patch(f"{CATS}/scale", "a", {**scale, "spec": {}}, "apply", field_manager="x")
    await server.create(CATS, {"metadata": {"name": "b"}, "spec": {}})
    with pytest.raises(InternalError) as caught:
        server.get(f"{CATS}/scale", "b")
    problem = 'the spec replicas field ".spec.size" does not exist'
    assert caught.value.message == f"Internal error occurred: {problem}"
    assert caught.value.status()["details"] == {"causes": [{"message": problem}]}


async def test_the_paths_of_a_scale_lead_to_numbers() -> None:
    server = Server()
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    made = version(schema={"spec": free, "status": free}, subresources=SCALED["subresources"])
    await define(server, definition(made))
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"size": 3}})
    wrong = {"status": {"lives": "x", "labels": 4}}
    with pytest.raises(Invalid) as caught:
        await server.patch(f"{CATS}/status", "a", wrong)
    assert [(each.path, each.message) for each in caught.value.causes] == [
        (
            ".status.lives",
            "Invalid value: 0: .status.lives accessor error: x is of the type string, expected int64",
        ),
        (
            ".status.labels",
            'Invalid value: "": .status.labels accessor error: 4 is of the type int64, expected string',
        ),
    ]
    with pytest.raises(Invalid, match=r"expected map\[string\]interface \{\}"):
        await server.patch(f"{CATS}/status", "a", {"status": "x"})


async def test_an_error_comes_with_the_warnings_before_it() -> None:
    server = Server()
    await define(server, definition(version(schema=SPEC)))
    strange = {"metadata": {"name": "a"}, "spec": {"size": 0, "zz": 1}}
    with pytest.raises(Invalid) as refused:
        await server.create(CATS, strange)
    assert refused.value.warnings == ('unknown field "spec.zz"',)
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"size": 1}})
    with pytest.raises(Invalid) as refused:
        await server.patch(CATS, "a", strange)
    assert refused.value.warnings == ('unknown field "spec.zz"',)
    with pytest.raises(Invalid) as refused:
        await server.update(CATS, "a", strange, field_validation="Ignore")
    assert refused.value.warnings == ()


async def test_a_body_of_another_kind_is_found_by_validation() -> None:
    server = Server()
    await define(server, definition())
    dog = {"apiVersion": "example.com/v1", "kind": "Dog", "metadata": {"name": "a"}}
    with pytest.raises(Invalid) as refused:
        await server.create(CATS, dog)
    assert refused.value.message == (
        'Dog.example.com "a" is invalid: kind: Invalid value: "Dog": must be Cat'
    )
    with pytest.raises(BadRequest, match=r"data \(example\.com/v2\) does not match"):
        await server.create(CATS, {**dog, "apiVersion": "example.com/v2"})


async def test_an_apply_names_no_uid_of_an_absent_object() -> None:
    server = Server()
    await define(server, definition())
    metadata = {"name": "a", "uid": "u"}
    config = {"apiVersion": "example.com/v1", "kind": "Cat", "metadata": metadata}
    with pytest.raises(Conflict, match="specified uid u, and no existing object was found"):
        await server.patch(CATS, "a", config, "apply", field_manager="x")
    await server.create(CATS, {"metadata": {"name": "a"}})
    with pytest.raises(
        Conflict, match=r"Key: /registry/example\.com/cats/default/a, .* precondition: u"
    ):
        await server.patch(CATS, "a", config, "apply", field_manager="x")
    with pytest.raises(Conflict, match=r'fulfilled on Cat\.example\.com "a": the UID'):
        await server.delete(CATS, "a", uid="u")


async def test_a_definition_that_became_invalid_can_be_let_go_by_its_status() -> None:
    server = Server()
    await define(server, definition())
    name = "cats.example.com"
    await server.patch(f"{CRDS}/status", name, {"status": {"storedVersions": ["v1", "v9"]}})
    await server.delete(CRDS, name)
    with pytest.raises(Invalid, match=r"storedVersions\[1\]"):
        await server.patch(CRDS, name, {"metadata": {"finalizers": None}})
    await server.patch(f"{CRDS}/status", name, {"metadata": {"finalizers": None}})
    assert server.names(CRDS) == []


async def test_an_object_that_its_schema_does_not_describe_any_more_has_no_owners() -> None:
    server = Server()
    spec = {"a": {"type": "string"}, "b": {"type": "string"}}
    await define(server, definition(version(schema={"spec": typed(**spec)})))
    await server.create(CATS, {"metadata": {"name": "a"}, "spec": {"a": "x"}})
    await server.create(CATS, {"metadata": {"name": "b"}, "spec": {"b": "x"}})
    spec["a"] = {"type": "integer"}
    await define(server, definition(version(schema={"spec": typed(**spec)})))
    changed = await server.patch(CATS, "a", {"spec": {"b": "y"}})
    assert "managedFields" not in changed["metadata"]
    changed = await server.patch(CATS, "b", {"spec": {"b": "y"}})
    assert changed["metadata"]["managedFields"]


def typed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


async def test_managers_of_a_version_go_with_it() -> None:
    server = Server()
    v2 = version("v2", storage=False)
    await define(server, definition(version(), v2))
    await server.create("example.com/v2/cats", {"metadata": {"name": "a"}, "spec": {"x": 1}})
    await define(server, definition(version()))
    changed = await server.patch(CATS, "a", {"spec": {"y": 1}})
    versions = [each["apiVersion"] for each in changed["metadata"]["managedFields"]]
    assert versions == ["example.com/v1"]
