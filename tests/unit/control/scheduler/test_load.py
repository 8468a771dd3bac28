import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fakes.fake_client import FakeClient
from fakes.recorded_offload import RecordedOffload
from hypothesis import given
from hypothesis import strategies as st
from simulation.simulated_loop import run_simulated

from kubelite.api.kinds.core.pods import Pod
from kubelite.control.scheduler.load import PERIOD_SECONDS, WARM_UP_SECONDS, NodeLoads, loads_of
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.requests import Amounts
from kubelite.control.scheduler.scheduler import Scheduler
from kubelite.randomness import SeededRandomness
from unit.control.scheduler.pods import make_node, make_pod

GIB = 1 << 30
IDLE: Amounts = {"cpu": 0, "memory": 0}


def in_virtual_time(
    test: Callable[[], Coroutine[Any, Any, None]],
) -> Callable[[], None]:
    def run() -> None:
        run_simulated(0, test)

    return run


def info(name: str, cpu: str = "100m", memory: str = "64Mi") -> PodInfo:
    return PodInfo(make_pod(name, cpu=cpu, memory=memory))


def node(name: str) -> NodeInfo:
    made = NodeInfo(name)
    made.set_node(make_node(name, cpu="4", memory="8Gi"))
    return made


async def loads(measured: Mapping[str, Amounts]) -> NodeLoads:
    """Return loads that have read `measured` once."""

    async def read() -> Mapping[str, Amounts]:
        return measured

    made = NodeLoads(read)
    following = asyncio.create_task(made.follow())
    await asyncio.sleep(0)
    following.cancel()
    return made


@in_virtual_time
async def test_a_node_scores_by_what_is_free_of_cpu_and_memory() -> None:
    made = await loads(
        {
            "a": IDLE,
            "b": {"cpu": 2000, "memory": 4 * GIB},
            "c": {"cpu": 4000, "memory": 0},
            "d": {"cpu": 9000, "memory": 90 * GIB},  # more than it has
        }
    )
    assert made.scores([node(name) for name in "abcd"]) == [100.0, 50.0, 50.0, 0.0]


@in_virtual_time
async def test_a_node_that_told_nothing_counts_with_its_requests() -> None:
    made = await loads({})
    silent = node("a")
    silent.add(info("p", cpu="2", memory="4Gi"))
    assert made.scores([silent, node("b")]) == [50.0, 100.0]


@in_virtual_time
async def test_a_node_without_resources_is_not_free() -> None:
    made = await loads({"a": IDLE})
    assert made.scores([NodeInfo("a")]) == [0.0]


@in_virtual_time
async def test_a_pod_counts_with_its_requests_until_its_use_is_measured() -> None:
    made = await loads({"a": IDLE, "b": IDLE})
    made.place(info("p", cpu="2", memory="4Gi"), "a")
    assert made.scores([node("a"), node("b")]) == [50.0, 100.0]
    await asyncio.sleep(WARM_UP_SECONDS)
    assert made.scores([node("a"), node("b")]) == [100.0, 100.0]
    assert not made._expected


@in_virtual_time
async def test_a_pod_that_was_not_bound_counts_no_more() -> None:
    made = await loads({"a": IDLE, "b": IDLE})
    made.place(info("p", cpu="2", memory="4Gi"), "a")
    made.withdraw("p")
    made.withdraw("never placed")
    assert made.scores([node("a"), node("b")]) == [100.0, 100.0]
    made.place(info("p", cpu="2", memory="4Gi"), "b")  # tried again
    await asyncio.sleep(WARM_UP_SECONDS / 2)
    made.place(info("p", cpu="2", memory="4Gi"), "a")  # and again
    await asyncio.sleep(WARM_UP_SECONDS / 2)  # the time of the first two is over
    assert made.scores([node("a"), node("b")]) == [50.0, 100.0]


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from(["a", "b", ""]), st.booleans())))
def test_the_sums_are_those_of_the_recent_pods(steps: list[tuple[str, str, bool]]) -> None:
    async def body() -> None:
        made = await loads({})
        placed: dict[str, tuple[float, str]] = {}
        loop = asyncio.get_running_loop()
        for name, where, waits in steps:
            if waits:
                await asyncio.sleep(WARM_UP_SECONDS / 2)
            if where:
                made.place(info(name, cpu="1"), where)
                placed[name] = (loop.time(), where)
            else:
                made.withdraw(name)
                placed.pop(name, None)
        made.scores([])
        expected: dict[str, int] = {}
        for since, where in placed.values():
            if since > loop.time() - WARM_UP_SECONDS:
                expected[where] = expected.get(where, 0) + 1000
        assert {name: amounts["cpu"] for name, amounts in made._expected.items()} == expected

    run_simulated(0, body)


def test_usage_is_read_from_node_metrics() -> None:
    metrics = [{"metadata": {"name": "a"}, "usage": {"cpu": "1500000001n", "memory": "64Ki"}}]
    assert loads_of(metrics) == {"a": {"cpu": 1501, "memory": 65536}}


class Cluster:
    """Two nodes alike, of which one is busy with what nobody asked for."""

    def __init__(self, *, load_aware: bool) -> None:
        self.client = FakeClient()
        self.reads = 0
        self.fails = False
        self.scheduler = Scheduler(
            client=self.client,
            mirrors=self.client,
            clock=self.client.clock,
            randomness=SeededRandomness(3),
            offload=RecordedOffload(),
            read_loads=self.read if load_aware else None,
        )

    async def read(self) -> Mapping[str, Amounts]:
        self.reads += 1
        if self.fails:
            raise ValueError("no usage")
        return {"busy": {"cpu": 3600, "memory": 7 * GIB}, "idle": IDLE}

    async def counts(self, pods: int) -> dict[str, int]:
        """Return the pods on each node after `pods` were placed one after the other."""
        found = {"busy": 0, "idle": 0}
        for number in range(pods):
            await self.client.create(make_pod(f"p-{number}"))
            await asyncio.sleep(PERIOD_SECONDS)
            placed = self.client.mirror(Pod).get(f"p-{number}", "default")
            assert placed is not None
            found[placed.spec.nodeName] += 1
        return found


async def run(cluster: Cluster, pods: int) -> dict[str, int]:
    for name in ("busy", "idle"):
        await cluster.client.create(make_node(name))
    await cluster.scheduler.start()
    try:
        await asyncio.sleep(1)
        return await cluster.counts(pods)
    finally:
        await cluster.scheduler.stop()


@in_virtual_time
async def test_without_usage_pods_spread_by_requests() -> None:
    cluster = Cluster(load_aware=False)
    assert await run(cluster, 10) == {"busy": 5, "idle": 5}
    assert cluster.reads == 0


@in_virtual_time
async def test_pods_avoid_a_node_that_is_busy_with_what_nobody_asked_for() -> None:
    assert await run(Cluster(load_aware=True), 10) == {"busy": 0, "idle": 10}


@in_virtual_time
async def test_pods_are_placed_also_while_usage_cannot_be_read() -> None:
    cluster = Cluster(load_aware=True)
    cluster.fails = True
    assert await run(cluster, 10) == {"busy": 5, "idle": 5}
    assert cluster.reads > 1
