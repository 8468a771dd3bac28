"""A day of load: an autoscaler follows it over simulated hours, with the rights that its role gives."""

import asyncio
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from fakes.metrics import FakeMetrics, pod_metrics

from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.autoscaling_v2 import HorizontalPodAutoscaler
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated
from simulation.stories import workload

REQUEST_MILLI, TARGET_PERCENT = 100, 50
LEAST, MOST = 2, 12


class Load:
    """Spreads a total of CPU over the pods that run, no pod beyond a whole core."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.milli = 0

    def answer(self, path: str, parameters: Mapping[str, str]) -> Any:
        assert path == "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"
        assert parameters == {"labelSelector": "app=web"}
        running = [one for one in self.cluster.all(Pod) if one.status.phase == "Running"]
        at = format_time(self.cluster.clock.now())
        share = min(1000, self.milli // max(1, len(running)))
        return {
            "items": [pod_metrics(one.metadata.name, at=at, cpu=f"{share}m") for one in running]
        }


async def day_of_load() -> None:
    metrics = FakeMetrics()
    async with SimulatedCluster(11, nodes=3, delegated=metrics) as cluster:
        load = Load(cluster)
        metrics.answer = load.answer
        body = workload("web", replicas=2)
        (container,) = body["spec"]["template"]["spec"]["containers"]
        container["resources"] = {"requests": {"cpu": f"{REQUEST_MILLI}m"}}
        await cluster.create(Deployment, body)
        await asyncio.sleep(600)
        target = {"type": "Utilization", "averageUtilization": TARGET_PERCENT}
        await cluster.create(
            HorizontalPodAutoscaler,
            {
                "metadata": {"name": "web"},
                "spec": {
                    "scaleTargetRef": {
                        "apiVersion": "apps/v1",
                        "kind": "Deployment",
                        "name": "web",
                    },
                    "minReplicas": LEAST,
                    "maxReplicas": MOST,
                    "metrics": [
                        {"type": "Resource", "resource": {"name": "cpu", "target": target}}
                    ],
                },
            },
        )
        sizes: list[int] = []
        cluster.mirrors.mirror(Deployment).subscribe(
            lambda _, after: sizes.append(after.spec.replicas or 0) if after else None
        )
        started = cluster.loop.time()

        def running() -> int:
            return sum(one.status.phase == "Running" for one in cluster.all(Pod))

        for hour, milli in enumerate((80, 250, 550, 5000, 300, 0)):
            load.milli = milli
            await asyncio.sleep(3600)
            wanted = math.ceil(milli / (REQUEST_MILLI * TARGET_PERCENT / 100))
            (found,) = cluster.all(Deployment)
            replicas = found.spec.replicas or 0
            # Within the tolerance of the target a size may be kept.
            low, high = (max(LEAST, min(MOST, round(wanted * by))) for by in (0.9, 1.15))
            assert low <= replicas <= high, f"hour {hour}: {replicas} for {milli}m"
            assert running() == replicas
        assert all(LEAST <= size <= MOST for size in sizes)
        for before, after in pairwise(sizes):
            assert after <= max(2 * before, 4), "no more than twice as many at once"
        (autoscaler,) = cluster.all(HorizontalPodAutoscaler)
        conditions = {one.type: one.status for one in autoscaler.status.conditions}
        assert conditions == {
            "AbleToScale": "True",
            "ScalingActive": "True",
            "ScalingLimited": "True",
        }
        users = {user for user, _ in metrics.asked}
        assert users == {"system:serviceaccount:kube-system:horizontal-pod-autoscaler"}
        # About one evaluation in 15 s, and one more for each change.
        assert len(metrics.asked) <= (cluster.loop.time() - started) / 15 + 5 * len(sizes) + 50
        await cluster.client.delete(HorizontalPodAutoscaler, "web", "default")
        await asyncio.sleep(60)
        before_rest = len(metrics.asked)
        await asyncio.sleep(3600)
        assert len(metrics.asked) == before_rest


def test_pods_follow_a_day_of_load() -> None:
    run_simulated(11, day_of_load)
