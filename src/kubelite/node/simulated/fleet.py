"""The simulated nodes of a server, started and stopped together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from kubelite.api.client.protocol import Client
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.clock import Clock
from kubelite.node.simulated.network import RangedNetwork
from kubelite.node.simulated.node import DEFAULT_MACHINE, SharedPods, SimulatedNode
from kubelite.node.simulated.rules import Rules
from kubelite.node.simulated.runtime import Behaviour
from kubelite.node.simulated.settings import (
    SIMULATED,
    Absence,
    PlannedNode,
    Simulation,
    span,
)
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

# The addresses 198.18.0.0/15 are for benchmarks (RFC 2544): no machine of a network has one.
NODES_OF_A_BLOCK = 250
RENEW_SECONDS = 10.0

FetchSummary = Callable[[str], Awaitable[bytes]]


class Fleet:
    """Nodes in simulation: a part of a server."""

    def __init__(
        self,
        simulation: Simulation,
        nodes: Sequence[PlannedNode],
        client_of: Callable[[str], Client],
        client: Client,
        clock: Clock,
        randomness: Randomness,
        *,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        """`client_of` returns the client of a node, `client` may read and delete nodes and pods.

        Nodes renew their leases each `renew_seconds`.
        """
        self._plans = nodes
        self._rules = Rules(simulation)
        self._base = Behaviour(
            start_seconds=(0.0, 0.0), pull_seconds=span(simulation.images.pull_seconds)
        )
        self._client_of = client_of
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._renew_seconds = renew_seconds
        self._tasks = TaskSet()
        self._nodes: dict[str, SimulatedNode] = {}
        self._pods: SharedPods | None = None

    async def start(self) -> None:
        """Start all nodes. Raises APIError."""
        await self._forget_others()
        await self.add(self._plans)

    async def add(self, plans: Sequence[PlannedNode]) -> None:
        """Start further nodes; each has a name and a number of its own."""
        if self._pods is None:
            self._pods = SharedPods(self._client)
        for plan in plans:
            node = self._nodes[plan.name] = self._node(plan, self._pods)
            await node.start()
            if plan.spec.lost is not None:
                self._lose(node, plan.spec.lost)

    def node(self, name: str) -> SimulatedNode | None:
        """Return a node, None if it is not simulated."""
        return self._nodes.get(name)

    async def stop(self) -> None:
        """Stop all nodes; what ran on them is gone, as after a power cut."""
        await self._tasks.stop()
        for node in self._nodes.values():
            await node.stop()
            await node.runtime.close()
        self._nodes.clear()

    def refusal(self, name: str) -> str:
        """Return why nothing of a node can be connected to; "" for a node that is not simulated."""
        if name not in self._nodes:
            return ""
        return f"node {name} is simulated: its containers write no logs, execute nothing and listen on no port"

    def reached(self, reach: Callable[[FetchSummary], None]) -> Callable[[FetchSummary], None]:
        """Return what is to be given how the statistics of other nodes are read, for `reach` to read of these too."""

        def given(others: FetchSummary) -> None:
            async def fetch(name: str) -> bytes:
                node = self._nodes.get(name)
                return await (others(name) if node is None else node.summary())

            reach(fetch)

        return given

    def _node(self, plan: PlannedNode, pods: SharedPods) -> SimulatedNode:
        block, number = divmod(plan.number, NODES_OF_A_BLOCK)
        client = self._client_of(plan.name)
        return SimulatedNode(
            plan.name,
            client,
            self._clock,
            self._randomness,
            machine=msgspec.structs.replace(
                DEFAULT_MACHINE,
                cpus=plan.cpus,
                memory_bytes=plan.memory_bytes,
                disk_bytes=plan.disk_bytes,
                architecture=plan.spec.architecture,
            ),
            behaviour=self._base,
            conduct=self._rules.behaviour,
            is_missing=self._rules.is_missing,
            network=RangedNetwork(client, plan.name),
            address=f"198.{18 + block // 256}.{block % 256}.{number + 1}",
            labels={SIMULATED: "true", **plan.spec.labels},
            taints=plan.taints,
            renew_seconds=self._renew_seconds,
            pods_limit=plan.spec.pods,
            pods=pods.node(plan.name),
        )

    async def _forget_others(self) -> None:
        """Delete the nodes that an earlier run of the server has simulated and this one does not."""
        mirror = self._client.mirror(Node)
        await mirror.synced()
        wanted = {plan.name for plan in self._plans}
        for node in tuple(mirror.list()):
            name = node.metadata.name
            if SIMULATED in node.metadata.labels and name not in wanted:
                try:
                    await self._client.delete(Node, name)
                except NotFound:
                    continue
                log.info("a node is simulated no longer", extra={"node": name})

    def _lose(self, node: SimulatedNode, lost: Absence) -> None:
        async def absence() -> None:
            await asyncio.sleep(lost.after_seconds)
            await node.crash()
            await asyncio.sleep(lost.for_seconds)
            await node.start()

        self._tasks.start(absence(), name=f"absence of {node.name}")
