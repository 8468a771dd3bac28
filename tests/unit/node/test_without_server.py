"""What a node does for hours without its server, and when that is back; in virtual time."""

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fakes.parted_client import PartedClient, State
from msgspec.structs import replace

from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import EVENTS_HELD
from kubelite.node.runtime import ContainerRecord
from kubelite.node.simulated.runtime import Behaviour
from kubelite.node.status_writer import WRITES_AT_ONCE
from unit.node.cluster import Cluster, container, is_ready, run_virtually

HOUR = 3600.0
AWAY = pytest.mark.parametrize("state", ["refusing", "hanging"])
PROBE = {"tcpSocket": {"port": 80}, "periodSeconds": 10, "failureThreshold": 1}


class Parted(Cluster):
    """A node whose server may be away; `client` is the server's own, which always answers."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        super().__init__(behaviour)
        self.parted = PartedClient(self.server)

    async def __aenter__(self) -> "Parted":
        self.node._client = self.parted
        await super().__aenter__()
        return self

    def running(self, name: str = "pod") -> list[ContainerRecord]:
        """Return the app containers of a pod that run."""
        return [
            record
            for record in self.node.runtime.all_records()
            if record.is_running and not record.is_sandbox and record.pod_name == name
        ]

    async def waits(self, happened: Callable[[], Any], seconds: float) -> float:
        """Let time pass until something happened; return the seconds that took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while not happened():
            assert loop.time() < started + seconds
            await asyncio.sleep(0.5)
        return loop.time() - started


@AWAY
def test_containers_start_again_with_what_they_had(state: State) -> None:
    async def main() -> None:
        async with Parted() as cluster:
            settings = ObjectMeta(name="settings", namespace="default")
            await cluster.client.create(ConfigMap(metadata=settings, data={"COLOUR": "red"}))
            source = [{"configMapRef": {"name": "settings"}}]
            await cluster.create({"containers": [container(envFrom=source)]})
            await cluster.until(is_ready)
            cluster.parted.go(state)
            for attempt in (1, 2, 3):
                (before,) = cluster.running()
                cluster.node.runtime.end(before.id, 1)
                # The back-off of a crashing container, and no time that the server takes.
                taken = await cluster.waits(
                    lambda: [one for one in cluster.running() if one.id != before.id],  # noqa: B023 - of this turn
                    10 * 2**attempt + 70,
                )
                (after,) = cluster.running()
                assert after.attempt == attempt
                assert dict(cluster.node.runtime.spec(after.id).environment)["COLOUR"] == "red"
                assert taken < 10 * 2**attempt + 70
            assert (await cluster.pod()).status.containerStatuses[0].restartCount == 0
            await asyncio.sleep(HOUR)
            cluster.parted.answered.clear()
            cluster.parted.go("up")
            pod = await cluster.until(lambda pod: pod.status.containerStatuses[0].restartCount == 3)
            assert is_ready(pod)
            assert cluster.parted.answered["patch", "pod"] <= 2  # the newest state, not each

    run_virtually(main())


@AWAY
def test_probes_go_on(state: State) -> None:
    async def main() -> None:
        async with Parted() as cluster:
            await cluster.create({"containers": [container(livenessProbe=PROBE)]})
            await cluster.until(is_ready)
            cluster.parted.go(state)
            await asyncio.sleep(HOUR)
            (before,) = cluster.running()
            cluster.node.prober.unhealthy.add(before.id)
            await cluster.waits(
                lambda: [one for one in cluster.running() if one.id != before.id], 180
            )
            cluster.parted.go("up")
            await cluster.until(lambda pod: pod.status.containerStatuses[0].restartCount == 1)

    run_virtually(main())


