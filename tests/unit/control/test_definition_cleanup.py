"""The deletion of a custom resource definition with its objects."""

import asyncio
from typing import Any, ClassVar

from fakes.definitions import defined, delete, stored, told
from fakes.harness import Harness
from msgspec.structs import replace
from simulation.simulated_loop import simulated

from kubelite.api.errors import Forbidden
from kubelite.api.kinds.apiextensions import CustomResourceDefinition
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import GroupVersionKind, Kind
from kubelite.api.kinds.object_metadata import KeptMetadata, ObjectMetadata
from kubelite.control.custom_definitions import CustomDefinitionController
from kubelite.control.definition_cleanup import (
    DefinitionCleanupController,
    namespaces_to_delete,
    version_to_delete,
)
from kubelite.control.definitions import DefinedVersion, Definition, DefinitionSpec

NAME = "gizmos.example.com"
IN_PROGRESS = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")


class Gizmo(Kind):
    """A custom object."""

    gvk: ClassVar = GroupVersionKind("example.com", "v1", "Gizmo")

    metadata: ObjectMeta = ObjectMeta()


async def cluster(*, served: bool = True) -> Harness:
    """Return controllers and an established definition, whose resource is served."""
    harness = Harness(CustomDefinitionController, DefinitionCleanupController)
    if served:
        harness.client.serve(Gizmo, "gizmos")
    await harness.client.create(defined("gizmos", kind="Gizmo"))
    return harness


async def create(harness: Harness, name: str, namespace: str = "default", **metadata: Any) -> None:
    meta = ObjectMeta(name=name, namespace=namespace, **metadata)
    await harness.client.create(Gizmo(metadata=meta))


async def let_go(harness: Harness, name: str, namespace: str = "default") -> None:
    """Remove the finalizers of an object."""
    gizmo = await harness.client.get(Gizmo, name, namespace)
    metadata = replace(gizmo.metadata, finalizers=[])
    await harness.client.update(replace(gizmo, metadata=metadata))
    await harness.settle()


async def test_a_definition_goes_when_its_objects_of_all_namespaces_are_gone() -> None:
    async with await cluster() as harness:
        for namespace in ("a", "b"):
            for name in ("one", "two"):
                await create(harness, name, namespace)
        await delete(harness.client, NAME)
        await harness.settle()
        assert harness.client.all(Gizmo) == []
        assert stored(harness.client, NAME) is None
        listeners = harness.client.whole(Gizmo).listeners
        assert not [one for one in listeners if one.__qualname__.startswith("_Objects.")]


async def test_it_waits_for_objects_that_are_held() -> None:
    async with await cluster() as harness:
        await create(harness, "held", finalizers=["x/y"])
        await create(harness, "other", finalizers=["x/y"])
        await delete(harness.client, NAME)
        await harness.settle()
        assert told(harness.client, NAME)["Terminating"] == IN_PROGRESS
        await let_go(harness, "held")
        assert stored(harness.client, NAME) is not None
        await let_go(harness, "other")
        assert stored(harness.client, NAME) is None


async def test_other_finalizers_keep_it_and_the_condition_says_that_its_objects_are_gone() -> None:
    async with await cluster() as harness:
        await create(harness, "one")
        definition = stored(harness.client, NAME)
        assert definition is not None
        metadata = replace(definition.metadata, finalizers=["mine/own"])
        await harness.client.update(replace(definition, metadata=metadata))
        await delete(harness.client, NAME)
        await harness.settle()
        definition = stored(harness.client, NAME)
        assert definition is not None
        assert definition.metadata.finalizers == ["mine/own"]
        assert told(harness.client, NAME)["Terminating"] == (
            "False",
            "InstanceDeletionCompleted",
            "removed all instances",
        )


async def test_a_restart_continues() -> None:
    harness = await cluster()
    async with harness:
        await create(harness, "held", finalizers=["x/y"])
        await delete(harness.client, NAME)
        await harness.settle()
    again = Harness(DefinitionCleanupController)
    again.client.__dict__.update(harness.client.__dict__)
    async with again:
        assert told(again.client, NAME)["Terminating"] == IN_PROGRESS
        await let_go(again, "held")
        assert stored(again.client, NAME) is None


