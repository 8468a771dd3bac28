"""A whole cluster in virtual time: the real control plane and real kubelets, over simulated engines."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from kubelite.api.auth.caller import AUTHENTICATED, Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.local import LocalClient
from kubelite.api.kinds.apps import Deployment, ReplicaSet
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.model import Kind
from kubelite.config import Config
from kubelite.control import CONTROLLERS
from kubelite.control.options import Options
from kubelite.control.pods import is_active, is_terminal
from kubelite.control.runtime import Runtime
from kubelite.control.scheduler.scheduler import Scheduler
from kubelite.control_plane import ControlPlane, ServedResources
from kubelite.node.simulated import AddressPool, Behaviour, SimulatedNode
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine
from simulation.simulated_loop import SimulatedClock, SimulatedLoop

K = TypeVar("K", bound=Kind)

SIGNING_KEY = new_key()


class SimulatedCluster:
    """Use as an async context; `nodes` simulated nodes join at the start."""

    def __init__(
        self,
        seed: int,
        *,
        nodes: int = 3,
        behaviour: Behaviour | None = None,
        controllers: bool = True,
    ) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        self.loop = loop
        self.random = loop.random
        self.clock = SimulatedClock(loop)
        self.randomness = SeededRandomness(seed)
        self.store = EmbeddedStore(MemoryEngine(), clock=self.clock)
        self.plane = ControlPlane(
            self.store,
            clock=self.clock,
            randomness=self.randomness,
            signing_keys=[SIGNING_KEY],
            certificates=ClientCertificates((), self.clock),
            config=Config(),
        )
        self.mirrors = self.plane.mirrors
        self.client = self.plane.client(Caller("admin", ("system:masters",)), "test")
        self.behaviour = behaviour or Behaviour()
        self.nodes: dict[str, SimulatedNode] = {}
        self._joined = 0
        self._first_nodes = nodes
        self._with_controllers = controllers
        manager = self.client_of("system:kube-controller-manager")
        self.runtime = Runtime(
            CONTROLLERS,
            client_for=self.plane.controller_client,
            mirrors=manager,
            clock=self.clock,
            randomness=self.randomness,
            options=Options(cluster_ca="PEM", resources=ServedResources(self.plane.resources)),
        )
        self._scheduler: Scheduler | None = None

    @property
    def scheduler(self) -> Scheduler:
        assert self._scheduler is not None
        return self._scheduler

    def client_of(self, user: str, *groups: str) -> LocalClient:
        """Return a client of some identity."""
        return self.plane.client(Caller(user, (*groups, AUTHENTICATED)), user)

    async def __aenter__(self) -> "SimulatedCluster":
        await self.plane.bootstrap("10.0.0.1", 6443)
        scheduler = self.client_of("system:kube-scheduler")
        self._scheduler = Scheduler(
            client=scheduler, mirrors=scheduler, clock=self.clock, randomness=self.randomness
        )
        if self._with_controllers:
            await self.runtime.start()
        await self.scheduler.start()
        for number in range(self._first_nodes):
            await self.add_node(f"node-{number}")
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes.values():
            await node.stop()
        await self.scheduler.stop()
        await self.runtime.stop()

    async def add_node(self, name: str) -> SimulatedNode:
        """Let a node join."""
        client = self.client_of(f"system:node:{name}", "system:nodes")
        self._joined += 1
        node = SimulatedNode(
            name,
            client,
            self.clock,
            self.randomness,
            behaviour=self.behaviour,
            pool=AddressPool(skip=self._joined * 256),
        )
        self.nodes[name] = node
        await node.start()
        return node

    async def lose_node(self, name: str) -> None:
        """Let a node fall silent, with all its containers."""
        await self.nodes.pop(name).crash()

    async def create(self, kind: type[K], body: dict[str, Any]) -> K:
        """Create an object from its JSON."""
        body = {**body, "metadata": {"namespace": "default", **body.get("metadata", {})}}
        return await self.client.create(msgspec.convert(body, kind))

    def all(self, kind: type[K], namespace: str = "") -> Sequence[K]:
        """Return all objects of a kind."""
        return self.mirrors.mirror(kind).list(namespace)

    async def until(
        self, done: Callable[[], Any], seconds: float = 600.0, step: float = 1.0
    ) -> float:
        """Let time pass until `done()`; return how many seconds it took."""
        started = self.loop.time()
        while not done():
            assert self.loop.time() - started < seconds, f"not done after {seconds} s"
            await asyncio.sleep(step)
        return self.loop.time() - started

    def faults(self) -> list[str]:
        """Return which invariants do not hold."""
        return [*self._owner_faults(), *self._address_faults(), *self._count_faults()]

    def _owner_faults(self) -> list[str]:
        owned: list[ReplicaSet | Pod] = [*self.all(ReplicaSet), *self.all(Pod)]
        uids = {item.metadata.uid for item in (*self.all(Deployment), *owned)}
        return [
            f"{item.gvk.kind} {item.metadata.name} has an owner that does not exist"
            for item in owned
            for reference in item.metadata.ownerReferences
            if reference.uid not in uids
        ]

    def _address_faults(self) -> list[str]:
        addresses = Counter(
            pod.status.podIP
            for pod in self.all(Pod)
            if pod.status.podIP and not is_terminal(pod) and pod.spec.nodeName in self.nodes
        )
        return [f"{address} is used {n} times" for address, n in addresses.items() if n > 1]

    def _count_faults(self) -> list[str]:
        faults = []
        for one in self.all(ReplicaSet):
            pods = [
                pod
                for pod in self.all(Pod, one.metadata.namespace)
                if is_active(pod)
                and any(ref.uid == one.metadata.uid for ref in pod.metadata.ownerReferences)
            ]
            wanted = 1 if one.spec.replicas is None else one.spec.replicas
            if len(pods) != wanted or one.status.replicas != wanted:
                faults.append(
                    f"{one.metadata.name} wants {wanted}, has {len(pods)}, says {one.status.replicas}"
                )
        return faults