@AWAY
def test_statuses_are_caught_up_a_few_at_a_time(state: State) -> None:
    async def main() -> None:
        async with Parted() as cluster:
            names = [f"pod-{number}" for number in range(40)]
            for name in names:
                await cluster.create(
                    {"containers": [container()], "restartPolicy": "Never"}, name=name
                )
            for name in names:
                await cluster.until(is_ready, name)
            cluster.parted.go(state)
            for name in names:
                cluster.node.runtime.end(cluster.running(name)[0].id, 0)
            await asyncio.sleep(HOUR)
            for name in names:
                assert (await cluster.pod(name)).status.phase == "Running"
            cluster.parted.answered.clear()
            cluster.parted.seconds, cluster.parted.in_flight_most = 0.2, 0
            cluster.parted.go("up")
            for name in names:
                await cluster.until(lambda pod: pod.status.phase == "Succeeded", name, 30)
            patches = {name: cluster.parted.answered["patch", name] for name in names}
            assert max(patches.values()) <= 2
            # Beside the statuses of pods: an event and the node's own.
            assert cluster.parted.in_flight_most <= WRITES_AT_ONCE + 2

    run_virtually(main())


@AWAY
def test_hours_of_crashing_containers_grow_nothing(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        behaviour = Behaviour(crashes=1.0, crash_seconds=(5.0, 20.0))
        async with Parted(behaviour) as cluster:
            for number in range(5):
                await cluster.create({"containers": [container()]}, name=f"pod-{number}")
            await asyncio.sleep(2 * HOUR)
            cluster.parted.go(state)
            await asyncio.sleep(HOUR)
            caplog.clear()
            gc.collect()
            tasks, objects = len(asyncio.all_tasks()), len(gc.get_objects())
            await asyncio.sleep(6 * HOUR)
            gc.collect()
            assert len(asyncio.all_tasks()) <= tasks + 10  # one or two for each pod
            assert len(gc.get_objects()) < objects * 1.1 + 60 * EVENTS_HELD.value
            assert cluster.node._events is not None
            assert len(cluster.node._events._queue) <= EVENTS_HELD.value
            lines = [one for one in caplog.records if one.levelno >= logging.INFO]
            assert not lines  # it was said when the server went
            cluster.parted.go("up")
            await asyncio.sleep(60)
            reasons = {event.reason for event in await cluster.client.list(Event, "default")}
            assert "BackOff" in reasons

    run_virtually(main())


@AWAY
def test_an_agent_that_starts_without_its_server_touches_nothing(state: State) -> None:
    async def main() -> None:
        async with Parted() as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            await cluster.create({"containers": [container()]}, name="other")
            await cluster.until(is_ready, "other")
            before = cluster.node.runtime.all_records()
            await cluster.node.stop()
            cluster.parted.go(state)
            await cluster.node.start(cluster.parted)
            await asyncio.sleep(6 * HOUR)
            assert cluster.node.runtime.all_records() == before
            await cluster.client.delete(Pod, "other", "default", grace_seconds=0)
            cluster.parted.go("up")
            await cluster.waits(lambda: not cluster.running("other"), 120)  # only now
            assert [one.id for one in cluster.running()] == [
                one.id for one in before if one.pod_name == "pod" and not one.is_sandbox
            ]
            assert (await cluster.pod()).status.containerStatuses[0].restartCount == 0

    run_virtually(main())


def test_a_pod_of_an_older_state_is_taken_over() -> None:
    """A server that was restored from a snapshot counts from a lower revision again."""

    async def main() -> None:
        async with Parted() as cluster:
            await cluster.create({"containers": [container()]})
            pod = await cluster.until(is_ready)
            assert cluster.node.kubelet is not None
            memory = cluster.node.kubelet.memories[pod.metadata.uid]
            older = _at(pod, "1")
            memory.update_pod(older)  # late
            assert memory.pod is not older
            memory.update_pod(older, before=pod)
            assert memory.pod is older

    run_virtually(main())


def _at(pod: Pod, version: str) -> Pod:
    return replace(pod, metadata=replace(pod.metadata, resourceVersion=version))
