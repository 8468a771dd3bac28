"""A node under pressure, in virtual time: what it reports, which pods it ends and how, and which it refuses."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fakes.readings import SimulatedReadings
from fakes.static_source import StaticManifests
from msgspec.structs import replace

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.eviction.manager import CLEANUP_SECONDS, HOUSEKEEPING_SECONDS
from kubelite.node.eviction.memory_notifier import Crossing
from kubelite.node.eviction.observations import (
    ContainerFootprint,
    DiskUse,
    NodeReadings,
    PodFootprint,
)
from kubelite.node.eviction.thresholds import EvictionSettings, parse_thresholds
from kubelite.node.observed import Ending
from kubelite.node.runtime import ContainerRecord, EngineUnavailable, RuntimeFailure
from kubelite.node.simulated.node import SimulatedNode
from kubelite.node.simulated.runtime import Behaviour, SimulatedRuntime
from kubelite.node.static_pods import SOURCE
from kubelite.node.usage_files import Filesystem
from kubelite.randomness import SeededRandomness
from unit.node.cluster import Cluster, container, is_ready, run_virtually

MIB = 1 << 20
GIB = 1 << 30
ROOMY = Filesystem(100 * GIB, 80 * GIB, 20 * GIB, 1000, 900)
FULL = Filesystem(100 * GIB, 1 * GIB, 99 * GIB, 1000, 900)
WELL = NodeReadings(
    memory_bytes=16 * GIB,
    use_bytes=2 * GIB,
    working_set_bytes=GIB,
    allocatable_bytes=16 * GIB,
    pods_working_set_bytes=GIB,
    node_fs=ROOMY,
    processes_limit=1000,
    processes=10,
)
FLAGS = {
    "hard": [
        "memory.available<100Mi",
        "nodefs.available<5%",
        "imagefs.available<5%",
        "pid.available<10",
    ],
    "soft": ["memory.available<1Gi"],
    "soft_grace": ["memory.available=30s"],
}
Figures = dict[str, Any]


class Pressed(Cluster):
    """A cluster whose node's figures are set by the test."""

    def __init__(self, behaviour: Behaviour | None = None, **settings: Any) -> None:
        self.readings = SimulatedReadings(WELL)
        self.static = StaticManifests()
        self._settings = EvictionSettings(
            parse_thresholds(**{**FLAGS, **settings.pop("flags", {})}), **settings
        )
        super().__init__(behaviour)

    def new_node(self, name: str = "node-1") -> SimulatedNode:
        return SimulatedNode(
            name,
            self.client,
            self.clock,
            SeededRandomness(3),
            behaviour=self.behaviour,
            readings=self.readings,
            eviction=self._settings,
            static=self.static,
        )

    async def __aenter__(self) -> "Pressed":
        await super().__aenter__()
        return self

    def press(self, **figures: Any) -> None:
        self.readings.figures = replace(WELL, **figures)

    async def conditions(self) -> dict[str, str]:
        node = await self.client.get(Node, "node-1")
        return {one.type: one.status for one in node.status.conditions}

    async def events(self, reason: str) -> list[Event]:
        await asyncio.sleep(1)
        return [one for one in await self.client.list(Event, "default") if one.reason == reason]

    def is_pressed(self, _: Pod) -> bool:
        assert self.node.eviction is not None
        return bool(self.node.eviction.conditions)

    async def ending_of(self, name: str) -> Ending:
        """Wait until a pod is evicted."""
        assert self.node.kubelet is not None
        while True:
            for memory in self.node.kubelet.memories.values():
                is_it = memory.pod is not None and memory.pod.metadata.name == name
                if is_it and memory.ending is not None:
                    return memory.ending
            await asyncio.sleep(0.1)


LOW_MEMORY: Figures = {"working_set_bytes": 16 * GIB - MIB}
SOFT_MEMORY: Figures = {"working_set_bytes": 16 * GIB - 512 * MIB}


def has_ended(pod: Pod) -> bool:
    return pod.status.phase == "Failed"


def using(memory: int = 0, disk: int = 0, volume: int = 0) -> PodFootprint:
    one = ContainerFootprint("app", memory, DiskUse(disk, 1), DiskUse(0, 1))
    return PodFootprint(memory, 1, (one,), {"v": DiskUse(volume, 1)})


async def two_pods(cluster: Pressed) -> None:
    for name, used in (("small", 10 * MIB), ("large", 900 * MIB)):
        await cluster.create({"containers": [container()]}, name)
        cluster.readings.uses[name] = using(used)
    for name in ("small", "large"):
        await cluster.until(is_ready, name)


