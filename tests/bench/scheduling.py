"""A Deployment of many pods on simulated nodes: the real control plane, scheduler and kubelets in one process."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvloop

from bench.lag import LagMeter
from bench.report import Figure
from kubelite import collector
from kubelite.api.auth.caller import AUTHENTICATED, Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.protocol import Mirror
from kubelite.api.kinds.apps import Deployment, DeploymentSpec
from kubelite.api.kinds.core.containers import Container, ResourceRequirements
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodTemplateSpec
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.clock import SystemClock
from kubelite.config import Config
from kubelite.control import CONTROLLERS
from kubelite.control.options import Options
from kubelite.control.runtime import Runtime
from kubelite.control.scheduler.scheduler import Scheduler
from kubelite.control_plane import ControlPlane
from kubelite.node.simulated.network import AddressPool
from kubelite.node.simulated.node import SharedPods, SimulatedNode
from kubelite.node.simulated.runtime import Behaviour
from kubelite.offload import AtOnce
from kubelite.randomness import SystemRandomness
from kubelite.store.embedded import EmbeddedStore

NODES = 100
PODS = 1000
LABELS = {"app": "many"}
AT_ONCE = Behaviour(start_seconds=(0.0, 0.0), pull_seconds=(0.0, 0.0))


def measure(folder: Path) -> Iterator[Figure]:
    """Create the Deployment and wait for its pods, in a process as a server is."""
    collector.pause()
    yield from uvloop.run(_measure(folder / "db"))


async def _measure(path: Path) -> list[Figure]:
    async with _cluster(path) as plane:
        client = plane.client(Caller("admin", ("system:masters",)), "bench")
        nodes, pods = client.mirror(Node), client.mirror(Pod)
        await _ready(nodes)
        collector.resume()
        await asyncio.sleep(1)
        seen: dict[str, float] = {}
        counts = {"created": 0, "bound": 0, "running": 0}
        complete = asyncio.Event()

        def changed(before: Pod | None, after: Pod | None) -> None:
            if after is None or after.metadata.labels.get("app") != LABELS["app"]:
                return
            reached = (
                ("created", True),
                ("bound", bool(after.spec.nodeName)),
                ("running", after.status.phase == "Running"),
            )
            known = (
                before is not None,
                before is not None and bool(before.spec.nodeName),
                before is not None and before.status.phase == "Running",
            )
            for (name, now), already in zip(reached, known, strict=True):
                if now and not already:
                    counts[name] += 1
                    if counts[name] == PODS:
                        seen[name] = time.perf_counter()
            if counts["running"] == PODS:
                complete.set()

        pods.subscribe(changed)
        with LagMeter() as lag:
            started, used = time.perf_counter(), time.process_time()
            await client.create(_deployment())
            async with asyncio.timeout(180):
                await complete.wait()
            used = time.process_time() - used
        rates = [
            Figure(
                f"scheduling: {PODS} pods {name}, {NODES} nodes",
                PODS / (seen[name] - started),
                "/s",
                aim,
            )
            for name, aim in (("created", ""), ("bound", ">= 155"), ("running", ""))
        ]
        return [
            *rates,
            Figure("scheduling: CPU per pod, created to Running", used / PODS * 1e3, "ms"),
            Figure("scheduling: loop lag, p99", lag.p99_ms, "ms", "< 10"),
            Figure("scheduling: loop lag, longest", lag.longest_ms, "ms"),
        ]


async def _ready(nodes: Mirror[Node]) -> None:
    """Wait until all nodes are ready."""
    complete = asyncio.Event()

    def changed(_before: Node | None, _after: Node | None) -> None:
        ready = [
            node
            for node in nodes.list()
            if any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)
        ]
        if len(ready) == NODES:
            complete.set()

    end = nodes.subscribe(changed)
    changed(None, None)
    async with asyncio.timeout(60):
        await complete.wait()
    end()


@asynccontextmanager
async def _cluster(path: Path) -> AsyncIterator[ControlPlane]:
    clock, randomness = SystemClock(), SystemRandomness()
    store = await EmbeddedStore.open(path, clock=clock)
    async with AsyncExitStack() as running:
        running.push_async_callback(store.close)
        plane = ControlPlane(
            store,
            clock=clock,
            randomness=randomness,
            signing_keys=[new_key()],
            certificates=ClientCertificates((), clock),
            config=Config(),
        )
        await plane.bootstrap("10.0.0.1", 6443)
        runtime = Runtime(
            CONTROLLERS,
            client_for=plane.controller_client,
            mirrors=plane.client(_component("system:kube-controller-manager"), "bench"),
            clock=clock,
            offload=AtOnce(),
            randomness=randomness,
            options=Options(cluster_ca="PEM"),
        )
        await runtime.start()
        running.push_async_callback(runtime.stop)
        client = plane.client(_component("system:kube-scheduler"), "bench")
        scheduler = Scheduler(
            client=client,
            mirrors=client,
            clock=clock,
            randomness=randomness,
            offload=AtOnce(),
        )
        await scheduler.start()
        running.push_async_callback(scheduler.stop)
        shared = SharedPods(plane.client(Caller("admin", ("system:masters",)), "bench"))
        for number in range(NODES):
            name = f"node-{number}"
            node = SimulatedNode(
                name,
                plane.client(Caller(f"system:node:{name}", ("system:nodes", AUTHENTICATED)), name),
                clock,
                randomness,
                behaviour=AT_ONCE,
                pool=AddressPool(skip=(number + 1) * 256),
                address=f"10.0.1.{number + 1}",
                pods=shared.node(name),
            )
            await node.start()
            running.push_async_callback(node.stop)
        yield plane


def _component(user: str) -> Caller:
    return Caller(user, (AUTHENTICATED,))


def _deployment() -> Deployment:
    container = Container(
        name="work",
        image="work:1",
        resources=ResourceRequirements(requests={"cpu": "10m", "memory": "16Mi"}),
    )
    return Deployment(
        metadata=ObjectMeta(name="many", namespace="default"),
        spec=DeploymentSpec(
            replicas=PODS,
            selector=LabelSelector(matchLabels=LABELS),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels=LABELS), spec=PodSpec(containers=[container])
            ),
        ),
    )
