"""The simulated nodes of a server: they register, run pods by rules, fall silent and come back, and are forgotten."""

from typing import Any

from kubelite.api.kinds.batch import Job
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.simulated.fleet import Fleet
from kubelite.node.simulated.settings import parse_simulation, planned_nodes
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated

FILE = b"""
nodes:
- {name: lost, taints: ["lost:NoSchedule"], lost: {afterSeconds: 60, forSeconds: 120}}
- {name: small, cpu: "2", pods: 7, labels: {size: small}}
pods:
- {match: {name: fails}, runSeconds: 1, exitCode: 3}
images: {missing: ["nope:*"]}
"""


def _fleet(cluster: SimulatedCluster, text: bytes) -> Fleet:
    simulation = parse_simulation(text)
    return Fleet(
        simulation,
        planned_nodes(simulation, 0),
        lambda name: cluster.client_of(f"system:node:{name}", "system:nodes"),
        cluster.client,
        cluster.clock,
        cluster.randomness,
    )


def _ready(node: Node) -> str:
    return next((one.status for one in node.status.conditions if one.type == "Ready"), "")


def _pod(name: str, image: str = "web:1") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": image}]}}


def test_a_fleet() -> None:
    async def story() -> None:
        async with SimulatedCluster(3, nodes=0) as cluster:
            nodes, pods = cluster.mirrors.mirror(Node), cluster.mirrors.mirror(Pod)
            fleet = _fleet(cluster, FILE)
            await fleet.start()

            def ready() -> list[str]:
                return sorted(one.metadata.name for one in nodes.list() if _ready(one) == "True")

            await cluster.until(lambda: ready() == ["lost-0", "small-0"])
            small = next(one for one in nodes.list() if one.metadata.name == "small-0")
            assert small.status.capacity["cpu"] == "2"
            assert small.status.allocatable["pods"] == "7"
            assert small.metadata.labels["size"] == "small"
            assert small.metadata.labels["kubelite.io/simulated"] == "true"

            for body in (_pod("web"), _pod("fails"), _pod("none", "nope:1")):
                await cluster.create(Pod, body)
            job = {"metadata": {"name": "j"}, "spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]}}}}  # fmt: skip
            await cluster.create(Job, job)

            def state(name: str) -> Any:
                pod = next(one for one in pods.list() if one.metadata.name == name)
                status = next(iter(pod.status.containerStatuses), None)
                return pod.status.phase, status

            await cluster.until(lambda: state("web")[0] == "Running")
            await cluster.until(lambda: state("fails")[1] and state("fails")[1].restartCount > 0)
            await cluster.until(lambda: state("none")[1].state.waiting.reason == "ImagePullBackOff")
            await cluster.until(lambda: [one.status.succeeded for one in cluster.all(Job)] == [1])
            web = next(one for one in pods.list() if one.metadata.name == "web")
            [assigned] = [
                one.spec.podCIDR for one in nodes.list() if one.metadata.name == "small-0"
            ]
            assert web.status.podIP.rpartition(".")[0] == assigned.rpartition(".")[0]

            assert "is simulated" in fleet.refusal("small-0")
            assert fleet.refusal("real") == ""
            await cluster.until(lambda: ready() == ["small-0"])
            await cluster.until(lambda: ready() == ["lost-0", "small-0"])
            await fleet.stop()

            other = _fleet(cluster, b"nodes: [{name: small}]")
            await other.start()
            await cluster.until(lambda: ready() == ["small-0"] and len(nodes.list()) == 1)
            await cluster.until(lambda: state("web")[0] == "Running")
            await other.stop()

    run_simulated(3, story)
