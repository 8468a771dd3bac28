"""Controllers of all resources with a custom one, which comes and goes while they run."""

from typing import Any

import pytest
from fakes import widgets
from fakes.harness import Harness
from fakes.real_harness import RealHarness
from fakes.widgets import Widget, widget_row
from msgspec.structs import replace

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.namespaces import Namespace, NamespaceSpec
from kubelite.api.kinds.core.quota import ResourceQuota, ResourceQuotaSpec
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.control.garbage import GarbageCollector
from kubelite.control.namespace import NamespaceController
from kubelite.control.resource_quota import ResourceQuotaController

PATH = "example.com/v1/widgets"


def widget(name: str, *owners: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    references = {"ownerReferences": list(owners)} if owners else {}
    namespace = {"namespace": metadata.pop("namespace", "default")}
    return {"metadata": {"name": name, **namespace, **references, **metadata}}


def reference(owner: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }


def config(name: str, *owners: dict[str, Any]) -> ConfigMap:
    references = [OwnerReference(**owner) for owner in owners]
    return ConfigMap(
        metadata=ObjectMeta(name=name, namespace="default", ownerReferences=references)
    )


async def served(harness: RealHarness) -> None:
    widgets.serve(harness.server)
    await harness.settle()


async def test_owners_and_dependents_may_be_custom() -> None:
    async with RealHarness(GarbageCollector) as harness:
        server = harness.server
        await served(harness)
        owner = await server.create(PATH, widget("owner"))
        await server.create(PATH, widget("below", reference(owner)))
        await server.client.create(config("m", reference(owner)))
        await harness.settle()
        await server.delete(PATH, "owner", propagation="Foreground")
        await harness.settle()
        assert server.names(PATH) == []
        with pytest.raises(NotFound):
            await server.client.get(ConfigMap, "m", "default")


async def test_an_absent_custom_owner_is_found_absent() -> None:
    async with RealHarness(GarbageCollector) as harness:
        await served(harness)
        absent = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "never", "uid": "u"}
        await harness.server.client.create(config("m", absent))
        await harness.settle()
        assert await harness.server.client.list(ConfigMap) == []


async def test_what_a_vanished_kind_owned_stays_and_nothing_is_held_for_it() -> None:
    async with RealHarness(GarbageCollector) as harness:
        server = harness.server
        collector = harness.runtime._running[0].controller
        assert isinstance(collector, GarbageCollector)
        before, watching = len(collector._graph), server.hub.watching
        await served(harness)
        owner = await server.create(PATH, widget("owner"))
        await server.client.create(config("m", reference(owner)))
        await harness.settle()
        assert (len(collector._graph), server.hub.watching) == (before + 2, watching + 1)
        widgets.unserve(server)
        await harness.settle()
        assert (len(collector._graph), server.hub.watching) == (before + 1, watching)
        assert server.names("v1/configmaps") == ["m"]
        # It is served again, and its objects are still there.
        await served(harness)
        assert server.names("v1/configmaps") == ["m"]
        await server.delete(PATH, "owner", propagation="Background")
        await harness.settle()
        assert await server.client.list(ConfigMap) == []


async def test_an_owner_does_not_wait_for_dependents_of_a_vanished_kind() -> None:
    async with RealHarness(GarbageCollector) as harness:
        server = harness.server
        await served(harness)
        made = await server.create("v1/configmaps", {"metadata": {"name": "m"}})
        await server.create(PATH, widget("below", reference(made), finalizers=["x.y/z"]))
        await harness.settle()
        await server.delete("v1/configmaps", "m", propagation="Foreground")
        await harness.settle()
        assert server.get("v1/configmaps", "m")["metadata"]["finalizers"] == ["foregroundDeletion"]
        widgets.unserve(server)
        await harness.settle()
        assert server.names("v1/configmaps") == []


async def test_discovery_may_tell_of_the_end_before_the_mirror_does() -> None:
    async with Harness(GarbageCollector) as harness:
        client = harness.client
        client.serve(Widget, "widgets")
        await client.resource("example.com", "v1", "widgets").create(widget("a"))
        collector = harness.runtime._running[0].controller
        assert isinstance(collector, GarbageCollector)
        assert len(collector._graph) == 1
        client.served.found.clear()
        client.served.tell()
        assert len(collector._graph) == 0
        assert client.whole(Widget).readers == 0