def test_the_largest_pod_is_evicted_and_the_status_says_why() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            await two_pods(cluster)
            cluster.press(**LOW_MEMORY)
            pod = await cluster.until(has_ended, "large", HOUSEKEEPING_SECONDS + 10)
            assert pod.status.reason == "Evicted"
            assert pod.status.message.startswith(
                "The node was low on resource: memory. Threshold quantity: 100Mi, available: 1Mi. "
                "Container app was using 900Mi, request is 0, has larger consumption of memory. "
            )
            (condition,) = [one for one in pod.status.conditions if one.type == "DisruptionTarget"]
            assert (condition.status, condition.reason) == ("True", "TerminationByKubelet")
            assert condition.message == pod.status.message
            assert [one.state.terminated is not None for one in pod.status.containerStatuses] == [
                True
            ]
            assert (await cluster.conditions())["MemoryPressure"] == "True"
            cluster.press()
            await asyncio.sleep(60)
            assert is_ready(await cluster.pod("small"))
            (event,) = await cluster.events("Evicted")
            assert event.message == pod.status.message
            assert event.metadata.annotations["starved_resource"] == "memory"
            assert event.metadata.annotations["offending_containers"] == "app"
            (attempt,) = await cluster.events("EvictionThresholdMet")
            assert attempt.involvedObject.kind == "Node"
            assert attempt.message == "Attempting to reclaim memory"

    run_virtually(main())


def test_nothing_of_an_evicted_pod_is_left_though_it_stays_in_the_api() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            await two_pods(cluster)
            cluster.press(**LOW_MEMORY)
            pod = await cluster.until(has_ended, "large")
            cluster.press()
            await asyncio.sleep(5)
            left = [one.pod_name for one in await cluster.node.runtime.records()]
            assert set(left) == {"small"}
            after = await cluster.pod("large")
            assert after.status.containerStatuses == pod.status.containerStatuses
            await cluster.node.stop()
            await cluster.node.start()
            await asyncio.sleep(30)
            again = await cluster.pod("large")
            assert again.status == after.status
            await cluster.client.delete(Pod, "large", "default")
            async with asyncio.timeout(30):
                while await cluster.client.list(Pod, "default") != [await cluster.pod("small")]:
                    await asyncio.sleep(0.5)

    run_virtually(main())


def test_one_pod_at_a_time_until_it_is_enough() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            await two_pods(cluster)
            cluster.press(**LOW_MEMORY)
            await cluster.until(has_ended, "large")
            assert not has_ended(await cluster.pod("small"))
            await cluster.until(has_ended, "small")
            await cluster.create({"containers": [container()]}, "next")
            refused = await cluster.until(has_ended, "next")
            assert refused.status.reason == "Evicted"
            assert refused.status.message == (
                "Pod was rejected: The node had condition: [MemoryPressure]. "
            )
            assert refused.status.containerStatuses == []

    run_virtually(main())


def test_the_condition_stays_for_the_transition_period_and_pods_of_some_requests_are_taken() -> (
    None
):
    async def main() -> None:
        async with Pressed(transition_seconds=120.0) as cluster:
            cluster.press(**LOW_MEMORY)
            await asyncio.sleep(20)
            cluster.press()
            await asyncio.sleep(20)
            assert (await cluster.conditions())["MemoryPressure"] == "True"
            asks: Any = {"resources": {"requests": {"memory": "1Mi"}}}
            await cluster.create({"containers": [container(**asks)]}, "burstable")
            tolerates = [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]
            await cluster.create(
                {"containers": [container()], "tolerations": tolerates}, "tolerant"
            )
            await cluster.create({"containers": [container()]}, "plain")
            await cluster.until(is_ready, "burstable")
            await cluster.until(is_ready, "tolerant")
            await cluster.until(has_ended, "plain")
            await asyncio.sleep(120)
            assert (await cluster.conditions())["MemoryPressure"] == "False"
            await cluster.create({"containers": [container()]}, "later")
            await asyncio.sleep(5)
            await cluster.until(is_ready, "later")

    run_virtually(main())


def test_under_pressure_of_the_disk_only_critical_pods_are_taken() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            cluster.press(node_fs=FULL)
            await asyncio.sleep(20)
            assert (await cluster.conditions())["DiskPressure"] == "True"
            asks: Any = {"resources": {"requests": {"memory": "1Mi"}}}
            await cluster.create({"containers": [container(**asks)]}, "burstable")
            await cluster.until(has_ended, "burstable")
            await cluster.create(
                {"containers": [container()], "priority": 2_000_000_000}, "critical"
            )
            await cluster.until(is_ready, "critical")
            await asyncio.sleep(60)
            assert is_ready(await cluster.pod("critical"))  # nor evicted

    run_virtually(main())


