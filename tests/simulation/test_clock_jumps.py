"""The date of all hosts jumps by hours while pods run: nothing ends, and nothing waits for the old date."""

import asyncio

import pytest

from kubelite.api.kinds.batch import CronJob, Job
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import parse_time
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated

HOUR = 3600.0


def _ready(cluster: SimulatedCluster) -> list[bool]:
    nodes = cluster.all(Node)
    return [
        any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
        for node in nodes
    ]


def _uid(cluster: SimulatedCluster, name: str) -> tuple[str, int]:
    [pod] = [pod for pod in cluster.all(Pod) if pod.metadata.name == name]
    [status] = pod.status.containerStatuses
    return pod.metadata.uid, status.restartCount


async def _begin(cluster: SimulatedCluster) -> None:
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 5}
    steady = {"name": "app", "image": "app:1", "readinessProbe": probe, "livenessProbe": probe}
    failing = {"name": "app", "image": "app:1", "command": ["sleep", "1"]}
    missing = {"name": "app", "image": "missing:1"}
    for name, one in (("steady", steady), ("failing", failing), ("missing", missing)):
        spec = {"nodeName": "node-0", "containers": [one]}
        await cluster.create(Pod, {"metadata": {"name": name}, "spec": spec})
    work = {"name": "work", "image": "work:1", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [work]}}
    cron = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}
    await cluster.create(CronJob, {"metadata": {"name": "tick"}, "spec": cron})
    for node in cluster.nodes.values():
        node.runtime.forbid_image("missing:1")
    await asyncio.sleep(150)


def _jobs(cluster: SimulatedCluster) -> set[str]:
    return {job.metadata.uid for job in cluster.all(Job)}


@pytest.mark.parametrize("seconds", [-3 * HOUR, -90.0, 90.0, 6 * HOUR])
def test_pods_and_nodes_go_on_over_a_jump_of_the_date(seconds: float) -> None:
    async def story() -> None:
        async with SimulatedCluster(4, nodes=1) as cluster:
            await _begin(cluster)
            steady, failing = _uid(cluster, "steady"), _uid(cluster, "failing")
            jobs = _jobs(cluster)
            assert failing[1] >= 2
            cluster.clock.jump(seconds)
            for node in cluster.nodes.values():
                node.runtime._missing.clear()
            for _ in range(100):
                await asyncio.sleep(6)
                assert _ready(cluster) == [True]
                assert not cluster.nodes["node-0"].prober.unhealthy
            assert _uid(cluster, "steady") == steady
            # No back-off is longer than five minutes, whatever the date.
            again = _uid(cluster, "failing")
            assert again[0] == failing[0]
            assert again[1] >= failing[1] + 2
            assert _uid(cluster, "missing")[1] == 0
            [pod] = [pod for pod in cluster.all(Pod) if pod.metadata.name == "missing"]
            assert pod.status.phase == "Running"
            # A date that was scheduled once is not scheduled again, so after a jump back a CronJob waits, as upstream.
            assert bool(_jobs(cluster) - jobs) is (seconds > -HOUR)

    run_simulated(4, story)


def test_a_node_reports_its_status_in_time_after_the_date_was_set_back() -> None:
    async def story() -> None:
        async with SimulatedCluster(4, nodes=1) as cluster:
            await asyncio.sleep(700)
            cluster.clock.jump(-3 * HOUR)
            await asyncio.sleep(700)
            [node] = cluster.all(Node)
            for condition in node.status.conditions:
                assert condition.lastHeartbeatTime is not None
                age = cluster.clock.now() - parse_time(condition.lastHeartbeatTime)
                assert 0 <= age.total_seconds() <= 310

    run_simulated(4, story)
