"""A node's folders of provisioned volumes: made for pods, removed for deleted volumes, nothing else ever touched."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fakes.fake_client import FakeClient
from msgspec import convert
from simulation.simulated_loop import simulated

from kubelite.api.client.events import EventRecorder
from kubelite.api.errors import NotFound, ServiceUnavailable
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.local_volumes import (
    FINALIZER,
    IN_USE,
    NODE_LABEL,
    PROVISIONED_BY,
    PROVISIONER_NAME,
)
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.local_storage import LocalStorage
from kubelite.node.simulated.network import SimulatedFolders
from kubelite.randomness import SeededRandomness

K = TypeVar("K", bound=Kind)

TOP = "/srv/storage"
FOLDER = "pvc-1_shop_data"


class BrokenFolders(SimulatedFolders):
    """Folders of which a test says how often a removal fails."""

    def __init__(self) -> None:
        super().__init__(Path(TOP))
        self.failures = 0
        self.removed: list[str] = []

    def remove(self, name: str) -> None:
        """Fail, or remove."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EBUSY, "something is mounted in it", name)
        self.removed.append(name)
        super().remove(name)


def volume(path: str = f"{TOP}/{FOLDER}", **metadata: Any) -> PersistentVolume:
    meta = {
        "name": "pvc-1",
        "labels": {NODE_LABEL: "one"},
        "annotations": {PROVISIONED_BY: PROVISIONER_NAME},
        "finalizers": [FINALIZER],
        **metadata,
    }
    spec = {
        "capacity": {"storage": "1Gi"},
        "claimRef": {"namespace": "shop", "name": "data"},
        "persistentVolumeReclaimPolicy": "Delete",
        "local": {"path": path},
    }
    return convert({"metadata": meta, "spec": spec}, PersistentVolume)


class Server(FakeClient):
    """A server that a test takes away."""

    is_away = False

    async def get(self, kind: type[K], name: str, namespace: str = "") -> K:
        """Return an object, unless the server is away."""
        if self.is_away:
            raise ServiceUnavailable("away")
        return await super().get(kind, name, namespace)


class Node:
    def __init__(self) -> None:
        self.client = Server()
        self.folders = BrokenFolders()
        events = EventRecorder(
            self.client, self.client.clock, SeededRandomness(1), component="kubelet", host="one"
        )
        self.storage = LocalStorage("one", self.client, self.folders, events, in_thread=False)

    def volumes(self) -> list[str]:
        return [one.metadata.name for one in self.client.all(PersistentVolume)]

    def messages(self) -> list[str]:
        return [e.message for e in self.client.all(Event) if e.reason == "VolumeFailedDelete"]


@asynccontextmanager
async def running() -> AsyncIterator[Node]:
    node = Node()
    task = asyncio.create_task(node.storage.run())
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.wait([task])


@simulated
async def test_a_deleted_volume_goes_after_its_folder() -> None:
    async with running() as node:
        made = await node.client.create(volume())
        await node.storage.prepare(made)
        assert node.folders.names == {FOLDER: 1 << 30}
        await asyncio.sleep(60)
        assert node.folders.removed == []
        await node.client.delete(PersistentVolume, "pvc-1")
        await asyncio.sleep(1)
        assert node.folders.names == {}
        assert node.volumes() == []


@simulated
@pytest.mark.parametrize(
    "change",
    [
        {"labels": {NODE_LABEL: "two"}},
        {"annotations": {}},
        {"finalizers": [FINALIZER, IN_USE]},
        {"finalizers": ["example.com/other"]},
    ],
)
async def test_the_folder_of_a_volume_that_is_not_its_to_remove_stays(
    change: dict[str, Any],
) -> None:
    async with running() as node:
        node.folders.names[FOLDER] = None
        await node.client.create(volume(**change))
        await node.client.delete(PersistentVolume, "pvc-1")
        await asyncio.sleep(60)
        assert FOLDER in node.folders.names
        assert node.volumes() == ["pvc-1"]


@simulated
@pytest.mark.parametrize(
    "path", ["/etc", "/srv/storage", f"{TOP}/../etc", f"{TOP}/other", f"/old/{FOLDER}", ""]
)
async def test_a_path_that_is_not_the_nodes_own_is_never_touched(path: str) -> None:
    async with running() as node:
        node.folders.names[FOLDER] = node.folders.names["other"] = None
        made = await node.client.create(volume(path))
        await node.storage.prepare(made)
        await node.client.delete(PersistentVolume, "pvc-1")
        await asyncio.sleep(60)
        assert node.folders.removed == []
        assert node.folders.names == {FOLDER: None, "other": None}
        assert node.volumes() == ["pvc-1"]
        (message,) = node.messages()
        assert "is not the folder that node one keeps" in message


@simulated
async def test_a_removal_that_fails_is_told_and_tried_again() -> None:
    async with running() as node:
        node.folders.failures = 3
        await node.storage.prepare(await node.client.create(volume()))
        await node.client.delete(PersistentVolume, "pvc-1")
        await asyncio.sleep(60)
        assert node.folders.names == {}
        assert node.volumes() == []
        assert "cannot remove its folder: something is mounted in it" in node.messages()


@simulated
async def test_no_folder_is_made_for_a_volume_that_was_deleted_meanwhile() -> None:
    async with running() as node:
        made = await node.client.create(volume())
        await node.client.delete(PersistentVolume, "pvc-1")
        await asyncio.sleep(1)
        with pytest.raises(NotFound):
            await node.storage.prepare(made)
        await node.client.create(volume(finalizers=["example.com/other"]))
        with pytest.raises(ConfigUnavailable, match="is being deleted"):
            await node.storage.prepare(made)
        assert node.folders.names == {}


@simulated
async def test_a_pod_goes_on_with_its_folder_while_the_server_is_away() -> None:
    node = Node()
    made = await node.client.create(volume())
    node.client.is_away = True
    with pytest.raises(ServiceUnavailable):
        await node.storage.prepare(made)
    node.folders.names[FOLDER] = None
    await node.storage.prepare(made)
    assert node.folders.names == {FOLDER: None}


@simulated
async def test_the_limit_of_a_folder_follows_the_capacity_of_its_volume() -> None:
    async with running() as node:
        made = await node.client.create(volume())
        await asyncio.sleep(1)
        assert node.folders.names == {}  # made for the first pod, not before
        await node.storage.prepare(made)
        assert node.folders.names == {FOLDER: 1 << 30}
        grown = {"spec": {"capacity": {"storage": "3Gi"}}}
        await node.client.patch(PersistentVolume, "pvc-1", grown)
        await asyncio.sleep(1)
        assert node.folders.names == {FOLDER: 3 << 30}
