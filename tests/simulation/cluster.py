"""A whole cluster in virtual time: the real control plane and real kubelets, over simulated engines."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from kubelite.api.auth.caller import AUTHENTICATED, Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.client.elsewhere import Delegated
from kubelite.api.client.local import LocalClient
from kubelite.api.client.mirrors import Mirrors
from kubelite.api.kinds.model import Kind
from kubelite.api.registry.hooks import Hooks
from kubelite.composition import Composition, node_client
from kubelite.config import Config
from kubelite.control.options import Options
from kubelite.control.scheduler.scheduler import Scheduler
from kubelite.control_plane import ControlPlane
from kubelite.node.simulated.network import AddressPool
from kubelite.node.simulated.node import SimulatedNode
from kubelite.node.simulated.runtime import Behaviour
from kubelite.offload import AtOnce
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from simulation.faulty_engine import Disk, DiskExecutor, FaultyEngine
from simulation.simulated_loop import SimulatedClock, SimulatedLoop

K = TypeVar("K", bound=Kind)

SIGNING_KEY = new_key()
BOOT_SECONDS = 300


class SimulatedCluster:
    """Use as an async context; `nodes` simulated nodes join at the start."""

    def __init__(
        self,
        seed: int,
        *,
        nodes: int = 3,
        behaviour: Behaviour | None = None,
        controllers: bool = True,
        options: Mapping[str, Any] | None = None,
        hooks: Hooks | None = None,
        delegated: Delegated | None = None,
        config: Config | None = None,
    ) -> None:
        """`options` are further options of the controllers, as keywords; `config` is the server's."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        self.loop = loop
        self.random = loop.random
        self.clock = SimulatedClock(loop)
        self.randomness = SeededRandomness(seed)
        self.disk = Disk(seed)
        self.behaviour = behaviour or Behaviour()
        self.nodes: dict[str, SimulatedNode] = {}
        self.joined = 0
        self._first_nodes = nodes
        self._with_controllers = controllers
        self._options = dict(options or {})
        self._hooks = hooks
        self._delegated = delegated
        self._config = config or Config()
        self._process: Process | None = None

    @property
    def process(self) -> "Process":
        """The server's process that runs now."""
        assert self._process is not None
        return self._process

    @property
    def plane(self) -> ControlPlane:
        return self.process.plane

    @property
    def mirrors(self) -> Mirrors:
        return self.process.plane.mirrors

    @property
    def store(self) -> EmbeddedStore:
        return self.process.store

    @property
    def client(self) -> LocalClient:
        return self.plane.client(Caller("admin", ("system:masters",)), "test")

    @property
    def scheduler(self) -> Scheduler:
        return self.process.scheduler

    def client_of(self, user: str, *groups: str) -> LocalClient:
        """Return a client of some identity."""
        return self.process.client_of(user, *groups)

    async def __aenter__(self) -> "SimulatedCluster":
        await self._boot()
        for number in range(self._first_nodes):
            await self.add_node(f"node-{number}")
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes.values():
            await node.stop()
        await self.process.stop()

    async def _boot(self) -> None:
        self._process = Process(
            self.disk,
            self.clock,
            self.randomness,
            with_controllers=self._with_controllers,
            options=self._options,
            hooks=self._hooks,
            delegated=self._delegated,
            config=self._config,
        )
        self.plane.measuring.reach(self._summary)
        await self.process.start()

    async def _summary(self, node: str) -> bytes:
        return await self.nodes[node].summary()

    async def restart(self, away_seconds: float = 0.0) -> None:
        """Kill the server and all node agents in the middle of their work, and start them again; containers go on.

        Asserts that nothing is lost of what had been shown.
        """
        shown = self.store.list("")
        self.process.engine.cut_power()
        agents = [node for node in self.nodes.values() if node.is_running]
        for node in agents:
            await node.stop()
        await self.process.stop()
        await asyncio.sleep(away_seconds)
        await self._boot()
        kept = self.store.list("", revision=shown.revision)
        assert kept.entries == shown.entries, "what was shown is lost"
        for node in agents:
            await self.reconnect(node)

    def stop_crashes(self) -> None:
        """Let containers start and run without failing from now on."""
        calm = msgspec.structs.replace(self.behaviour, start_failures=0.0, crashes=0.0)
        self.behaviour = calm
        for node in self.nodes.values():
            node.runtime.behave(calm)

    def become(self, config: Config) -> None:
        """Give the server another configuration, which counts from its next start on."""
        self._config = config

    async def reconnect(self, node: SimulatedNode) -> None:
        """Start a node's agent that was stopped."""
        await node.start(node_client(self.plane, node.name))

    async def add_node(self, name: str) -> SimulatedNode:
        """Let a node join."""
        self.joined += 1
        node = SimulatedNode(
            name,
            node_client(self.plane, name),
            self.clock,
            self.randomness,
            behaviour=self.behaviour,
            pool=AddressPool(skip=self.joined * 256),
            second_network="".join(self._config.cluster_cidrs[1:]),
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


class Process:
    """A server's process: what is lost when it is killed."""

    def __init__(
        self,
        disk: Disk,
        clock: SimulatedClock,
        randomness: SeededRandomness,
        *,
        with_controllers: bool,
        options: Mapping[str, Any],
        hooks: Hooks | None = None,
        delegated: Delegated | None = None,
        config: Config,
    ) -> None:
        self.engine = FaultyEngine(disk)
        self.store = EmbeddedStore(self.engine, clock=clock, executor=DiskExecutor(disk))
        self.plane = ControlPlane(
            self.store,
            clock=clock,
            randomness=randomness,
            signing_keys=[SIGNING_KEY],
            certificates=ClientCertificates((), clock),
            config=config,
            hooks=None if hooks is None else lambda _: hooks,
        )
        self.plane.delegated = delegated
        self._with_controllers = with_controllers
        self._composition = Composition(
            self.plane,
            clock=clock,
            randomness=randomness,
            offload=AtOnce(),
            options=Options(cluster_ca="PEM", system=self.plane.system, **options),
        )
        self.runtime = self._composition.controllers()
        self._scheduler: Scheduler | None = None

    @property
    def scheduler(self) -> Scheduler:
        assert self._scheduler is not None
        return self._scheduler

    def client_of(self, user: str, *groups: str) -> LocalClient:
        """Return a client of some identity."""
        return self.plane.client(Caller(user, (*groups, AUTHENTICATED)), user)

    async def start(self) -> None:
        """Start as a server does; a disk that refuses is tried again, as a supervisor does."""
        for _ in range(BOOT_SECONDS):
            await self.plane.bootstrap("10.0.0.1", 6443)
            if self.plane.is_set_up:
                break
            await asyncio.sleep(1)
        if self._with_controllers:
            await self.runtime.start()
        self._scheduler = self._composition.scheduler()
        await self._scheduler.start()

    async def stop(self) -> None:
        """End all work; whether the end is orderly depends on the engine still having power."""
        await self.plane.measuring.close()
        await self.scheduler.stop()
        await self.runtime.stop()
        await self.store.close()
