"""Owners whose pods every node refuses back off, and go on at once when that is over."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.kinds.apps import ReplicaSet, ReplicaSetSpec, StatefulSet, StatefulSetSpec
from kubelite.api.kinds.batch import Job, JobSpec, JobStatus
from kubelite.api.kinds.core.container_status import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
)
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus, PodTemplateSpec
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.machinery.times import format_time
from kubelite.control.failed_starts import is_refused
from kubelite.control.job_plan import plan
from kubelite.control.replicaset import ReplicaSetController
from kubelite.control.statefulset import StatefulSetController
from unit.node.cluster import run_virtually

LABELS = {"app": "web"}
TEMPLATE = PodTemplateSpec(
    metadata=ObjectMeta(labels=LABELS),
    spec=PodSpec(containers=[Container(name="web", image="web")]),
)
SELECTOR = LabelSelector(matchLabels=LABELS)
REFUSED = {"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: no room"}


class Node:
    """Refuses every pod as soon as it is there, or runs it."""

    def __init__(self, harness: Harness) -> None:
        self.refuses = True
        self.made: list[float] = []  # when, in virtual seconds
        self._client = harness.client
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._client.mirror(Pod).subscribe(self._pod_changed)

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is None and after is not None:
            self.made.append(self._loop.time())
            status = REFUSED if self.refuses else {"phase": "Running"}
            answer = self._client.patch(Pod, after.metadata.name, {"status": status}, "default")
            self._tasks.add(asyncio.ensure_future(answer))


def replica_set(replicas: int) -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name="rs", namespace="default", generation=1),
        spec=ReplicaSetSpec(replicas=replicas, selector=SELECTOR, template=TEMPLATE),
    )


def stateful_set(policy: str) -> StatefulSet:
    return StatefulSet(
        metadata=ObjectMeta(name="set", namespace="default", generation=1),
        spec=StatefulSetSpec(
            replicas=3, selector=SELECTOR, template=TEMPLATE, podManagementPolicy=policy
        ),
    )


def on_harness(
    *controllers: Any,
) -> Callable[[Callable[[Harness, Node], Awaitable[None]]], Callable[[], None]]:
    def decorate(test: Callable[[Harness, Node], Awaitable[None]]) -> Callable[[], None]:
        def run() -> None:
            async def main() -> None:
                async with Harness(*controllers) as harness:
                    await test(harness, Node(harness))

            run_virtually(main())

        return run

    return decorate


@on_harness(ReplicaSetController)
async def test_a_replica_set_whose_pods_are_refused_makes_few_of_them(
    harness: Harness, node: Node
) -> None:
    await harness.client.create(replica_set(10))
    await asyncio.sleep(120)
    # At 0, 1, 3, 7, 15, 31 and 63 seconds, ten each.
    assert sorted({int(when) for when in node.made}) == [0, 1, 3, 7, 15, 31, 63]
    assert len(node.made) == 70
    await asyncio.sleep(3600)
    assert len(node.made) < 220  # once in five minutes in the end
    events = [one for one in harness.client.all(Event) if one.reason == "BackOff"]
    why = "that a node refused: OutOfcpu: Pod was rejected: no room"
    assert f"Back-off 1s replacing 10 pod(s) {why}" in {one.message for one in events}


@on_harness(ReplicaSetController)
async def test_another_spec_is_tried_at_once(harness: Harness, node: Node) -> None:
    await harness.client.create(replica_set(1))
    await asyncio.sleep(70)  # the next try is at 127
    before = len(node.made)
    change = {"metadata": {"generation": 2}, "spec": {"replicas": 2}}
    node.refuses = False
    await harness.client.patch(ReplicaSet, "rs", change, "default")
    await asyncio.sleep(1)
    assert len(node.made) == before + 2


@on_harness(ReplicaSetController)
async def test_pods_that_ran_are_replaced_at_once(harness: Harness, node: Node) -> None:
    node.refuses = False
    await harness.client.create(replica_set(1))
    ran = {"state": {"terminated": {"exitCode": 137}}, "name": "web"}
    for _ in range(5):
        await asyncio.sleep(0.1)
        (name,) = [
            one.metadata.name for one in harness.client.all(Pod) if one.status.phase == "Running"
        ]
        evicted = {"status": {"phase": "Failed", "reason": "Evicted", "containerStatuses": [ran]}}
        await harness.client.patch(Pod, name, evicted, "default")
    await asyncio.sleep(0.1)
    assert len(node.made) == 6


@on_harness(ReplicaSetController)
async def test_a_pod_that_came_to_run_ends_the_back_off(harness: Harness, node: Node) -> None:
    await harness.client.create(replica_set(1))
    await asyncio.sleep(64)
    node.refuses = False
    harness.clock.advance(200)
    await asyncio.sleep(80)  # made at 127, and runs
    (running,) = [one for one in harness.client.all(Pod) if one.status.phase == "Running"]
    node.refuses = True
    harness.clock.advance(200)
    # It is lost; its successor is refused, and the one after that comes after a second, not after minutes.
    await harness.client.delete(Pod, running.metadata.name, "default")
    await asyncio.sleep(0.5)
    before = len(node.made)
    await asyncio.sleep(1)
    assert len(node.made) == before + 1


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_a_stateful_set_whose_pods_are_refused_makes_few_of_them(policy: str) -> None:
    async def main() -> None:
        async with Harness(StatefulSetController) as harness:
            node = Node(harness)
            await harness.client.create(stateful_set(policy))
            await asyncio.sleep(120)
            assert len({int(when) for when in node.made}) == 7
            assert len(node.made) == (7 if policy == "OrderedReady" else 21)

    run_virtually(main())


def test_a_job_counts_its_pause_from_when_the_node_refused() -> None:
    """A pod may wait for a node for longer than any back-off."""
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    made, refused = format_time(now - timedelta(hours=1)), format_time(now - timedelta(seconds=4))
    pod = Pod(
        metadata=ObjectMeta(name="p", uid="p", creationTimestamp=made),
        status=PodStatus(phase="Failed", reason="OutOfcpu", startTime=refused),
    )
    job = Job(
        metadata=ObjectMeta(name="j", namespace="default", uid="j"),
        spec=JobSpec(completions=1, parallelism=1, backoffLimit=6),
        status=JobStatus(startTime=made),
    )
    step = plan(job, [pod], now)
    assert step.create == ()
    assert step.again_seconds == 6.0


def test_only_pods_that_never_ran_count() -> None:
    ended = ContainerState(terminated=ContainerStateTerminated(exitCode=1))
    never = Pod(status=PodStatus(phase="Failed", containerStatuses=[ContainerStatus(name="a")]))
    assert is_refused(never)
    ran = ContainerStatus(name="a", state=ended)
    assert not is_refused(Pod(status=replace(never.status, containerStatuses=[ran])))
    again = ContainerStatus(name="a", lastState=ended)
    assert not is_refused(Pod(status=replace(never.status, initContainerStatuses=[again])))
    assert not is_refused(Pod(status=PodStatus(phase="Succeeded")))
