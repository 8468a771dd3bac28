"""Pods that ask for devices in every way, come and go, and are bound or not: a device is never given out twice.

Once all is quiet a pod waits only where trying every node by hand finds none for it.
"""

import asyncio
from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from simulation.simulated_loop import run_simulated
from unit.control.scheduler.devices.offers import make_claim, wanted
from unit.control.scheduler.devices.test_extended import GPU, IMPLICIT, named_class, one_gpu
from unit.control.scheduler.devices.test_scheduling import gpus, using
from unit.control.scheduler.pods import make_node
from unit.control.scheduler.test_scheduler import Cluster

from kubelite.api.errors import Conflict
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim

BACKOFF_SECONDS = 11.0  # the longest
WRITE_SECONDS = 0.01


class Step(NamedTuple):
    kind: str  # how the pod asks for devices, or "end" of the oldest pod on a node
    number: int
    fails: int  # attempts to bind a pod from now on
    is_alone: bool  # whether all is quiet before the next


class Node(NamedTuple):
    devices: int
    plugin: int  # what a device plugin offers of the resource


steps = st.builds(
    Step,
    st.sampled_from(("named", "named", "implicit", "claim", "end")),
    st.integers(1, 2),
    st.sampled_from((0, 0, 0, 1, 2)),
    st.booleans(),
)
nodes = st.builds(Node, st.integers(0, 3), st.sampled_from((0, 0, 1, 2)))


class World:
    """A scheduler on nodes with devices, and the part of controllers and nodes."""

    def __init__(self, cluster: Cluster, places: list[Node]) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.places = {f"n{number}": place for number, place in enumerate(places)}
        self.wants: dict[str, Step] = {}
        self.fails = 0
        self._post = self.client.post
        self.client.post = self._bind  # type: ignore[method-assign]  # fails now and then
        self._update = self.client.update
        self.client.update = self._write  # type: ignore[method-assign]  # takes its time

    async def _bind(self, *arguments: Any, **more: Any) -> Any:
        if self.fails:
            self.fails -= 1
            raise Conflict("not now")
        return await self._post(*arguments, **more)

    async def _write(self, item: Any, subresource: str = "") -> Any:
        await asyncio.sleep(WRITE_SECONDS)
        return await self._update(item, subresource)

    async def settle(self) -> None:
        await asyncio.sleep(50 * WRITE_SECONDS)

    async def start(self) -> None:
        await self.client.create(named_class())
        for name, place in self.places.items():
            node = make_node(name)
            allocatable = {**node.status.allocatable}
            if place.plugin:
                allocatable[GPU] = str(place.plugin)
            status = replace(node.status, allocatable=allocatable)
            await self.cluster.add(replace(node, status=status))
            devices = [f"{name}-{number}" for number in range(place.devices)]
            await self.client.create(gpus(name, *devices))

    async def take(self, number: int, step: Step) -> None:
        self.fails = step.fails
        name = f"p{number}"
        if step.kind == "end":
            await self._end()
        elif step.kind == "claim":
            await self.client.create(make_claim(name, wanted(count=step.number)))
            await self.client.create(using(name, name))
        else:
            resource = GPU if step.kind == "named" else IMPLICIT
            await self.client.create(one_gpu(name, resource, str(step.number)))
        if step.kind != "end":
            self.wants[name] = step
        if step.is_alone:
            await self.settle()

    async def _end(self) -> None:
        await self.settle()
        name = next((one for one in self.wants if self.cluster.node_of(one)), "")
        if not name:
            return
        del self.wants[name]
        await self.client.delete(Pod, name, "default", grace_seconds=0)
        for claim in self.claims():
            if [one.name for one in claim.status.reservedFor] == [name]:
                await self._give_back(claim)

    async def _give_back(self, claim: ResourceClaim) -> None:
        status = replace(claim.status, allocation=None, reservedFor=[])
        freed = await self.client.update(replace(claim, status=status), "status")
        meta = replace(freed.metadata, finalizers=[])
        await self.client.update(replace(freed, metadata=meta))
        await self.client.delete(ResourceClaim, meta.name, "default")

    def claims(self) -> list[ResourceClaim]:
        return self.client.all(ResourceClaim)

    def check(self) -> None:
        given: Counter[str] = Counter()
        by_node: Counter[str] = Counter()
        by_pod: Counter[str] = Counter()
        for claim in self.claims():
            allocation = claim.status.allocation
            for result in allocation.devices.results if allocation is not None else ():
                given[result.device] += 1
                by_node[result.pool] += 1
                for user in claim.status.reservedFor:
                    assert self.cluster.node_of(user.name) == result.pool
                    by_pod[user.name] += 1
        assert not [device for device, times in given.items() if times > 1]
        counted: Counter[str] = Counter()
        for name, step in self.wants.items():
            node = self.cluster.node_of(name)
            if not node:
                assert not by_pod[name]
                continue
            by_plugin = step.kind == "named" and bool(self.places[node].plugin)
            assert by_pod[name] == (0 if by_plugin else step.number)
            counted[node] += step.number * by_plugin
        for node, place in self.places.items():
            assert counted[node] <= place.plugin
        for name, step in self.wants.items():
            if self.cluster.node_of(name):
                continue
            for node, place in self.places.items():
                by_plugin = step.kind == "named" and bool(place.plugin)
                left = place.plugin - counted[node] if by_plugin else place.devices - by_node[node]
                assert left < step.number, f"{name} fits {node}"


@settings(max_examples=150, deadline=None)
@given(st.lists(nodes, min_size=1, max_size=3), st.lists(steps, max_size=12))
def test_no_device_is_given_out_twice_and_none_is_withheld(
    places: list[Node], plan: list[Step]
) -> None:
    async def body() -> None:
        cluster = Cluster()
        await cluster.scheduler.start()
        try:
            world = World(cluster, places)
            await world.start()
            for number, step in enumerate(plan):
                await world.take(number, step)
            world.fails = 0
            for _ in range(3):
                await asyncio.sleep(BACKOFF_SECONDS)
            world.check()
        finally:
            await cluster.scheduler.stop()

    run_simulated(0, body)
