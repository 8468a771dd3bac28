"""A story by seed: workloads run while disk, process, nodes and clock misbehave; then all comes right."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from kubelite.api.errors import AlreadyExists, Conflict, NotFound, ServiceUnavailable
from kubelite.api.kinds.apps import DaemonSet, Deployment, StatefulSet
from kubelite.api.kinds.batch import Job
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.policy import PodDisruptionBudget
from kubelite.node.simulated.runtime import Behaviour
from kubelite.store.protocol import Change
from simulation.cluster import SimulatedCluster
from simulation.invariants import faults

LEASES = "/leases.coordination.k8s.io/"
DEEDS_MAX = 8
PATIENCE_SECONDS = 300
# Nodes are given up after 40 s, their pods after 300 s more; failed starts back off up to 300 s.
QUIET_SECONDS = 5000.0
FAULTY = Behaviour(
    start_seconds=(0.05, 5.0), start_failures=0.1, crashes=0.05, ignores_termination=0.2
)


def pod_template(app: str, *command: str, image: str = "app:1", **spec: Any) -> dict[str, Any]:
    container = {"name": "app", "image": image, "command": list(command)}
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": [container], **spec},
    }


def workload(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": pod_template(name),
            **spec,
        },
    }


class Story:
    """What a user and bad luck do to a cluster."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.random = cluster.random
        self._away: list[str] = []
        self._jobs = 0
        self._images = 1

    async def insist(self, write: Callable[[], Awaitable[object]]) -> None:
        """Do a write as a patient user does: again until it is done or has turned out to be."""
        for _ in range(PATIENCE_SECONDS):
            try:
                await write()
            except (AlreadyExists, NotFound):
                return
            except (Conflict, ServiceUnavailable):
                await asyncio.sleep(1)
            else:
                return
        raise AssertionError(f"nothing can be written for {PATIENCE_SECONDS} s")

    async def begin(self) -> None:
        """Create workloads of all sorts."""
        cluster = self.cluster
        for write in (
            lambda: cluster.create(Deployment, workload("web", replicas=6)),
            lambda: cluster.create(StatefulSet, workload("db", replicas=3, serviceName="db")),
            lambda: cluster.create(DaemonSet, workload("agent")),
            lambda: self._service("web"),
            lambda: self._service("db"),
            lambda: cluster.create(
                PodDisruptionBudget,
                {
                    "metadata": {"name": "web"},
                    "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
                },
            ),
        ):
            await self.insist(write)
        await self.start_job()

    async def _service(self, name: str) -> object:
        body = {
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
        }
        return await self.cluster.create(Service, body)

    async def disturb(self) -> None:
        """Do something that the seed chooses."""
        deeds = (
            self.restart, self.restart, self.delete_pods, self.lose_node, self.disconnect_node, self.reboot_node,
            self.scale, self.set_image, self.jump, self.start_job, self.refuse_writes, self.replace_service,
        )  # fmt: skip
        await self.random.choice(deeds)()

    async def restart(self) -> None:
        await self.cluster.restart(away_seconds=self.random.choice((0.0, 1.0, 60.0)))

    async def refuse_writes(self) -> None:
        disk = self.cluster.disk
        disk.refused, disk.unsure = self.random.choice(((0.3, 0.0), (0.0, 0.3), (0.2, 0.2)))
        await asyncio.sleep(self.random.uniform(1, 60))
        disk.calm()

    async def delete_pods(self) -> None:
        pods = list(self.cluster.all(Pod))
        for pod in self.random.sample(pods, k=min(3, len(pods))):
            name = pod.metadata.name
            await self.insist(lambda name=name: self.cluster.client.delete(Pod, name, "default"))  # type: ignore[misc]  # a default binds the name

    def _some_node(self) -> str | None:
        running = sorted(name for name, node in self.cluster.nodes.items() if node.is_running)
        return self.random.choice(running) if len(running) > 2 else None

    async def lose_node(self) -> None:
        """A machine is gone for good, and an administrator says so; another comes."""
        if name := self._some_node():
            await self.cluster.lose_node(name)
            await asyncio.sleep(self.random.choice((0, 30, 500)))
            await self.insist(lambda: self.cluster.client.delete(Node, name))
            await self.cluster.add_node(f"spare-{self.cluster.joined}")

    async def disconnect_node(self) -> None:
        """A node agent is silent for a while; its containers go on."""
        if name := self._some_node():
            await self.cluster.nodes[name].stop()
            self._away.append(name)

    async def reboot_node(self) -> None:
        """A machine loses power and comes back at once or later."""
        if name := self._some_node():
            await self.cluster.nodes[name].crash()
            self._away.append(name)

    async def bring_back(self) -> None:
        for name in self._away:
            if name in self.cluster.nodes and not self.cluster.nodes[name].is_running:
                await self.cluster.reconnect(self.cluster.nodes[name])
        self._away.clear()

    async def scale(self) -> None:
        kind, name = self.random.choice(((Deployment, "web"), (StatefulSet, "db")))
        patch = {"spec": {"replicas": self.random.randint(0, 8)}}
        await self.insist(lambda: self.cluster.client.patch(kind, name, patch, "default"))

    async def set_image(self) -> None:
        kind, name = self.random.choice(
            ((Deployment, "web"), (StatefulSet, "db"), (DaemonSet, "agent"))
        )
        self._images += 1
        patch = {"spec": {"template": pod_template(name, image=f"app:{self._images}")}}
        await self.insist(lambda: self.cluster.client.patch(kind, name, patch, "default"))

    async def jump(self) -> None:
        self.cluster.clock.jump(self.random.choice((5.0, 60.0, 3600.0)))

    async def start_job(self) -> None:
        self._jobs += 1
        seconds = str(self.random.choice((1, 20)))
        body = {
            "metadata": {"name": f"work-{self._jobs}"},
            "spec": {
                "completions": 4,
                "parallelism": 2,
                "backoffLimit": 100,
                "completionMode": self.random.choice(("Indexed", "NonIndexed")),
                "template": pod_template(
                    f"work-{self._jobs}", "sleep", seconds, restartPolicy="Never"
                ),
            },
        }
        await self.insist(lambda: self.cluster.create(Job, body))

    async def replace_service(self) -> None:
        await self.insist(lambda: self.cluster.client.delete(Service, "web", "default"))
        await self.insist(lambda: self._service("web"))

    async def end(self) -> None:
        """Let the bad luck end, and wait until all invariants hold."""
        self.cluster.disk.calm()
        await self.bring_back()
        waited = 0.0
        while found := faults(self.cluster):
            assert waited < QUIET_SECONDS, found
            await asyncio.sleep(10)
            waited += 10


async def tell(seed: int) -> None:
    """Run the story of a seed; raises AssertionError with what does not hold in the end."""
    async with SimulatedCluster(seed, nodes=4, behaviour=FAULTY) as cluster:
        story = Story(cluster)
        await story.begin()
        for _ in range(DEEDS_MAX):
            await asyncio.sleep(cluster.random.choice((0.0, 0.1, 1.0, 10.0, 100.0)))
            await story.disturb()
            if cluster.random.random() < 0.5:
                await story.bring_back()
        cluster.stop_crashes()
        await story.end()
        await cluster.restart()
        await story.end()


async def writes_while_quiet(cluster: SimulatedCluster, seconds: float) -> list[str]:
    """Let time pass in which nobody wants anything; return what is written all the same, but for leases."""
    written: list[str] = []

    def note(changes: Sequence[Change]) -> None:
        written.extend(one.key for one in changes if not one.key.startswith(LEASES))

    end = cluster.store.subscribe("/", note)
    await asyncio.sleep(seconds)
    end()
    return written
