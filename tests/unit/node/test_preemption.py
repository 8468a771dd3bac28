"""Critical pods for which a node has no room: which pods make way, and that no more do."""

import asyncio
from typing import Any

import msgspec
import pytest
from fakes.static_source import StaticManifests

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.admission import Shortage
from kubelite.node.pods import SYSTEM_CRITICAL_PRIORITY
from kubelite.node.preemption import MESSAGE, may_preempt, pods_to_preempt, refused
from kubelite.node.simulated.node import SimulatedNode
from kubelite.randomness import SeededRandomness
from unit.node.cluster import Cluster, container, is_ready, run_virtually


def pod(name: str, cpu: str = "", *, limit: str = "", priority: int = 0) -> Pod:
    resources: dict[str, Any] = {}
    if cpu:
        resources["requests"] = {"cpu": cpu, "memory": "1Gi"}
    if limit:
        resources["limits"] = {"cpu": limit, "memory": "1Gi"}
    spec = {"containers": [container(resources=resources)], "priority": priority}
    return msgspec.convert({"metadata": {"name": name}, "spec": spec}, Pod)


CRITICAL = pod("critical", "1", priority=SYSTEM_CRITICAL_PRIORITY)


def chosen(others: list[Pod], *lacks: Shortage) -> list[str] | None:
    found = pods_to_preempt(CRITICAL, others, lacks)
    return None if found is None else sorted(each.metadata.name for each in found)


@pytest.mark.parametrize(
    ("others", "missing", "expected"),
    [
        # The one that suffices, and of those the smallest.
        ([pod("a", "300m"), pod("b", "600m"), pod("c", "900m")], 500, ["b"]),
        # No single one suffices: the largest, and what suffices then.
        ([pod("a", "300m"), pod("b", "600m"), pod("c", "400m")], 800, ["a", "b"]),
        # A guaranteed pod only for what the others could not free together.
        ([pod("a", "500m", limit="500m"), pod("b", "400m"), pod("c", "100m")], 500, ["b", "c"]),
        ([pod("a", "500m", limit="500m"), pod("b", "400m")], 500, ["a"]),
        # Pods that ask for nothing free nothing.
        ([pod("idle"), pod("b", "400m")], 400, ["b"]),
        ([pod("a", "300m")], 500, None),
        ([pod("other", "900m", priority=SYSTEM_CRITICAL_PRIORITY)], 500, None),
        ([], 500, None),
    ],
)
def test_the_least_that_suffices_makes_way(
    others: list[Pod], missing: int, expected: list[str] | None
) -> None:
    assert chosen(others, Shortage("cpu", missing, 4000, 4000)) == expected


def test_places_for_pods_are_freed_one_by_one_the_idle_first() -> None:
    others = [pod("busy", "100m"), pod("idle")]
    assert chosen(others, Shortage("pods", 1, 2, 2)) == ["idle"]
    assert chosen(others, Shortage("pods", 1, 3, 2)) == ["busy", "idle"]


def test_who_may_end_whom() -> None:
    assert may_preempt(CRITICAL, pod("user", priority=5))
    assert not may_preempt(CRITICAL, CRITICAL)
    assert not may_preempt(pod("user", priority=5), pod("other", priority=5))


def test_what_is_said_when_nothing_can_make_way() -> None:
    said = refused([Shortage("cpu", 500, 4000, 4000)])
    assert said.reason == "UnexpectedAdmissionError"
    assert said.message == (
        "Pod was rejected: Unexpected error while attempting to recover from admission failure: preemption: error "
        "finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 500), ]"
    )


class StaticCluster(Cluster):
    def __init__(self) -> None:
        self.static = StaticManifests()
        super().__init__()

    def new_node(self, name: str = "node-1") -> SimulatedNode:
        return SimulatedNode(name, self.client, self.clock, SeededRandomness(3), static=self.static)


def asks(cpu: str) -> dict[str, Any]:
    return {"containers": [container(resources={"requests": {"cpu": cpu}})]}


def test_a_static_pod_ends_lesser_pods_and_runs_in_their_place() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            for name, cpu in (("large", "2500m"), ("small", "1")):
                await cluster.create(asks(cpu), name)
                await cluster.until(is_ready, name)
            cluster.static.put(asks("1"))
            ended = await cluster.until(lambda pod: pod.status.phase == "Failed", "small")
            await asyncio.sleep(1)
            await cluster.until(is_ready, "static-node-1")
            assert (ended.status.reason, ended.status.message) == ("Preempting", MESSAGE)
            [condition] = [c for c in ended.status.conditions if c.type == "DisruptionTarget"]
            assert (condition.status, condition.reason) == ("True", "TerminationByKubelet")
            assert condition.message == (
                "Pod was preempted by Kubelet to accommodate a critical pod."
            )
            assert is_ready(await cluster.pod("large"))
            events = [
                (event.type, event.message)
                for event in await cluster.client.list(Event, "default")
                if event.reason == "Preempting"
            ]
            assert events == [("Warning", MESSAGE)]
            # The room is the static pod's now, so a user's pod of that size is refused.
            await cluster.create(asks("1"), "late")
            late = await cluster.until(lambda pod: pod.status.phase == "Failed", "late")
            assert late.status.reason == "OutOfcpu"

    run_virtually(main())


def test_the_room_of_a_critical_pod_is_taken_by_no_other_while_pods_make_way() -> None:
    async def main() -> None:
        async with StaticCluster() as cluster:
            stubborn: dict[str, Any] = {"lifecycle": {"preStop": {"sleep": {"seconds": 20}}}}
            await cluster.create(
                {"containers": [container(resources={"requests": {"cpu": "4"}}, **stubborn)]}
            )
            await cluster.until(is_ready)
            cluster.static.put(asks("3"))
            await asyncio.sleep(5)
            await cluster.create(asks("2"), "late")
            late = await cluster.until(lambda pod: pod.status.phase == "Failed", "late")
            assert late.status.reason == "OutOfcpu"
            assert not [
                one for one in cluster.node.runtime.all_records() if one.pod_name == "static-node-1"
            ]
            await cluster.until(is_ready, "static-node-1")

    run_virtually(main())
