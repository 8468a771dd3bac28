"""Simulated nodes of a cluster: added, lost and healed by a test."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace

from kubelite.node.simulated.fleet import Fleet
from kubelite.node.simulated.node import SimulatedNode
from kubelite.node.simulated.settings import (
    NodeGroup,
    PlannedNode,
    Rule,
    Simulation,
    SimulationInvalid,
    planned_nodes,
)
from kubelite.testing.loop import Door

AT_ONCE = 0.0  # seconds a container takes to start, unless a rule says otherwise


def simulation_of(pods: Sequence[Rule]) -> Simulation:
    """Return what pods do: by the first rule that matches; what says nothing of the start starts at once."""
    given = [
        replace(rule, start_seconds=AT_ONCE) if rule.start_seconds is None else rule
        for rule in pods
    ]
    return Simulation(pods=(*given, Rule(start_seconds=AT_ONCE)))


class Nodes:
    """The nodes of a cluster."""

    def __init__(self, fleet: Fleet, door: Door, ready: Callable[[str], Awaitable[object]]) -> None:
        """`ready` waits in the loop of the cluster until a node is ready."""
        self._fleet = fleet
        self._door = door
        self._ready = ready
        self._names: set[str] = set()

    async def add(
        self,
        count: int = 1,
        *,
        name: str = "node",
        cpu: str | int = "4",
        memory: str | int = "8Gi",
        pods: int = 110,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
    ) -> Sequence[str]:
        """Add nodes, wait until they are ready, and return their names: NAME-0, NAME-1 and so on.

        `taints` are spelt ``key=value:Effect``. Raises ValueError for what no node can have.
        """
        group = NodeGroup(
            name=name,
            count=count,
            cpu=cpu,
            memory=memory,
            pods=pods,
            labels=labels or {},
            taints=tuple(taints),
        )
        try:
            plans = planned_nodes(Simulation(nodes=(group,)), 0)
        except SimulationInvalid as error:
            raise ValueError(str(error)) from error
        first = next(n for n in range(len(self._names) + 1) if f"{name}-{n}" not in self._names)
        plans = [
            replace(plan, name=f"{name}-{first + at}", number=len(self._names) + at)
            for at, plan in enumerate(plans)
        ]
        self._names |= {plan.name for plan in plans}
        await self._door.run(self._add(plans))
        return [plan.name for plan in plans]

    async def lose(self, name: str) -> None:
        """Let a node fall silent, with all its containers. Raises LookupError."""
        await self._door.run(self._node(name).crash())

    async def heal(self, name: str) -> None:
        """Let a node that was lost come back. Raises LookupError."""
        await self._door.run(self._node(name).start())

    async def _add(self, plans: Sequence[PlannedNode]) -> None:
        await self._fleet.add(plans)
        for plan in plans:
            await self._ready(plan.name)

    def _node(self, name: str) -> SimulatedNode:
        node = self._fleet.node(name)
        if node is None:
            raise LookupError(f"the cluster has no simulated node {name}")
        return node