def test_static_pods_are_critical_and_pods_that_claim_to_be_static_are_not() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            claim = {"annotations": {SOURCE: "file"}}
            await cluster.create({"containers": [container()]}, "claims", **claim)
            await cluster.until(is_ready, "claims")
            cluster.static.put({"containers": [container()]}, "before")
            await asyncio.sleep(5)
            await cluster.until(is_ready, "before-node-1")
            cluster.readings.uses["before-node-1"] = using(disk=9 * GIB)
            cluster.press(node_fs=FULL)
            evicted = await cluster.until(has_ended, "claims", 60)
            assert evicted.status.reason == "Evicted"
            cluster.static.put({"containers": [container()]}, "later")
            await asyncio.sleep(5)
            await cluster.until(is_ready, "later-node-1")
            await asyncio.sleep(60)
            assert is_ready(await cluster.pod("before-node-1"))

    run_virtually(main())


def test_a_soft_threshold_waits_and_gives_grace() -> None:
    async def main() -> None:
        stubborn = Behaviour(ignores_termination=1.0)
        async with Pressed(stubborn, max_pod_grace_seconds=20) as cluster:
            await two_pods(cluster)
            loop = asyncio.get_running_loop()
            cluster.press(**SOFT_MEMORY)
            began = loop.time()
            await cluster.until(cluster.is_pressed, "large")
            met = loop.time()
            await cluster.until(has_ended, "large", 200)
            # Met for 30 seconds, then stopped with the shorter of 20 and the pod's 30 seconds.
            assert 50 <= loop.time() - met <= 53
            assert met - began <= HOUSEKEEPING_SECONDS + 1

    run_virtually(main())


@pytest.mark.parametrize(("most", "least_seconds"), [(0, 2), (-1, 30), (600, 30)])
def test_the_grace_of_a_soft_threshold(most: int, least_seconds: int) -> None:
    async def main() -> None:
        stubborn = Behaviour(ignores_termination=1.0)
        flags = {"soft_grace": ["memory.available=1s"]}
        async with Pressed(stubborn, max_pod_grace_seconds=most, flags=flags) as cluster:
            await two_pods(cluster)
            cluster.press(**SOFT_MEMORY)
            assert (await cluster.ending_of("large")).reason == "Evicted"
            began = asyncio.get_running_loop().time()
            await cluster.until(has_ended, "large", 200)
            assert (
                least_seconds - 1 <= asyncio.get_running_loop().time() - began <= least_seconds + 3
            )

    run_virtually(main())


def test_a_hard_threshold_shortens_an_eviction_that_has_begun() -> None:
    async def main() -> None:
        stubborn = Behaviour(ignores_termination=1.0)
        flags = {"soft_grace": ["memory.available=1s"]}
        async with Pressed(stubborn, max_pod_grace_seconds=-1, flags=flags) as cluster:
            await cluster.create(
                {"containers": [container()], "terminationGracePeriodSeconds": 3000}, "large"
            )
            cluster.readings.uses["large"] = using(900 * MIB)
            await cluster.until(is_ready, "large")
            cluster.press(**SOFT_MEMORY)
            await asyncio.sleep(200)
            assert not has_ended(await cluster.pod("large"))
            assert len(await cluster.events("Evicted")) == 1
            cluster.press(**LOW_MEMORY)
            pod = await cluster.until(
                has_ended, "large", CLEANUP_SECONDS + HOUSEKEEPING_SECONDS + 5
            )
            assert pod.status.message.startswith("The node was low on resource: memory. ")

    run_virtually(main())