async def test_one_that_was_never_established_deletes_nothing() -> None:
    harness = Harness(DefinitionCleanupController)
    harness.client.serve(Gizmo, "gizmos")
    await harness.client.create(defined("gizmos", kind="Gizmo"))
    await create(harness, "one")
    await delete(harness.client, NAME)
    async with harness:
        assert stored(harness.client, NAME) is None
        assert len(harness.client.all(Gizmo)) == 1


async def test_one_named_as_a_built_in_resource_deletes_nothing() -> None:
    async with Harness(CustomDefinitionController, DefinitionCleanupController) as harness:
        name = "ingresses.networking.k8s.io"
        definition = defined("ingresses", group="networking.k8s.io", kind="Ingress")
        metadata = replace(definition.metadata, finalizers=["mine/own"])
        await harness.client.create(replace(definition, metadata=metadata))
        await harness.settle()
        await delete(harness.client, name)
        await harness.settle()
        assert told(harness.client, name)["Terminating"] == (
            "False",
            "OverlappingBuiltInResource",
            "instances overlap with built-in resources in storage",
        )


@simulated
async def test_failures_are_told_and_tried_again() -> None:
    async with await cluster() as harness:
        await create(harness, "one")
        is_refused = True
        harness.client.refuse = lambda verb, kind: (
            Forbidden("no") if is_refused and (verb, kind) == ("delete", "Gizmo") else None
        )
        await delete(harness.client, NAME)
        await harness.settle()
        assert told(harness.client, NAME)["Terminating"] == (
            "True",
            "InstanceDeletionFailed",
            "could not issue all deletes: no",
        )
        await asyncio.sleep(10)
        assert [verb for verb, _, name in harness.client.writes if name == NAME].count("status") < 6
        is_refused = False
        await asyncio.sleep(60)
        assert stored(harness.client, NAME) is None


async def test_what_is_not_served_keeps_its_definition() -> None:
    """Objects that cannot be reached may be stored still; a new definition would show them again."""
    async with await cluster(served=False) as harness:
        await delete(harness.client, NAME)
        await harness.settle()
        status, reason, message = told(harness.client, NAME)["Terminating"]
        assert (status, reason) == ("True", "InstanceDeletionFailed")
        assert message.startswith("could not list instances: the server could not find")


async def test_the_objects_are_looked_at_when_the_last_one_goes() -> None:
    async with await cluster() as harness:
        for index in range(50):
            await create(harness, f"held-{index}", finalizers=["x/y"])
        await delete(harness.client, NAME)
        await harness.settle()
        looks = len(harness.offload.costs)
        for index in range(50):
            await let_go(harness, f"held-{index}")
        assert stored(harness.client, NAME) is None
        assert len(harness.offload.costs) == looks + 1


async def test_a_new_definition_of_the_name_is_followed_anew() -> None:
    async with await cluster() as harness:
        await delete(harness.client, NAME)
        await harness.settle()
        await harness.client.create(defined("gizmos", kind="Gizmo"))
        await harness.settle()
        await create(harness, "one")
        await delete(harness.client, NAME)
        await harness.settle()
        assert stored(harness.client, NAME) is None
        assert harness.client.all(Gizmo) == []
        assert len(harness.client.all(CustomResourceDefinition)) == 0


def test_objects_are_deleted_at_a_version_that_is_served() -> None:
    def chosen(*versions: DefinedVersion) -> str:
        return version_to_delete(Definition(spec=DefinitionSpec(versions=list(versions))))

    one = DefinedVersion(name="v1", served=True)
    stored_and_served = DefinedVersion(name="v2", served=True, storage=True)
    only_stored = DefinedVersion(name="v3", storage=True)
    assert chosen(one, stored_and_served) == "v2"
    assert chosen(only_stored, one) == "v1"
    assert chosen(only_stored) == "v3"
    assert chosen() == ""


def test_namespaces_whose_objects_all_go_already_are_left_out() -> None:
    def item(namespace: str, deleted: str | None = None) -> ObjectMetadata:
        return ObjectMetadata(KeptMetadata(namespace=namespace, deletionTimestamp=deleted))

    objects = [item("b"), item("a"), item("a", "now"), item("c", "now"), item("")]
    assert namespaces_to_delete(objects) == ["", "a", "b"]
