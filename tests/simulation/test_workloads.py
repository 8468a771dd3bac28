import asyncio
from typing import Any

from kubelite.api.kinds.apps import ControllerRevision, DaemonSet, StatefulSet
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated

LABELS = {"app": "db"}


def workload(image: str = "db:1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "db"},
        "spec": {
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {
                    "terminationGracePeriodSeconds": 3,
                    "containers": [{"name": "db", "image": image}],
                },
            },
            **spec,
        },
    }


def set_image(image: str) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [{"name": "db", "image": image}]}}}}


def images(cluster: SimulatedCluster) -> list[str]:
    return [pod.spec.containers[0].image for pod in cluster.all(Pod)]


async def stateful_story() -> None:
    async with SimulatedCluster(5, nodes=2) as cluster:
        started: list[str] = []
        cluster.mirrors.mirror(Pod).subscribe(
            lambda before, after: (
                started.append(after.metadata.name) if before is None and after else None
            )
        )
        await cluster.create(StatefulSet, workload(replicas=3, serviceName="db"))

        def is_done(image: str, replicas: int) -> bool:
            status = cluster.all(StatefulSet)[0].status
            return (
                status.readyReplicas == status.updatedReplicas == status.replicas == replicas
                and images(cluster) == [image] * replicas
                and status.currentRevision == status.updateRevision
            )

        await cluster.until(lambda: is_done("db:1", 3))
        assert started == ["db-0", "db-1", "db-2"]
        (first,) = [pod for pod in cluster.all(Pod) if pod.metadata.name == "db-0"]
        assert (first.spec.hostname, first.spec.subdomain) == ("db-0", "db")
        assert first.metadata.labels["apps.kubernetes.io/pod-index"] == "0"
        started.clear()
        await cluster.client.patch(
            StatefulSet, "db", set_image("db:2"), "default", patch_type="strategic"
        )
        await cluster.until(lambda: is_done("db:2", 3))
        assert started == ["db-2", "db-1", "db-0"]
        assert sorted(one.revision for one in cluster.all(ControllerRevision)) == [1, 2]
        await cluster.client.patch(
            StatefulSet, "db", set_image("db:1"), "default", patch_type="strategic"
        )
        await cluster.until(lambda: is_done("db:1", 3))
        assert sorted(one.revision for one in cluster.all(ControllerRevision)) == [2, 3]
        await cluster.client.patch(StatefulSet, "db", {"spec": {"replicas": 1}}, "default")
        await cluster.until(lambda: is_done("db:1", 1))
        assert [pod.metadata.name for pod in cluster.all(Pod)] == ["db-0"]


def test_a_stateful_set_goes_in_order_up_back_and_down() -> None:
    run_simulated(5, stateful_story)


async def daemon_story() -> None:
    async with SimulatedCluster(6, nodes=3) as cluster:
        await cluster.create(DaemonSet, workload())

        def is_done(image: str, nodes: int) -> bool:
            status = cluster.all(DaemonSet)[0].status
            return (
                status.desiredNumberScheduled == status.numberAvailable == nodes
                and status.updatedNumberScheduled == nodes
                and images(cluster) == [image] * nodes
            )

        await cluster.until(lambda: is_done("db:1", 3))
        assert {pod.spec.nodeName for pod in cluster.all(Pod)} == set(cluster.nodes)
        await cluster.add_node("late")
        await cluster.until(lambda: is_done("db:1", 4))
        fewest = 4

        async def watch() -> None:
            nonlocal fewest
            while True:
                fewest = min(fewest, cluster.all(DaemonSet)[0].status.numberAvailable)
                await asyncio.sleep(0.1)

        watching = asyncio.ensure_future(watch())
        await cluster.client.patch(
            DaemonSet, "db", set_image("db:2"), "default", patch_type="strategic"
        )
        await cluster.until(lambda: is_done("db:2", 4))
        watching.cancel()
        assert fewest == 3
        await cluster.client.patch(Node, "late", {"spec": {"unschedulable": True}})
        await asyncio.sleep(30)
        assert is_done("db:2", 4)
        taint = {"key": "gone", "effect": "NoExecute"}
        await cluster.client.patch(Node, "late", {"spec": {"taints": [taint]}})
        await cluster.until(lambda: is_done("db:2", 3))


def test_a_daemon_set_follows_the_nodes() -> None:
    run_simulated(6, daemon_story)
