from typing import Any

import pytest
from fakes.harness import Harness
from msgspec import convert

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.machinery.local_volumes import (
    FINALIZER,
    IN_USE,
    NODE_LABEL,
    PROVISIONED_BY,
    PROVISIONER_NAME,
)
from kubelite.control.local_reclaimer import LocalPathReclaimer, next_step


def volume(
    policy: str = "Delete", phase: str = "Bound", node: str = "one", **metadata: Any
) -> PersistentVolume:
    meta = {
        "name": "pvc-1",
        "labels": {NODE_LABEL: node} if node else {},
        "annotations": {PROVISIONED_BY: PROVISIONER_NAME},
        "finalizers": [FINALIZER],
        **metadata,
    }
    spec = {"persistentVolumeReclaimPolicy": policy, "local": {"path": "/srv/pvc-1_shop_data"}}
    item = {"metadata": meta, "spec": spec, "status": {"phase": phase}}
    return convert(item, PersistentVolume)


GOING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("item", "has_node", "step"),
    [
        (volume(), True, "nothing"),
        (volume(finalizers=[]), True, "guard"),
        (volume(finalizers=[], node=""), True, "nothing"),
        (volume("Retain"), True, "unguard"),
        (volume("Retain", "Released", finalizers=[]), True, "nothing"),
        (volume(phase="Released"), True, "delete"),
        (volume(phase="Released"), False, "delete"),
        (volume(phase="Available"), True, "nothing"),
        (volume(phase="Released", **GOING), True, "nothing"),
        (volume(phase="Released", **GOING), False, "abandon"),
        (volume(phase="Released", node="", **GOING), False, "abandon"),
        (volume(finalizers=[FINALIZER, IN_USE], **GOING), False, "nothing"),
        (volume("Retain", "Released", **GOING), True, "unguard"),
        (volume(finalizers=["other"], **GOING), False, "nothing"),
        (volume(phase="Released", annotations={}), True, "nothing"),
        (volume(phase="Released", annotations={}, **GOING), False, "nothing"),
    ],
)
def test_next_step(item: PersistentVolume, has_node: bool, step: str) -> None:
    assert next_step(item, has_node=has_node) == step


async def test_a_released_volume_waits_for_its_node_and_goes_without_one() -> None:
    async with Harness(LocalPathReclaimer) as harness:
        client = harness.client
        await client.create(convert({"metadata": {"name": "one"}}, Node))
        await client.create(volume(phase="Released"))
        await harness.settle()
        (going,) = client.all(PersistentVolume)
        assert going.metadata.deletionTimestamp is not None
        assert going.metadata.finalizers == [FINALIZER]
        await client.delete(Node, "one")
        await harness.settle()
        assert client.all(PersistentVolume) == []
        (event,) = client.all(Event)
        assert event.reason == "VolumeFolderLeft"
        assert "/srv/pvc-1_shop_data" in event.message
