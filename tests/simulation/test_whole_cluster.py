import asyncio
from typing import Any

import pytest

from kubelite.api.errors import Conflict, NotFound
from kubelite.api.kinds.apps import Deployment, ReplicaSet
from kubelite.api.kinds.core.endpoints import Endpoints
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from simulation.cluster import SimulatedCluster
from simulation.invariants import faults
from simulation.simulated_loop import run_simulated

LABELS = {"app": "web"}


def deployment(replicas: int, image: str = "web:1") -> dict[str, Any]:
    return {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [
                        {
                            "name": "web",
                            "image": image,
                            "ports": [{"containerPort": 80}],
                            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                        }
                    ],
                },
            },
        },
    }


def is_rolled_out(cluster: SimulatedCluster, replicas: int) -> bool:
    (one,) = cluster.all(Deployment)
    status = one.status
    return (
        status.observedGeneration == one.metadata.generation
        and status.availableReplicas == status.updatedReplicas == status.replicas == replicas
    )


async def story(seed: int) -> list[tuple[str, str, str]]:
    """Deploy, disturb by seed, and check that everything comes right again; return where the pods are in the end."""
    async with SimulatedCluster(seed, nodes=4) as cluster:
        await cluster.create(Deployment, deployment(12))
        await cluster.create(
            Service,
            {"metadata": {"name": "web"}, "spec": {"selector": LABELS, "ports": [{"port": 80}]}},
        )
        await cluster.until(lambda: is_rolled_out(cluster, 12))
        assert faults(cluster) == []
        replicas = 12
        for number in range(6):
            replicas = await disturb(cluster, number, replicas)
            await asyncio.sleep(cluster.random.uniform(0, 60))
        await cluster.until(lambda: is_rolled_out(cluster, replicas), seconds=3000)
        await cluster.until(lambda: faults(cluster) == [])
        ready = {
            pod.status.podIP for pod in cluster.all(Pod) if pod.metadata.deletionTimestamp is None
        }
        slices = [
            one
            for one in cluster.all(EndpointSlice, "default")
            if one.metadata.name != "kubernetes"
        ]
        served = {
            address
            for one in slices
            for endpoint in one.endpoints
            if endpoint.conditions.ready
            for address in endpoint.addresses
        }
        assert served == ready
        (endpoints,) = [one for one in cluster.all(Endpoints) if one.metadata.name == "web"]
        assert {one.ip for part in endpoints.subsets for one in part.addresses} == ready
        return sorted(
            (pod.metadata.name, pod.spec.nodeName, pod.status.podIP) for pod in cluster.all(Pod)
        )


async def disturb(cluster: SimulatedCluster, number: int, replicas: int) -> int:
    """Do something bad, or just something; return the wanted number."""
    deed = cluster.random.choice(["pods", "node", "scale", "image", "gone"])
    if deed == "pods":
        pods = list(cluster.all(Pod))
        for pod in cluster.random.sample(pods, k=min(3, len(pods))):
            try:
                await cluster.client.delete(Pod, pod.metadata.name, "default")
            except (NotFound, Conflict):
                continue
    elif deed in ("node", "gone") and len(cluster.nodes) > 2:
        name = cluster.random.choice(sorted(cluster.nodes))
        await cluster.lose_node(name)
        await cluster.add_node(f"spare-{number}")
        if deed == "gone":
            await cluster.client.delete(Node, name)
    elif deed == "scale":
        replicas = cluster.random.randint(1, 20)
        await cluster.client.patch(Deployment, "web", {"spec": {"replicas": replicas}}, "default")
    else:
        containers = [{"name": "web", "image": f"web:{number + 2}"}]
        patch = {"spec": {"template": {"spec": {"containers": containers}}}}
        await cluster.client.patch(Deployment, "web", patch, "default", patch_type="strategic")
    return replicas


@pytest.mark.parametrize("seed", range(6))
def test_a_disturbed_deployment_comes_right_again(seed: int) -> None:
    assert run_simulated(seed, lambda: story(seed))


def test_a_seed_tells_the_same_story_twice() -> None:
    assert run_simulated(3, lambda: story(3)) == run_simulated(3, lambda: story(3))


async def family_story() -> None:
    async with SimulatedCluster(1, nodes=2) as cluster:
        await cluster.create(Deployment, deployment(3))
        await cluster.until(lambda: is_rolled_out(cluster, 3))
        await cluster.client.delete(Deployment, "web", "default", propagation="Foreground")
        assert len(cluster.all(Deployment)) == 1
        await cluster.until(lambda: not cluster.all(Deployment), seconds=60)
        assert not cluster.all(ReplicaSet)
        assert not cluster.all(Pod)


def test_foreground_deletion_waits_for_the_last_pod() -> None:
    run_simulated(1, family_story)


async def namespace_story() -> None:
    async with SimulatedCluster(2, nodes=1) as cluster:
        await cluster.client.create(Namespace(metadata=ObjectMeta(name="work")))
        body = deployment(2)
        body["metadata"]["namespace"] = "work"
        await cluster.create(Deployment, body)
        await cluster.until(lambda: any(p.status.phase == "Running" for p in cluster.all(Pod)), 60)
        assert any(one.metadata.namespace == "work" for one in cluster.all(ServiceAccount))
        await cluster.client.delete(Namespace, "work")
        await cluster.until(lambda: "work" not in names_of(cluster), seconds=120)
        assert not cluster.all(Pod)
        assert not cluster.all(Deployment)
        assert not [one for one in cluster.all(ServiceAccount) if one.metadata.namespace == "work"]


def names_of(cluster: SimulatedCluster) -> list[str]:
    return [one.metadata.name for one in cluster.all(Namespace)]


def test_a_namespace_goes_with_all_that_is_in_it() -> None:
    run_simulated(2, namespace_story)
