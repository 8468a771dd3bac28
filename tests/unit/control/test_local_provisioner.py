"""Provisioning and growth of local volumes, together with the binder."""

from typing import Any

import pytest
from fakes.fake_client import FakeClient
from fakes.harness import Harness
from msgspec import convert

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery.local_volumes import (
    FINALIZER,
    NODE_LABEL,
    PROVISIONED_BY,
    PROVISIONER_NAME,
    STORAGE_PATH,
)
from kubelite.control.local_provisioner import LocalPathProvisioner, unsupported
from kubelite.control.volume_binder import VolumeClaimBinder, VolumePhaseController
from kubelite.control.volume_matching import SELECTED_NODE

ALL = (VolumeClaimBinder, VolumePhaseController, LocalPathProvisioner)


def storage_class(**fields: Any) -> StorageClass:
    item = {
        "metadata": {"name": "local-path"},
        "provisioner": PROVISIONER_NAME,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        **fields,
    }
    return convert(item, StorageClass)


def claim(node: str = "one", **spec: Any) -> PersistentVolumeClaim:
    fields = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "local-path",
        **spec,
    }
    annotations = {SELECTED_NODE: node} if node else {}
    meta = {"name": "data", "namespace": "shop", "annotations": annotations}
    return convert({"metadata": meta, "spec": fields}, PersistentVolumeClaim)


def node(path: str = "/srv/storage") -> Node:
    meta = {
        "name": "one",
        "labels": {"kubernetes.io/hostname": "host-one"},
        "annotations": {STORAGE_PATH: path} if path else {},
    }
    return convert({"metadata": meta}, Node)


async def the_claim(client: FakeClient) -> PersistentVolumeClaim:
    return await client.get(PersistentVolumeClaim, "data", "shop")


def events(client: FakeClient, *reasons: str) -> list[tuple[str, str]]:
    return sorted((e.reason, e.message) for e in client.all(Event) if e.reason in reasons)


async def test_a_claim_with_a_node_gets_a_folder_of_that_node() -> None:
    async with Harness(*ALL) as harness:
        client = harness.client
        for item in (storage_class(), node(), claim()):
            await client.create(item)
        await harness.settle()
        found = await the_claim(client)
        (volume,) = client.all(PersistentVolume)
        name = f"pvc-{found.metadata.uid}"
        assert (found.status.phase, found.spec.volumeName) == ("Bound", name)
        assert found.status.capacity == {"storage": "1Gi"}
        meta, spec = volume.metadata, volume.spec
        assert meta.name == name
        assert (meta.labels, meta.finalizers) == ({NODE_LABEL: "one"}, [FINALIZER])
        assert meta.annotations == {PROVISIONED_BY: PROVISIONER_NAME}
        assert (spec.capacity, spec.accessModes) == ({"storage": "1Gi"}, ["ReadWriteOnce"])
        assert (spec.storageClassName, spec.persistentVolumeReclaimPolicy) == (
            "local-path",
            "Delete",
        )
        assert spec.local is not None
        assert spec.local.path == f"/srv/storage/{name}_shop_data"
        assert spec.nodeAffinity is not None
        assert spec.nodeAffinity.required is not None
        (term,) = spec.nodeAffinity.required.nodeSelectorTerms
        (expression,) = term.matchExpressions
        assert (expression.key, expression.values) == ("kubernetes.io/hostname", ["host-one"])
        assert events(client, "Provisioning", "ProvisioningSucceeded") == [
            (
                "Provisioning",
                'External provisioner is provisioning volume for claim "shop/data"',
            ),
            ("ProvisioningSucceeded", f"Successfully provisioned volume {name}"),
        ]


async def test_a_claim_without_a_node_waits_for_its_first_pod() -> None:
    async with Harness(*ALL) as harness:
        for item in (storage_class(), node(), claim(node="")):
            await harness.client.create(item)
        await harness.settle()
        assert harness.client.all(PersistentVolume) == []
        assert not events(harness.client, "ProvisioningFailed")


