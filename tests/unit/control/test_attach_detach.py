"""VolumeAttachments of CSI volumes: made for the pods of a node, deleted once the node unmounted the volume."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.fake_client import FakeClient
from fakes.harness import Harness
from msgspec import convert

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.storage import CSIDriver, VolumeAttachment
from kubelite.api.machinery.csi_volumes import MANAGED_ATTACH, attachment_name, unique_name
from kubelite.control.attach_detach import (
    UNMOUNT_WAIT,
    AttachDetachController,
    Present,
    Wanted,
    multi_attach_message,
    plan,
)
from kubelite.control.node_taints import OUT_OF_SERVICE

DRIVER, HANDLE = "disk.example.com", "vol-1"
UNIQUE = unique_name(DRIVER, HANDLE)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def named(node: str) -> str:
    return attachment_name(DRIVER, HANDLE, node)


def node(name: str = "one", *, ready: bool = True, **status: Any) -> Node:
    taints = status.pop("taints", [])
    condition = {"type": "Ready", "status": "True" if ready else "Unknown"}
    return convert(
        {
            "metadata": {"name": name, "annotations": {MANAGED_ATTACH: "true"}},
            "spec": {"taints": taints},
            "status": {"conditions": [condition], **status},
        },
        Node,
    )


def volume(modes: tuple[str, ...] = ("ReadWriteOnce",)) -> PersistentVolume:
    spec = {
        "accessModes": list(modes),
        "csi": {"driver": DRIVER, "volumeHandle": HANDLE},
        "claimRef": {"namespace": "shop", "name": "data"},
    }
    return convert({"metadata": {"name": "pv-1"}, "spec": spec}, PersistentVolume)


def claim(phase: str = "Bound") -> PersistentVolumeClaim:
    return convert(
        {
            "metadata": {"name": "data", "namespace": "shop"},
            "spec": {"volumeName": "pv-1"},
            "status": {"phase": phase},
        },
        PersistentVolumeClaim,
    )


def pod(name: str = "web", on: str = "one") -> Pod:
    source = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    return convert(
        {
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"nodeName": on, "volumes": [source]},
        },
        Pod,
    )


def present(node_name: str = "one", **fields: Any) -> dict[str, Present]:
    metadata = {"name": named(node_name), **fields.pop("metadata", {})}
    spec = {
        "attacher": DRIVER,
        "nodeName": node_name,
        "source": {"persistentVolumeName": "pv-1"},
    }
    item = convert(
        {"metadata": metadata, "spec": spec, "status": {"attached": True, **fields}},
        VolumeAttachment,
    )
    return {named(node_name): Present(item, UNIQUE)}


def wanted(modes: tuple[str, ...] = ("ReadWriteOnce",)) -> dict[str, Wanted]:
    return {named("one"): Wanted(volume(modes), DRIVER, HANDLE, (pod(),))}


async def attach(client: FakeClient, name: str) -> None:
    """Do what the external-attacher does."""
    patch = {"status": {"attached": True}}
    await client.patch(VolumeAttachment, name, patch, subresource="status")


async def attached_to(client: FakeClient, name: str = "one") -> list[str]:
    found = await client.get(Node, name)
    return [one.name for one in found.status.volumesAttached]


def events(client: FakeClient, reason: str) -> list[str]:
    return [one.message for one in client.all(Event) if one.reason == reason]


def test_a_missing_attachment_is_made() -> None:
    decided = plan(node(), wanted(), {}, frozenset(), {}, NOW)
    assert [one.unique_name for one in decided.attach] == [UNIQUE]
    assert decided.reported == ()


@pytest.mark.parametrize(
    ("modes", "is_blocked"),
    [
        (("ReadWriteOnce",), True),
        (("ReadWriteOncePod",), True),
        (("ReadWriteMany",), False),
        (("ReadWriteOnce", "ReadOnlyMany"), False),
        ((), False),
    ],
)
def test_only_a_volume_of_several_nodes_is_attached_twice(
    modes: tuple[str, ...], is_blocked: bool
) -> None:
    decided = plan(node(), wanted(modes), {}, frozenset({UNIQUE}), {}, NOW)
    assert bool(decided.blocked) is is_blocked
    assert bool(decided.attach) is not is_blocked


def test_an_attachment_is_reported_once_it_is_attached() -> None:
    assert plan(node(), wanted(), present(attached=False), frozenset(), {}, NOW).reported == ()
    assert plan(node(), wanted(), present(), frozenset(), {}, NOW).reported == (UNIQUE,)


def test_an_attachment_that_is_being_deleted_is_neither_reported_nor_made_again() -> None:
    going = present(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    decided = plan(node(), wanted(), going, frozenset(), {}, NOW)
    assert (decided.attach, decided.reported, decided.detach) == ((), (), ())


def test_an_unwanted_volume_is_detached_once_it_is_unmounted() -> None:
    in_use = plan(node(volumesInUse=[UNIQUE]), {}, present(), frozenset(), {}, NOW)
    assert (in_use.detach, in_use.reported, in_use.wait_seconds) == ((), (UNIQUE,), None)
    unmounted = plan(node(), {}, present(), frozenset(), {}, NOW)
    assert (unmounted.detach, unmounted.reported) == ((named("one"),), ())


def test_a_node_that_is_gone_has_nothing_mounted() -> None:
    assert plan(None, {}, present(), frozenset(), {}, NOW).detach == (named("one"),)


def test_a_node_that_is_not_ready_loses_its_volumes_after_six_minutes() -> None:
    lost = node(ready=False, volumesInUse=[UNIQUE])
    since = {named("one"): NOW - timedelta(minutes=2)}
    decided = plan(lost, {}, present(), frozenset(), since, NOW)
    assert (decided.detach, decided.wait_seconds) == ((), 240)
    since = {named("one"): NOW - UNMOUNT_WAIT}
    assert plan(lost, {}, present(), frozenset(), since, NOW).detach == (named("one"),)
    still_there = node(volumesInUse=[UNIQUE])
    assert plan(still_there, {}, present(), frozenset(), since, NOW).detach == ()


def test_a_node_out_of_service_loses_its_volumes_at_once() -> None:
    taints = [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]
    down = node(ready=False, volumesInUse=[UNIQUE], taints=taints)
    assert plan(down, {}, present(), frozenset(), {}, NOW).detach == (named("one"),)


def test_names_of_pods_in_other_namespaces_are_not_told() -> None:
    near = pod("near")
    far = convert({"metadata": {"name": "far", "namespace": "other"}}, Pod)
    begin = 'Multi-Attach error for volume "pv-1" Volume is already '
    one = "exclusively attached to one node and can't be attached to another"
    assert multi_attach_message(pod(), "pv-1", []) == begin + one
    both = "used by pod(s) near and 1 pod(s) in different namespaces"
    assert multi_attach_message(pod(), "pv-1", [near, far]) == begin + both
    hidden = "used by 1 pod(s) in different namespaces"
    assert multi_attach_message(pod(), "pv-1", [far]) == begin + hidden


async def test_a_volume_follows_its_pod() -> None:
    async with Harness(AttachDetachController) as harness:
        client = harness.client
        for item in (node(), volume(), claim(), pod()):
            await client.create(item)
        await harness.settle()
        (made,) = client.all(VolumeAttachment)
        assert made.metadata.name == named("one")
        assert (made.spec.attacher, made.spec.nodeName) == (DRIVER, "one")
        assert made.spec.source.persistentVolumeName == "pv-1"
        assert await attached_to(client) == []
        await attach(client, named("one"))
        await harness.settle()
        assert await attached_to(client) == [UNIQUE]
        assert events(client, "SuccessfulAttachVolume") == [
            'AttachVolume.Attach succeeded for volume "pv-1"'
        ]
        in_use = {"status": {"volumesInUse": [UNIQUE]}}
        await client.patch(Node, "one", in_use, subresource="status")
        await client.delete(Pod, "web", "shop", grace_seconds=0)
        await harness.settle()
        assert client.all(VolumeAttachment)
        in_use = {"status": {"volumesInUse": []}}
        await client.patch(Node, "one", in_use, subresource="status")
        await harness.settle()
        assert client.all(VolumeAttachment) == []
        assert await attached_to(client) == []


async def test_the_second_node_waits_until_the_first_gave_the_volume_back() -> None:
    async with Harness(AttachDetachController) as harness:
        client = harness.client
        for item in (node(), node("two"), volume(), claim(), pod()):
            await client.create(item)
        await harness.settle()
        await attach(client, named("one"))
        await client.create(pod("other", on="two"))
        await harness.settle()
        assert [one.spec.nodeName for one in client.all(VolumeAttachment)] == ["one"]
        text = 'Multi-Attach error for volume "pv-1" Volume is already used by pod(s) web'
        assert events(client, "FailedAttachVolume") == [text]
        await client.delete(Pod, "web", "shop", grace_seconds=0)
        await harness.settle()
        assert [one.spec.nodeName for one in client.all(VolumeAttachment)] == ["two"]
        assert len(events(client, "FailedAttachVolume")) <= 2


async def test_a_driver_that_needs_no_attachment_gets_none() -> None:
    async with Harness(AttachDetachController) as harness:
        driver = {"metadata": {"name": DRIVER}, "spec": {"attachRequired": False}}
        for item in (convert(driver, CSIDriver), node(), volume(), claim(), pod()):
            await harness.client.create(item)
        await harness.settle()
        assert harness.client.all(VolumeAttachment) == []


async def test_a_node_that_attaches_itself_and_an_unbound_claim_get_no_attachment() -> None:
    async with Harness(AttachDetachController) as harness:
        unmanaged = convert({"metadata": {"name": "one"}}, Node)
        for item in (unmanaged, node("two"), volume(), claim(), pod()):
            await harness.client.create(item)
        await harness.settle()
        assert harness.client.all(VolumeAttachment) == []
        pending = {"status": {"phase": "Pending"}}
        await harness.client.patch(
            PersistentVolumeClaim, "data", pending, "shop", subresource="status"
        )
        await harness.client.create(pod("other", on="two"))
        await harness.settle()
        assert harness.client.all(VolumeAttachment) == []


async def test_what_the_attacher_says_is_told_once() -> None:
    async with Harness(AttachDetachController) as harness:
        client = harness.client
        for item in (node(), volume(), claim(), pod()):
            await client.create(item)
        await harness.settle()
        for at in ("2026-01-01T00:00:00Z", "2026-01-01T00:00:07Z"):
            error = {"status": {"attachError": {"message": "no such disk", "time": at}}}
            await client.patch(VolumeAttachment, named("one"), error, subresource="status")
            await harness.settle()
        assert events(client, "FailedAttachVolume") == [
            'AttachVolume.Attach failed for volume "pv-1" : no such disk'
        ]


async def test_an_attachment_of_somebody_else_is_left_alone() -> None:
    async with Harness(AttachDetachController) as harness:
        spec = {
            "attacher": DRIVER,
            "nodeName": "one",
            "source": {"persistentVolumeName": "pv-1"},
        }
        foreign = convert({"metadata": {"name": "mine"}, "spec": spec}, VolumeAttachment)
        for item in (node(), volume(), claim(), foreign):
            await harness.client.create(item)
        await harness.settle()
        assert [one.metadata.name for one in harness.client.all(VolumeAttachment)] == ["mine"]


async def test_a_volume_is_not_detached_if_its_node_began_to_use_it_meanwhile() -> None:
    async with Harness(AttachDetachController) as harness:
        client = harness.client
        for item in (node(), volume(), claim(), pod()):
            await client.create(item)
        await harness.settle()
        await attach(client, named("one"))
        await harness.settle()
        patch, deleted = client.patch, client.delete
        order: list[str] = []

        async def late(kind: Any, name: str, body: Any, *rest: Any, **options: Any) -> Any:
            """Let the node list the volume just before the controller takes it off."""
            if kind is Node and body["status"] == {"volumesAttached": []} and not order:
                order.append("used")
                in_use = {"status": {"volumesInUse": [UNIQUE]}}
                await patch(Node, "one", in_use, subresource="status")
            return await patch(kind, name, body, *rest, **options)

        client.patch = late  # type: ignore[method-assign,assignment]  # another writer comes first
        await deleted(Pod, "web", "shop", grace_seconds=0)
        await harness.settle()
        assert order == ["used"]
        assert await attached_to(client) == [UNIQUE]
        assert client.all(VolumeAttachment)