def test_a_pod_over_its_limits_is_evicted_without_any_pressure() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            limited = {"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}
            await cluster.create({"containers": [container()], "volumes": [limited]}, "over")
            await cluster.create({"containers": [container()], "volumes": [limited]}, "within")
            await cluster.create({"containers": [container()]}, "free")
            cluster.readings.uses |= {
                "over": using(volume=2 * MIB),
                "within": using(volume=MIB),
                "free": using(volume=900 * MIB),
            }
            pod = await cluster.until(has_ended, "over")
            assert pod.status.reason == "Evicted"
            assert pod.status.message == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
            assert not [one for one in pod.status.conditions if one.type == "DisruptionTarget"]
            await asyncio.sleep(60)
            assert is_ready(await cluster.pod("within"))
            assert is_ready(await cluster.pod("free"))
            assert set((await cluster.conditions()).values()) == {"False", "True"}

    run_virtually(main())


def test_files_are_counted_only_where_they_matter() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            await two_pods(cluster)
            await asyncio.sleep(100)
            assert cluster.readings.counted == []  # nothing limited, nothing short
            cluster.press(**LOW_MEMORY)
            await cluster.until(has_ended, "large")
            assert cluster.readings.counted == [False]
            cluster.press(node_fs=FULL)
            await cluster.until(has_ended, "small")
            assert cluster.readings.counted == [False, True]

    run_virtually(main())


class Frees:
    """Something that can be given up, which brings the node back to well."""

    def __init__(self, does: Callable[[], None]) -> None:
        self._does = does
        self.times = 0

    async def reclaim(self) -> int:
        self.times += 1
        self._does()
        return 1


def records_of(runtime: SimulatedRuntime, name: str) -> list[ContainerRecord]:
    return [one for one in runtime.all_records() if one.pod_name == name]


def refuse() -> None:
    raise RuntimeFailure("busy")


def test_images_and_ended_containers_go_before_pods() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            await two_pods(cluster)
            assert cluster.node.eviction is not None
            containers, images = Frees(refuse), Frees(cluster.press)
            cluster.node.eviction.containers, cluster.node.eviction.images = containers, images
            cluster.press(node_fs=FULL)
            await asyncio.sleep(60)
            assert (containers.times, images.times) == (1, 1)
            assert is_ready(await cluster.pod("large"))
            assert (await cluster.conditions())["DiskPressure"] == "True"  # for a while

    run_virtually(main())


def test_a_full_disk_takes_the_containers_of_ended_pods_and_their_status_stays() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            await two_pods(cluster)
            await cluster.create({"containers": [container()], "restartPolicy": "Never"}, "done")
            await cluster.until(is_ready, "done")
            runtime = cluster.node.runtime
            (record,) = (one for one in records_of(runtime, "done") if not one.is_sandbox)
            runtime.end(record.id, 3)
            before = await cluster.until(has_ended, "done")
            await asyncio.sleep(30)
            assert records_of(runtime, "done")
            assert cluster.node.eviction is not None
            cluster.node.eviction.images = Frees(cluster.press)
            cluster.press(node_fs=FULL)
            await asyncio.sleep(30)
            assert records_of(runtime, "done") == []
            after = await cluster.pod("done")
            assert after.status.containerStatuses == before.status.containerStatuses
            assert (after.status.phase, after.status.reason) == ("Failed", "")
            assert is_ready(await cluster.pod("large"))

    run_virtually(main())


def test_what_frees_too_little_does_not_spare_the_pods() -> None:
    async def main() -> None:
        async with Pressed(flags={"minimum_reclaim": ["nodefs.available=10%"]}) as cluster:
            await two_pods(cluster)
            assert cluster.node.eviction is not None
            little = Filesystem(100 * GIB, 10 * GIB, 90 * GIB, 1000, 900)  # above 5 %, below 15 %
            cluster.node.eviction.images = Frees(lambda: cluster.press(node_fs=little))
            cluster.readings.uses["small"] = using(disk=5 * GIB)
            cluster.press(node_fs=FULL)
            await cluster.until(has_ended, "small")

    run_virtually(main())


def test_an_engine_that_is_away_ends_no_eviction_for_good() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            await two_pods(cluster)
            whole = cluster.readings.node

            async def away() -> NodeReadings:
                raise EngineUnavailable("gone")

            cluster.readings.node = away  # type: ignore[method-assign]  # as an engine that does not answer
            await asyncio.sleep(60)
            cluster.readings.node = whole  # type: ignore[method-assign]  # it is back
            cluster.press(**LOW_MEMORY)
            await cluster.until(has_ended, "large")

    run_virtually(main())


class Heard:
    """A kernel that tells when asked to."""

    def __init__(self) -> None:
        self.crossings: list[Crossing] = []
        self.tell: Callable[[], None] = lambda: None

    def watch(self, crossings: Any, told: Callable[[], None]) -> None:
        self.crossings, self.tell = list(crossings), told

    def close(self) -> None:
        self.crossings = []


def test_the_kernel_brings_the_next_round_forward() -> None:
    async def main() -> None:
        async with Pressed() as cluster:
            await two_pods(cluster)
            assert cluster.node.eviction is not None
            heard = Heard()
            cluster.node.eviction._notifier = heard
            await asyncio.sleep(2 * HOUSEKEEPING_SECONDS)
            # Told when the working set reaches capacity less threshold; a GiB of page cache comes on top.
            assert heard.crossings == [
                Crossing("", 16 * GIB - 100 * MIB + GIB),
                Crossing("", 16 * GIB - GIB + GIB),
                Crossing("kubelite", 16 * GIB - 100 * MIB),
            ]
            await asyncio.sleep(1)
            cluster.press(**LOW_MEMORY)
            began = asyncio.get_running_loop().time()
            heard.tell()
            await cluster.until(cluster.is_pressed, "large")
            assert asyncio.get_running_loop().time() - began < 1

    run_virtually(main())
