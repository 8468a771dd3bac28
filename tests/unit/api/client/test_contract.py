"""What every client does, in the same words: the local one, the one over HTTPS, and the fake of the tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Protocol

import pytest
from fakes import widgets
from fakes.fake_client import FakeClient
from fakes.server import Server
from fakes.serving import parts_of, serving
from fakes.widgets import Widget

from kubelite.api.client.protocol import Client, Mirror, ServedResource
from kubelite.api.client.remote import RemoteClient
from kubelite.api.errors import Conflict, NotFound
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.randomness import SeededRandomness

WIDGETS = ("example.com", "v1", "widgets")
MAPS = ("", "v1", "configmaps")


class World(Protocol):
    """A client and the server that it speaks to, which serves widgets."""

    client: Client

    async def serve(self) -> None: ...
    async def unserve(self) -> None: ...
    def mirrors(self) -> int: ...


class LocalWorld:
    def __init__(self) -> None:
        self.server = Server()
        self.client: Client = self.server.client
        widgets.serve(self.server)

    async def serve(self) -> None:
        widgets.serve(self.server)

    async def unserve(self) -> None:
        widgets.unserve(self.server)

    def mirrors(self) -> int:
        assert bool(self.server.mirrors._feeds) == bool(self.server.mirrors._decoders)
        assert len(self.server.mirrors._feeds) == self.server.hub.watching
        return len(self.server.mirrors._feeds)


class RemoteWorld(LocalWorld):
    """The definition, too, is created and deleted: remote clients learn from it what is served."""

    def __init__(self, port: int, server: Server) -> None:
        self.server = server
        self.remote = RemoteClient(
            f"http://127.0.0.1:{port}",
            ssl_context=None,
            randomness=SeededRandomness(3),
            field_manager="tester",
        )
        self.client = self.remote
        self._definitions = self.client.resource(
            "apiextensions.k8s.io", "v1", "customresourcedefinitions"
        )

    async def serve(self) -> None:
        await super().serve()
        await self._definitions.create(widgets.definition())

    async def unserve(self) -> None:
        await super().unserve()
        await self._definitions.delete("widgets.example.com")
        with suppress(NotFound):  # no controller deletes the objects and then the finalizer
            await self._definitions.patch("widgets.example.com", {"metadata": {"finalizers": None}})

    def mirrors(self) -> int:
        return len(self.remote._mirrors)


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeClient()
        self.client: Client = self.fake
        self.fake.serve(Widget, "widgets")

    async def serve(self) -> None:
        self.fake.serve(Widget, "widgets")

    async def unserve(self) -> None:
        self.fake.unserve(Widget, "widgets")

    def mirrors(self) -> int:
        held = [*self.fake.mirrors.values(), *self.fake.chosen.values()]
        return sum(bool(mirror.readers) for mirror in held)


@pytest.fixture(params=["local", "remote", "fake"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param != "remote":
        made: World = LocalWorld() if request.param == "local" else FakeWorld()
        await made.client.create(Namespace(metadata=ObjectMeta(name="default")))
        yield made
        return
    server = Server()
    async with serving(parts_of(server.verbs)) as (_, port):
        remote = RemoteWorld(port, server)
        await remote.client.create(Namespace(metadata=ObjectMeta(name="default")))
        await remote.serve()
        yield remote
        await remote.remote.close()


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0.001)


def widget(name: str, color: str = "red", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"color": color},
    }


def names(found: Any) -> list[str]:
    return [
        one["metadata"]["name"] if isinstance(one, dict) else one.metadata.name for one in found
    ]


async def test_an_object_of_a_kind_without_a_type_lives_and_goes(world: World) -> None:
    client = world.client.resource(*WIDGETS)
    body = widget("a")
    made = await client.create(body)
    assert body == widget("a")  # it is the caller's
    assert made["metadata"]["uid"]
    assert (made["apiVersion"], made["kind"]) == ("example.com/v1", "Widget")
    assert await client.get("a", "default") == made
    made["spec"]["color"] = "blue"
    changed = await client.update(made)
    assert changed["spec"] == {"color": "blue"}
    with pytest.raises(Conflict):
        await client.update(made)
    with pytest.raises(Conflict):
        await client.delete("a", "default", uid="other")
    await client.delete("a", "default", uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await client.get("a", "default")
    assert await client.list() == []


async def test_patches_of_each_type(world: World) -> None:
    client = world.client.resource(*WIDGETS)
    applied = await client.patch("a", widget("a"), "default", patch_type="apply", force=True)
    assert applied["spec"] == {"color": "red"}
    merged = await client.patch("a", {"spec": {"size": "3"}}, "default")
    assert merged["spec"] == {"color": "red", "size": "3"}
    operations = [{"op": "remove", "path": "/spec/color"}]
    patched = await client.patch("a", operations, "default", patch_type="json")
    assert patched["spec"] == {"size": "3"}
    with pytest.raises(NotFound):
        await client.patch("none", {}, "default")


async def test_the_status_is_written_apart(world: World) -> None:
    client = world.client.resource(*WIDGETS)
    made = await client.create(widget("a"))
    shown = await client.patch("a", {"status": {"phase": "ok"}}, "default", subresource="status")
    assert shown["status"] == {"phase": "ok"}
    made = {**shown, "status": {"phase": "better"}, "spec": {"color": "ignored"}}
    written = await client.update(made, subresource="status")
    assert (written["status"], written["spec"]) == ({"phase": "better"}, {"color": "red"})


async def test_a_scale_is_read_and_written(world: World) -> None:
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    }
    client = world.client.resource("apps", "v1", "deployments")
    await client.create({"metadata": {"name": "d", "namespace": "default"}, "spec": spec})
    scale = await client.get("d", "default", subresource="scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == (
        "Scale",
        {"replicas": 2},
        "a=b",
    )
    scale["spec"]["replicas"] = 3
    assert (await client.update(scale, subresource="scale"))["spec"] == {"replicas": 3}
    patch = {"spec": {"replicas": 4}}
    assert (await client.patch("d", patch, "default", subresource="scale"))["spec"] == patch["spec"]
    assert (await world.client.get(Deployment, "d", "default")).spec.replicas == 4


async def test_what_is_selected_is_listed_and_deleted(world: World) -> None:
    client = world.client.resource(*WIDGETS)
    for name, color, tier in (("a", "red", "x"), ("b", "blue", "x"), ("c", "red", "y")):
        await client.create(widget(name, color, tier=tier))
    assert names(await client.list()) == ["a", "b", "c"]
    assert names(await client.list("other")) == []
    assert names(await client.list("default", label_selector="tier=x")) == ["a", "b"]
    assert names(await client.list(field_selector="spec.color=red")) == ["a", "c"]
    await client.delete_collection("default", label_selector="tier=x")
    assert names(await client.list()) == ["c"]
    await client.delete_collection("default", field_selector="metadata.name=none")
    assert names(await client.list()) == ["c"]
    await client.delete_collection("default", field_selector="metadata.name=c")
    assert await client.list() == []


async def test_typed_and_untyped_callers_see_the_same(world: World) -> None:
    await world.client.resource(*WIDGETS).create(widget("a"))
    assert (await world.client.get(Widget, "a", "default")).spec == {"color": "red"}
    made = await world.client.create(
        ConfigMap(metadata=ObjectMeta(name="m", namespace="default"), data={"k": "v"})
    )
    found = await world.client.resource(*MAPS).get("m", "default")
    assert (found["metadata"]["uid"], found["data"]) == (made.metadata.uid, {"k": "v"})


async def test_what_is_not_served_is_not_found(world: World) -> None:
    client = world.client
    with pytest.raises(NotFound):
        await client.resource("example.com", "v1", "nothings").get("a", "default")
    with pytest.raises(NotFound):  # a namespaced path of a kind outside of namespaces
        await client.resource("", "v1", "nodes").get("n", "default")
    await world.unserve()
    with pytest.raises(NotFound):
        await client.resource(*WIDGETS).create(widget("a"))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../../nodes/n", "%2e%2e", "a?b=c", "a#b"])
async def test_a_name_leads_to_no_other_path(world: World, name: str) -> None:
    client = world.client.resource(*MAPS)
    with pytest.raises(NotFound):
        await client.get(name, "default")
    with pytest.raises(NotFound):
        await client.delete(name, "default")
    with pytest.raises(NotFound):
        await world.client.resource("", "v1", name).get("a")


async def test_a_mirror_of_dicts_follows(world: World) -> None:
    client = world.client.resource(*WIDGETS)
    await client.create(widget("a"))
    mirror = client.mirror("default")
    assert client.mirror("default") is mirror
    await mirror.synced()
    red = client.mirror(field_selector="spec.color=red")
    await red.synced()
    mirror.add_index("color", lambda item: [item["spec"]["color"]])
    told: list[tuple[Any, Any]] = []
    mirror.subscribe(lambda before, after: told.append((before, after)))
    await client.create(widget("b", "blue"))
    await client.patch("a", {"spec": {"color": "blue"}}, "default")
    await until(lambda: len(told) == 3)
    assert [
        (before and before["spec"]["color"], after["spec"]["color"]) for before, after in told
    ] == [
        (None, "red"),
        (None, "blue"),
        ("red", "blue"),
    ]
    assert names(mirror.indexed("color", "blue")) == ["a", "b"]
    await until(lambda: not red.list())
    await client.delete("a", "default")
    await until(lambda: mirror.get("a", "default") is None)
    assert names(mirror.list()) == ["b"]


async def test_a_mirror_of_metadata_holds_metadata(world: World) -> None:
    client = world.client.resource(*WIDGETS)
    await client.create(widget("a", tier="x"))
    mirror = client.metadata_mirror()
    await mirror.synced()
    (found,) = mirror.list("default")
    metadata = found.metadata
    assert (metadata.name, metadata.namespace, metadata.labels) == ("a", "default", {"tier": "x"})
    await client.patch("a", {"metadata": {"finalizers": ["x.y/z"]}}, "default")
    await until(lambda: [*_metadata(mirror, "a").finalizers] == ["x.y/z"])
    await client.delete("a", "default")
    await until(lambda: _metadata(mirror, "a").deletionTimestamp is not None)


def _metadata(mirror: Mirror[Any], name: str) -> Any:
    found = mirror.get(name, "default")
    assert found is not None
    return found.metadata


async def test_a_mirror_ends_with_its_last_reader(world: World) -> None:
    before = world.mirrors()
    client = world.client.resource(*WIDGETS)
    first, second = client.mirror(), client.mirror()
    metadata, typed = client.metadata_mirror(), world.client.mirror(ConfigMap)
    await first.synced()
    first.close()
    await client.create(widget("a"))
    await until(lambda: names(second.list()) == ["a"])
    second.close()
    metadata.close()
    typed.close()
    assert world.mirrors() == before


async def test_a_mirror_is_emptied_when_its_resource_is_no_longer_served(world: World) -> None:
    client = world.client.resource(*WIDGETS)
    await client.create(widget("a"))
    mirror, metadata = client.mirror(), client.metadata_mirror()
    await mirror.synced()
    await metadata.synced()
    gone: list[str] = []

    def listen(before: Any, after: Any) -> None:
        if before is not None and after is None:
            gone.extend(names([before]))

    mirror.subscribe(listen)
    metadata.subscribe(listen)
    await world.unserve()
    await until(lambda: gone == ["a", "a"])
    assert (list(mirror.list()), list(metadata.list())) == ([], [])
    mirror.close()
    metadata.close()
    await world.serve()
    again = client.mirror()
    await again.synced()
    await client.patch("b", widget("b"), "default", patch_type="apply")
    await until(lambda: "b" in names(again.list()))


async def test_the_served_resources_follow_definitions(world: World) -> None:
    def custom() -> list[ServedResource]:
        return [one for one in world.client.served.resources() if one.group == "example.com"]

    told: list[int] = []
    end = world.client.served.subscribe(lambda: told.append(len(custom())))
    await until(lambda: len(custom()) == 1)
    (found,) = custom()
    assert (found.group, found.version, found.resource, found.kind) == (*WIDGETS, "Widget")
    assert found.namespaced
    assert {"delete", "list", "watch"} <= set(found.verbs)
    await world.unserve()
    await until(lambda: not custom())
    assert told[-1] == 0
    end()
    await world.serve()
    await until(lambda: len(custom()) == 1)
    assert told[-1] == 0
