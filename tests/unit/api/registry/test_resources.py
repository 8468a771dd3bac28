"""Rows come and go at run time: a custom resource is served like any other."""

from types import MappingProxyType

import pytest
from fakes.server import Server
from fakes.widgets import SchemaShape
from msgspec.structs import replace

from kubelite.api.errors import APIError, BadRequest, Invalid, NotFound, UnsupportedMediaType
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.field_selectors import METADATA, Fields, paths
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.options import ReadOptions, WatchOptions
from kubelite.api.registry.resource import Resource, Subresource
from kubelite.api.registry.strategy import Conduct, Strategy
from kubelite.api.registry.table import TableChange
from kubelite.api.registry.watch import PLAIN

GVK = GroupVersionKind("example.com", "v1", "Widget")
PATH = "example.com/v1/widgets"


def widgets() -> Resource:
    string = Schema(type="string")
    spec = Schema(
        type="object",
        fields=MappingProxyType({"color": string, "size": Schema(type="integer", format="int64")}),
    )
    status = Schema(type="object", fields=MappingProxyType({"phase": string}))
    schema = Schema(
        type="object",
        gvk=GVK,
        definition="com.example.v1.Widget",
        fields=MappingProxyType(
            {
                "apiVersion": string,
                "kind": string,
                "metadata": compile_struct(ObjectMeta),
                "spec": spec,
                "status": status,
            }
        ),
    )
    return Resource(
        group=GVK.group,
        version=GVK.version,
        plural="widgets",
        singular="widget",
        kind=GVK,
        type=None,
        namespaced=True,
        subresources={"status": Subresource("status", ("get", "patch", "update"), GVK)},
        storage="widgets.example.com",
        shape=SchemaShape(schema),
        strategy=Strategy(Conduct(has_status=True, counts_generation=True, conditional=True)),
        fields=Fields({**METADATA, **paths("spec.color")}),
    )


@pytest.fixture
async def server() -> Server:
    served = Server()
    served.resources.replace(GVK.group, [widgets()])
    return served


async def test_a_custom_resource_is_served(server: Server) -> None:
    made = await server.create(PATH, {"metadata": {"name": "a"}, "spec": {"color": "red"}})
    assert made["apiVersion"] == "example.com/v1"
    assert made["metadata"]["generation"] == 1
    changed = await server.patch(PATH, "a", {"spec": {"size": 3}, "status": {"phase": "x"}})
    assert changed["metadata"]["generation"] == 2
    assert "status" not in changed
    shown = await server.patch(f"{PATH}/status", "a", {"status": {"phase": "ok"}, "spec": None})
    assert shown["status"] == {"phase": "ok"}
    assert shown["spec"] == {"color": "red", "size": 3}
    await server.create(PATH, {"metadata": {"name": "b"}, "spec": {"color": "blue"}})
    assert server.names(PATH, field_selector="spec.color=blue") == ["b"]
    applied = {**made, "metadata": {"name": "c"}, "spec": {"color": "green"}}
    await server.patch(PATH, "c", applied, "apply", field_manager="me")
    await server.delete(PATH, "a")
    assert server.names(PATH) == ["b", "c"]


async def test_what_custom_resources_do_not_know(server: Server) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"color": "red", "weight": 4}}
    made = await server.create(PATH, body)
    assert made["spec"] == {"color": "red"}
    with pytest.raises(UnsupportedMediaType):
        await server.patch(PATH, "a", {"spec": {}}, "strategic")
    with pytest.raises(BadRequest):
        server.names(PATH, field_selector="spec.size=1")
    with pytest.raises(Invalid, match="must be specified for an update"):
        await server.update(PATH, "a", {"spec": {"color": "blue"}})


async def test_a_row_that_went_is_not_found(server: Server) -> None:
    row = server.resources.by_kind(GVK)
    assert row is not None
    allowed = server.allowed("list", PATH)
    heard: list[TableChange] = []
    end = server.resources.subscribe(heard.append)
    server.resources.replace(GVK.group, [])
    server.resources.replace(GVK.group, [])
    end()
    assert [change.removed for change in heard] == [[row]]
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await server.verbs.list(allowed, ReadOptions())
    assert server.resources.by_kind(GVK) is None


def test_a_replacement_tells_what_it_changed(server: Server) -> None:
    old, new = server.resources.by_kind(GVK), widgets()
    assert old is not None
    other = replace(new, plural="others", storage="others.example.com")
    change = server.resources.replace(GVK.group, [new, other])
    assert (change.added, change.removed, change.changed) == ([other], [], [(old, new)])
    assert change.ended == (old,)
    generation = server.resources.generation
    assert server.resources.replace(GVK.group, [new, other]).ended == ()
    assert server.resources.generation == generation


def test_no_row_takes_the_place_or_the_storage_of_a_built_in_one() -> None:
    table = builtin_table()
    deployments = table.find("apps", "v1", "deployments")
    assert deployments is not None
    for version in ("v1", "v9"):
        change = table.replace("apps", [replace(deployments, version=version)])
        assert not change.added
    assert table.find("apps", "v1", "deployments") is deployments


async def test_the_watches_of_a_row_end_with_it(server: Server) -> None:
    ended: list[APIError | None] = []
    watched = server.allowed("watch", PATH)
    await server.verbs.watch(watched, WatchOptions(), PLAIN, lambda _: None, ended.append)
    server.resources.replace("other.example.com", [])
    assert server.hub.watching == 1
    server.resources.replace(GVK.group, [widgets()])
    assert ended == [None]
    assert server.hub.watching == 0


def test_groups_are_told_in_order() -> None:
    versions = builtin_table().versions()
    assert versions[0] == ("", "v1")
    assert versions.index(("autoscaling", "v2")) < versions.index(("autoscaling", "v1"))
    assert len(set(versions)) == len(versions)