async def test_another_row_of_a_resource_loses_no_object() -> None:
    async with RealHarness(GarbageCollector) as harness:
        server = harness.server
        await served(harness)
        owner = await server.create(PATH, widget("owner"))
        await server.create(PATH, widget("below", reference(owner)))
        widgets.serve(server, replace(widget_row(), verbs=(*widget_row().verbs, "other")))
        await harness.settle()
        assert server.names(PATH) == ["below", "owner"]
        await server.delete(PATH, "owner", propagation="Background")
        await harness.settle()
        assert server.names(PATH) == []


async def test_a_custom_resource_may_be_named_as_the_events_are() -> None:
    async with RealHarness(GarbageCollector, NamespaceController) as harness:
        server = harness.server
        row = replace(widget_row(), plural="events", storage="events.example.com")
        widgets.serve(server, row)
        await harness.settle()
        path = "example.com/v1/events"
        await _terminating(harness, "work")
        owner = await server.create(path, widget("owner"))
        await server.create(path, widget("below", reference(owner)))
        await server.create(path, widget("inside", namespace="work"))
        await server.delete(path, "owner", propagation="Background")
        await server.client.delete(Namespace, "work")
        await harness.settle()
        assert list(server.list(path, "").items) == []


async def _terminating(harness: RealHarness, name: str) -> None:
    """Create a namespace that its controller ends."""
    await harness.server.client.create(
        Namespace(metadata=ObjectMeta(name=name), spec=NamespaceSpec(finalizers=["kubernetes"]))
    )


async def test_a_namespace_takes_its_custom_objects_with_it() -> None:
    async with RealHarness(NamespaceController) as harness:
        server = harness.server
        idle = server.hub.watching
        await served(harness)
        await _terminating(harness, "work")
        await server.create(PATH, widget("a", namespace="work"))
        await server.create(PATH, widget("kept"))
        await server.client.delete(Namespace, "work")
        await harness.settle()
        assert [one.metadata.name for one in await server.client.list(Namespace)] == []
        assert server.names(PATH) == ["kept"]
        assert server.names(PATH, "work") == []
        assert server.hub.watching == idle  # the mirrors of content have ended


async def test_a_kind_that_vanishes_does_not_keep_a_namespace() -> None:
    async with RealHarness(NamespaceController) as harness:
        server = harness.server
        await served(harness)
        await _terminating(harness, "work")
        await server.create(PATH, widget("a", namespace="work", finalizers=["x.y/z"]))
        await server.client.delete(Namespace, "work")
        await harness.settle()
        (kept,) = await server.client.list(Namespace)
        (remaining,) = [
            one.message for one in kept.status.conditions if one.type == "NamespaceContentRemaining"
        ]
        assert "widgets.example.com has 1 resource instances" in remaining
        widgets.unserve(server)
        await harness.settle()
        assert await server.client.list(Namespace) == []


async def test_a_kind_that_comes_while_a_namespace_ends_is_deleted_too() -> None:
    async with RealHarness(NamespaceController) as harness:
        server = harness.server
        await served(harness)
        await _terminating(harness, "work")
        await server.create(PATH, widget("a", namespace="work"))
        widgets.unserve(server)
        await server.client.create(
            ConfigMap(metadata=ObjectMeta(name="held", namespace="work", finalizers=["x.y/z"]))
        )
        await server.client.delete(Namespace, "work")
        await harness.settle()
        await served(harness)
        assert server.names(PATH, "work") == []


async def test_a_quota_counts_a_resource_that_comes_and_goes() -> None:
    async with RealHarness(ResourceQuotaController) as harness:
        server = harness.server
        name = "count/widgets.example.com"

        async def used() -> dict[str, str]:
            await harness.settle()
            return (await server.client.get(ResourceQuota, "q", "default")).status.used

        watching = server.hub.watching
        await server.client.create(
            ResourceQuota(
                metadata=ObjectMeta(name="q", namespace="default"),
                spec=ResourceQuotaSpec(hard={name: "5"}),
            )
        )
        assert await used() == {name: "0"}
        widgets.serve(server)
        await server.create(PATH, widget("a"))
        widgets.unserve(server)
        assert await used() == {name: "0"}
        widgets.serve(server)
        assert await used() == {name: "1"}
        await server.delete(PATH, "a")
        assert await used() == {name: "0"}
        assert server.hub.watching == watching + 1
        await server.client.delete(ResourceQuota, "q", "default")
        await harness.settle()
        assert server.hub.watching == watching


async def test_controllers_that_stop_hold_nothing() -> None:
    async with RealHarness(
        GarbageCollector, NamespaceController, ResourceQuotaController
    ) as harness:
        await served(harness)
        assert harness.server.hub.watching
    assert harness.server.hub.watching == 0
    assert not harness.server.mirrors.served._listeners
