"""Provisioned volumes over crashes at any moment: no folder or volume leaks, and no bound claim loses its folder."""

import asyncio
from typing import Any

import pytest

from kubelite.api.errors import Forbidden
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.local_volumes import NODE_LABEL, folder_name, keeper_of
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated

COUNT = 12


def claim(name: str) -> dict[str, Any]:
    """Return a claim without a class, which gets the default one."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return {"metadata": {"name": name}, "spec": spec}


def pod(name: str, claim_name: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "c:1"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}],
            **spec,
        },
    }


def folders(cluster: SimulatedCluster) -> dict[str, set[str]]:
    """Return the folders of each node that has any."""
    return {
        name: set(node.folders.names) for name, node in cluster.nodes.items() if node.folders.names
    }


def kept(cluster: SimulatedCluster) -> dict[str, set[str]]:
    """Return the folders that there must be, by node: one for each volume."""
    wanted: dict[str, set[str]] = {}
    for volume in cluster.all(PersistentVolume):
        wanted.setdefault(keeper_of(volume), set()).add(folder_name(volume))
    return wanted


def is_running(cluster: SimulatedCluster, count: int) -> bool:
    pods = cluster.all(Pod)
    return len(pods) == count and all(one.status.phase == "Running" for one in pods)


async def crashes(seed: int) -> None:
    async with SimulatedCluster(seed, nodes=3) as cluster:
        names = [f"data-{number}" for number in range(COUNT)]
        for name in names:
            await cluster.create(PersistentVolumeClaim, claim(name))
            await cluster.create(Pod, pod(name, name))
        for _ in range(4):  # while volumes are created, bound, and their folders made
            await asyncio.sleep(cluster.random.random() * 2)
            await cluster.restart()
        await cluster.until(lambda: is_running(cluster, COUNT), 1200)
        assert folders(cluster) == kept(cluster)
        assert sum(map(len, folders(cluster).values())) == COUNT
        volumes = {
            one.spec.claimRef.name: one
            for one in cluster.all(PersistentVolume)
            if one.spec.claimRef
        }
        for name in names[: COUNT // 2]:
            await cluster.client.delete(PersistentVolumeClaim, name, "default")
            await cluster.client.delete(Pod, name, "default", grace_seconds=0)
        for _ in range(
            4
        ):  # while claims go, volumes are released, folders removed, finalizers removed
            await asyncio.sleep(cluster.random.random() * 2)
            live = {folder_name(volumes[name]) for name in names[COUNT // 2 :]}
            assert live <= set().union(*folders(cluster).values())
            await cluster.restart()
        await cluster.until(lambda: len(cluster.all(PersistentVolume)) == COUNT // 2, 1200)
        await asyncio.sleep(60)
        assert folders(cluster) == kept(cluster)
        assert {one.metadata.name for one in cluster.all(PersistentVolumeClaim)} == set(
            names[COUNT // 2 :]
        )
        assert all(one.status.phase == "Bound" for one in cluster.all(PersistentVolumeClaim))


@pytest.mark.parametrize("seed", range(6))
def test_no_crash_leaks_a_folder_or_loses_one(seed: int) -> None:
    run_simulated(seed, lambda: crashes(seed))


async def comes_back() -> None:
    async with SimulatedCluster(5, nodes=3) as cluster:
        await cluster.create(PersistentVolumeClaim, claim("data"))
        await cluster.create(Pod, pod("first", "data"))
        await cluster.until(lambda: is_running(cluster, 1), 120)
        node = cluster.all(Pod)[0].spec.nodeName
        await cluster.client.delete(Pod, "first", "default")
        await cluster.until(lambda: not cluster.all(Pod), 120)
        await cluster.create(Pod, pod("second", "data"))
        await cluster.until(lambda: is_running(cluster, 1), 120)
        assert cluster.all(Pod)[0].spec.nodeName == node
        assert list(folders(cluster)) == [node]


def test_the_next_pod_comes_to_the_node_that_has_the_data() -> None:
    run_simulated(5, comes_back)


async def other_node_may_not(
    cluster: SimulatedCluster, volume: PersistentVolume, other: str
) -> None:
    client = cluster.client_of(f"system:node:{other}", "system:nodes")
    name = volume.metadata.name
    with pytest.raises(Forbidden, match="does not keep the folder"):
        await client.patch(PersistentVolume, name, {"metadata": {"finalizers": []}})
    for selector in ("", f"{NODE_LABEL}={keeper_of(volume)}"):
        with pytest.raises(Forbidden, match="label selector"):
            await client.list(PersistentVolume, label_selector=selector)
    with pytest.raises(Forbidden):
        await client.get(PersistentVolume, name)
    with pytest.raises(Forbidden):
        await client.delete(PersistentVolume, name)
    keeper = cluster.client_of(f"system:node:{keeper_of(volume)}", "system:nodes")
    with pytest.raises(Forbidden, match="anything but the finalizer"):
        await keeper.patch(PersistentVolume, name, {"metadata": {"labels": {NODE_LABEL: other}}})


async def gone_for_ever() -> None:
    async with SimulatedCluster(6, nodes=2) as cluster:
        await cluster.create(PersistentVolumeClaim, claim("data"))
        await cluster.create(Pod, pod("user", "data"))
        await cluster.until(lambda: is_running(cluster, 1), 120)
        node = cluster.all(Pod)[0].spec.nodeName
        await cluster.lose_node(node)
        await cluster.client.delete(PersistentVolumeClaim, "data", "default")
        await cluster.client.delete(Pod, "user", "default", grace_seconds=0)
        await asyncio.sleep(60)
        (volume,) = cluster.all(PersistentVolume)
        assert volume.metadata.deletionTimestamp is not None  # the node may come back
        await other_node_may_not(cluster, volume, next(name for name in cluster.nodes))
        await cluster.client.delete(Node, node)
        await cluster.until(lambda: not cluster.all(PersistentVolume), 120)
        (event,) = [one for one in cluster.all(Event) if one.reason == "VolumeFolderLeft"]
        assert node in event.message


def test_the_volume_of_a_node_that_is_gone_for_ever_goes_without_its_folder() -> None:
    run_simulated(6, gone_for_ever)


async def other_node() -> None:
    async with SimulatedCluster(7, nodes=2) as cluster:
        first = "node-0"
        await cluster.until(lambda: len(cluster.all(Node)) == 2, 60)
        annotations = {"kubelite.io/local-storage-path": None}
        await cluster.client.patch(Node, first, {"metadata": {"annotations": annotations}})
        await cluster.client.patch(Node, "node-1", {"spec": {"unschedulable": True}})
        await cluster.create(PersistentVolumeClaim, claim("data"))
        await cluster.create(Pod, pod("user", "data"))
        await cluster.until(
            lambda: any(one.reason == "ProvisioningFailed" for one in cluster.all(Event)), 120
        )
        await cluster.client.patch(Node, first, {"spec": {"unschedulable": True}})
        await cluster.client.patch(Node, "node-1", {"spec": {"unschedulable": False}})
        seconds = await cluster.until(lambda: is_running(cluster, 1), 300)
        assert cluster.all(Pod)[0].spec.nodeName == "node-1"
        assert seconds < 120  # far less than the scheduler's patience with a claim


def test_a_failed_node_is_left_for_another_without_waiting_for_the_binding_to_time_out() -> None:
    run_simulated(7, other_node)
