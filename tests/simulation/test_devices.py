"""Devices over crashes at any moment: no device is given out twice, and none stays lost."""

import asyncio
from typing import Any

import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import (
    DeviceClass,
    ResourceClaim,
    ResourceClaimTemplate,
    ResourceSlice,
)
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated

DRIVER = "gpu.example.com"
NODES, EACH = 3, 2


def slice_of(node: str) -> dict[str, Any]:
    devices = [
        {"name": f"{node}-gpu-{number}", "attributes": {"index": {"int": number}}}
        for number in range(EACH)
    ]
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    return {
        "metadata": {"name": node, "namespace": ""},
        "spec": {"driver": DRIVER, "nodeName": node, "pool": pool, "devices": devices},
    }


def template(*expressions: str) -> dict[str, Any]:
    selectors = [{"cel": {"expression": one}} for one in expressions]
    exactly = {"deviceClassName": "gpu", "selectors": selectors}
    request = {"name": "gpu", "exactly": exactly}
    return {"metadata": {"name": "gpu"}, "spec": {"spec": {"devices": {"requests": [request]}}}}


def pod(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "c:1"}],
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu"}],
        },
    }


async def offer(cluster: SimulatedCluster) -> None:
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    body = {"metadata": {"name": "gpu", "namespace": ""}, "spec": {"selectors": [selector]}}
    await cluster.create(DeviceClass, body)
    for name in cluster.nodes:
        await cluster.create(ResourceSlice, slice_of(name))
    await cluster.create(ResourceClaimTemplate, template())


def given(cluster: SimulatedCluster) -> dict[str, str]:
    """Return the device of each pod that has reserved one; asserts that no device has two claims."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for claim in cluster.all(ResourceClaim):
        if claim.status.allocation is None:
            continue
        (result,) = claim.status.allocation.devices.results
        assert result.device not in seen
        seen.add(result.device)
        for user in claim.status.reservedFor:
            found[user.name] = result.device
    return found


def placed(cluster: SimulatedCluster) -> dict[str, str]:
    return {one.metadata.name: one.spec.nodeName for one in cluster.all(Pod) if one.spec.nodeName}


async def crashes(seed: int) -> None:
    async with SimulatedCluster(seed, nodes=NODES) as cluster:
        await offer(cluster)
        names = [f"p{number}" for number in range(NODES * EACH + 2)]
        for name in names:
            await cluster.create(Pod, pod(name))
        for _ in range(3):
            await asyncio.sleep(cluster.random.random())
            await cluster.restart()
        await cluster.until(lambda: len(placed(cluster)) == NODES * EACH, 1200)
        first = given(cluster)
        nodes = placed(cluster)
        assert {name: device.rpartition("-gpu-")[0] for name, device in first.items()} == nodes
        for name in list(nodes)[:3]:
            await cluster.client.delete(Pod, name, "default", grace_seconds=0)
        await cluster.until(lambda: len(placed(cluster)) == NODES * EACH - 1, 1200)
        assert set(given(cluster)) == set(placed(cluster))


@pytest.mark.parametrize("seed", range(3))
def test_devices_over_crashes(seed: int) -> None:
    run_simulated(seed, lambda: crashes(seed))


def ready(cluster: SimulatedCluster) -> set[str]:
    return {
        one.metadata.name
        for one in cluster.all(Pod)
        if any(each.type == "Ready" and each.status == "True" for each in one.status.conditions)
    }


async def runs(seed: int) -> None:
    async with SimulatedCluster(seed, nodes=1) as cluster:
        await offer(cluster)
        names = [f"p{number}" for number in range(EACH + 1)]
        for name in names:
            await cluster.create(Pod, pod(name))
        await cluster.until(lambda: len(ready(cluster)) == EACH, 600)
        first = ready(cluster)
        [waiting] = set(names) - first
        assert set(given(cluster)) == first
        await cluster.client.delete(Pod, min(first), "default")
        await cluster.until(lambda: waiting in ready(cluster), 600)
        assert set(given(cluster)) == ready(cluster)


@pytest.mark.parametrize("seed", range(2))
def test_pods_with_claims_run_one_after_the_other(seed: int) -> None:
    run_simulated(seed, lambda: runs(seed))