async def test_a_volume_to_retain_has_no_finalizer() -> None:
    async with Harness(*ALL) as harness:
        for item in (storage_class(reclaimPolicy="Retain"), node(), claim()):
            await harness.client.create(item)
        await harness.settle()
        (volume,) = harness.client.all(PersistentVolume)
        assert volume.spec.persistentVolumeReclaimPolicy == "Retain"
        assert volume.metadata.finalizers == []


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [([], "does not exist"), ([node(path="")], "keeps no local volumes")],
)
async def test_a_node_without_storage_is_given_back_to_the_scheduler(
    nodes: list[Node], reason: str
) -> None:
    async with Harness(*ALL) as harness:
        client = harness.client
        for item in (storage_class(), *nodes, claim()):
            await client.create(item)
        await harness.settle()
        assert SELECTED_NODE not in (await the_claim(client)).metadata.annotations
        assert client.all(PersistentVolume) == []
        text = f'failed to provision volume with StorageClass "local-path": node "one" {reason}'
        assert events(client, "ProvisioningFailed") == [("ProvisioningFailed", text)]


@pytest.mark.parametrize(
    ("spec", "fields", "word"),
    [
        ({"volumeMode": "Block"}, {}, "volumeMode Block"),
        ({"accessModes": ["ReadWriteMany"]}, {}, "ReadWriteOnce and ReadWriteOncePod"),
        ({"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}, {}, "ReadWriteOnce and"),
        ({"selector": {"matchLabels": {"a": "b"}}}, {}, "selector"),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}, {}, "dataSource"),
        ({}, {"parameters": {"nodePath": "/etc"}}, "parameters of the StorageClass"),
        ({}, {"volumeBindingMode": "Immediate"}, "WaitForFirstConsumer"),
    ],
)
async def test_what_no_folder_can_be_is_refused_and_the_node_kept(
    spec: dict[str, Any], fields: dict[str, Any], word: str
) -> None:
    async with Harness(*ALL) as harness:
        client = harness.client
        for item in (storage_class(**fields), node(), claim(**spec)):
            await client.create(item)
        await harness.settle()
        assert client.all(PersistentVolume) == []
        messages = events(client, "ProvisioningFailed")
        assert len(messages) >= 1
        assert all(word in message for _, message in messages)
        assert (await the_claim(client)).metadata.annotations[SELECTED_NODE] == "one"


def test_one_pod_only_is_a_mode_of_one_node() -> None:
    assert unsupported(claim(accessModes=["ReadWriteOncePod"]), storage_class()) == ""


async def test_a_raised_request_raises_the_capacity_of_volume_and_claim() -> None:
    async with Harness(*ALL) as harness:
        client = harness.client
        for item in (storage_class(), node(), claim()):
            await client.create(item)
        await harness.settle()
        request = {"spec": {"resources": {"requests": {"storage": "5Gi"}}}}
        await client.patch(PersistentVolumeClaim, "data", request, "shop")
        await harness.settle()
        (volume,) = client.all(PersistentVolume)
        found = await the_claim(client)
        assert volume.spec.capacity == {"storage": "5Gi"}
        assert found.status.capacity == {"storage": "5Gi"}
        assert found.status.conditions == []
        assert found.status.allocatedResources == {"storage": "5Gi"}
        assert found.status.allocatedResourceStatuses == {}
        assert [reason for reason, _ in events(client, "Resizing", "VolumeResizeSuccessful")] == [
            "Resizing",
            "VolumeResizeSuccessful",
        ]


async def test_the_volume_of_another_provisioner_does_not_grow() -> None:
    async with Harness(*ALL) as harness:
        client = harness.client
        for item in (storage_class(), node(), claim()):
            await client.create(item)
        await harness.settle()
        (volume,) = client.all(PersistentVolume)
        others = {"metadata": {"annotations": {PROVISIONED_BY: "example.com/other"}}}
        await client.patch(PersistentVolume, volume.metadata.name, others)
        request = {"spec": {"resources": {"requests": {"storage": "5Gi"}}}}
        await client.patch(PersistentVolumeClaim, "data", request, "shop")
        await harness.settle()
        (volume,) = client.all(PersistentVolume)
        assert volume.spec.capacity == {"storage": "1Gi"}
