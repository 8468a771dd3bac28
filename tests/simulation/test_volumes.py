import asyncio
from typing import Any

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.storage import StorageClass
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated


def volume(name: str, size: str, class_name: str = "", node: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {
        "capacity": {"storage": size},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": class_name,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/data/{name}"},
    }
    if node:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    return {"metadata": {"name": name, "namespace": ""}, "spec": spec}


def claim(name: str, size: str, class_name: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class_name,
            "resources": {"requests": {"storage": size}},
        },
    }


def pod(name: str, claim_name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "c:1"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}],
        },
    }


def bindings(cluster: SimulatedCluster) -> dict[str, tuple[str, str]]:
    return {
        one.metadata.name: (one.status.phase, one.spec.volumeName)
        for one in cluster.all(PersistentVolumeClaim)
    }


async def story() -> None:
    async with SimulatedCluster(4, nodes=2) as cluster:
        await cluster.create(PersistentVolume, volume("small", "1Gi"))
        await cluster.create(PersistentVolume, volume("large", "10Gi"))
        await cluster.create(PersistentVolumeClaim, claim("data", "2Gi"))
        await cluster.create(PersistentVolumeClaim, claim("huge", "100Gi"))
        await asyncio.sleep(5)
        assert bindings(cluster) == {"data": ("Bound", "large"), "huge": ("Pending", "")}
        phases = {one.metadata.name: one.status.phase for one in cluster.all(PersistentVolume)}
        assert phases == {"small": "Available", "large": "Bound"}
        await cluster.create(PersistentVolume, volume("vast", "1Ti"))
        await asyncio.sleep(5)
        assert bindings(cluster)["huge"] == ("Bound", "vast")

        await cluster.create(Pod, pod("user", "data"))
        await cluster.until(lambda: cluster.all(Pod)[0].status.phase == "Running", 60)
        await cluster.client.delete(PersistentVolumeClaim, "data", "default")
        await asyncio.sleep(30)
        assert "data" in bindings(cluster)
        await cluster.client.delete(Pod, "user", "default")
        await cluster.until(lambda: "data" not in bindings(cluster), 60)
        await asyncio.sleep(5)
        phases = {one.metadata.name: one.status.phase for one in cluster.all(PersistentVolume)}
        assert phases["large"] == "Released"

        await cluster.create(
            StorageClass,
            {
                "metadata": {"name": "local", "namespace": ""},
                "provisioner": "kubernetes.io/no-provisioner",
                "volumeBindingMode": "WaitForFirstConsumer",
            },
        )
        await cluster.create(PersistentVolume, volume("near", "1Gi", "local", "node-1"))
        await cluster.create(PersistentVolumeClaim, claim("late", "1Gi", "local"))
        await asyncio.sleep(5)
        assert bindings(cluster)["late"] == ("Pending", "")
        await cluster.create(Pod, pod("consumer", "late"))
        await cluster.until(lambda: cluster.all(Pod)[0].status.phase == "Running", 60)
        assert bindings(cluster)["late"] == ("Bound", "near")
        assert cluster.all(Pod)[0].spec.nodeName == "node-1"


def test_claims_find_volumes_and_are_guarded_while_used() -> None:
    run_simulated(4, story)
