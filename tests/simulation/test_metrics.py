"""metrics.k8s.io in a whole cluster, through the client that components use."""

from typing import Any

import pytest

from kubelite.api.errors import Forbidden, NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.quantity import parse_quantity
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated


def pod(name: str, cpu: str) -> dict[str, Any]:
    container = {"name": "main", "image": "c:1", "resources": {"requests": {"cpu": cpu}}}
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }


async def metrics_story() -> None:
    async with SimulatedCluster(7, nodes=2) as cluster:
        for name, cpu in (("small", "200m"), ("large", "1")):
            await cluster.create(Pod, pod(name, cpu))
        await cluster.until(
            lambda: (
                all(one.status.phase == "Running" for one in cluster.all(Pod))
                and len(cluster.all(Pod)) == 2
            )
        )
        of_pods = cluster.client.resource("metrics.k8s.io", "v1beta1", "pods")
        of_nodes = cluster.client.resource("metrics.k8s.io", "v1beta1", "nodes")
        listed = await of_pods.list("default")
        cores = {
            one["metadata"]["name"]: float(
                parse_quantity(one["containers"][0]["usage"]["cpu"]).milli_value()
            )
            for one in listed
        }
        assert cores == {"small": pytest.approx(100, abs=2), "large": pytest.approx(500, abs=2)}
        (selected,) = await of_pods.list("default", label_selector="app=large")
        assert selected["metadata"]["name"] == "large"
        (selected,) = await of_pods.list(field_selector="metadata.name=small")
        assert selected["metadata"]["name"] == "small"
        assert (await of_pods.get("small", "default"))["kind"] == "PodMetrics"
        with pytest.raises(NotFound, match=r'pods.metrics.k8s.io "none" not found'):
            await of_pods.get("none", "default")
        assert [one["metadata"]["name"] for one in await of_nodes.list()] == ["node-0", "node-1"]
        stranger = cluster.client_of("stranger").resource("metrics.k8s.io", "v1beta1", "pods")
        with pytest.raises(Forbidden):
            await stranger.list("default")


def test_components_read_usage_like_any_resource() -> None:
    run_simulated(7, metrics_story)
