"""A node ends its pods before its host shuts down: a real API and kubelet in virtual time."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from fakes.static_source import StaticManifests

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.node.shutdown.dbus import BusUnavailable
from kubelite.node.shutdown.manager import MESSAGE, NodeShutdown
from kubelite.node.shutdown.periods import Period, grouped, periods_of
from kubelite.node.simulated.runtime import Behaviour
from unit.node.cluster import Cluster, container, is_ready, run_virtually

CRITICAL = 2_000_000_000


class FakeInhibitor:
    """A host that shuts down when it is told to, with what happened to its lock."""

    def __init__(self) -> None:
        self.signals: asyncio.Queue[bool | None] = asyncio.Queue()
        self.held = 0
        self.released_at: float | None = None
        self.opened = 0
        self.failures = 0

    async def open(self) -> None:
        self.opened += 1
        if self.failures:
            self.failures -= 1
            raise BusUnavailable("no bus")
        self.held += 1

    async def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.released_at = asyncio.get_running_loop().time()

    async def shutdowns(self) -> AsyncGenerator[bool, None]:
        while (signal := await self.signals.get()) is not None:
            yield signal
        raise BusUnavailable("lost")

    def close(self) -> None:
        pass


class Ending(Cluster):
    """A node that waits 20 s for pods and 10 s more for critical ones."""

    def __init__(self, ignores_termination: float = 0.0) -> None:
        super().__init__(Behaviour(ignores_termination=ignores_termination))
        self.host = FakeInhibitor()
        self._periods = periods_of("30s", "10s")

    async def __aenter__(self) -> "Ending":
        await super().__aenter__()
        assert self.node.kubelet is not None
        assert self.node._events is not None
        assert self.node.registration is not None
        registration = self.node.registration
        self.shutdown = NodeShutdown(
            lambda: self.host,
            self._periods,
            self.node.kubelet.workers,
            self.node._events,
            "node-1",
            self.clock,
            registration.wake,
        )
        registration.shutdown_error = lambda: self.shutdown.error
        self.node.kubelet.workers.admission_checks.append(self.shutdown.refusal)
        self.task = asyncio.create_task(self.shutdown.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await super().__aexit__()

    async def ready_condition(self) -> tuple[str, str, str]:
        node = await self.client.get(Node, "node-1")
        (found,) = (one for one in node.status.conditions if one.type == "Ready")
        return found.status, found.reason, found.message

    async def until_released(self) -> float:
        started = asyncio.get_running_loop().time()
        while self.host.released_at is None:
            assert asyncio.get_running_loop().time() < started + 100
            await asyncio.sleep(0.05)
        return self.host.released_at - started


def test_pods_end_and_the_status_says_why() -> None:
    async def main() -> None:
        async with Ending() as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            cluster.host.signals.put_nowait(True)
            await cluster.until_released()
            pod = await cluster.pod()
            assert pod.status.phase == "Failed"
            assert (pod.status.reason, pod.status.message) == ("Terminated", MESSAGE)
            (found,) = (one for one in pod.status.conditions if one.type == "DisruptionTarget")
            assert (found.status, found.reason) == ("True", "TerminationByKubelet")
            assert found.message == MESSAGE
            await asyncio.sleep(1)
            expected = ("False", "KubeletNotReady", "node is shutting down")
            assert await cluster.ready_condition() == expected
            events = await cluster.client.list(Event)
            messages = [one.message for one in events if one.reason == "NodeShutdown"]
            assert messages == ["Shutdown manager detected shutdown event"]

    run_virtually(main())


def test_new_pods_are_refused_until_the_shutdown_is_cancelled() -> None:
    async def main() -> None:
        async with Ending() as cluster:
            cluster.host.signals.put_nowait(True)
            await cluster.until_released()
            await cluster.create({"containers": [container()]})
            pod = await cluster.until(lambda pod: pod.status.phase == "Failed")
            assert pod.status.reason == "NodeShutdown"
            assert pod.status.message == (
                "Pod was rejected: Pod was rejected as the node is shutting down."
            )
            cluster.host.signals.put_nowait(False)
            await asyncio.sleep(1)
            assert cluster.host.held == 2
            assert (await cluster.ready_condition())[0] == "True"
            await cluster.create({"containers": [container()]}, "later")
            await cluster.until(is_ready, "later")

    run_virtually(main())


def test_critical_pods_end_after_all_others() -> None:
    async def main() -> None:
        async with Ending() as cluster:
            await cluster.create({"containers": [container()]}, "low")
            await cluster.create({"containers": [container()], "priority": CRITICAL}, "high")
            for name in ("low", "high"):
                await cluster.until(is_ready, name)
            ends: dict[str, float] = {}

            def ended(_: Pod | None, pod: Pod | None) -> None:
                if pod is not None and pod.status.phase == "Failed":
                    ends.setdefault(pod.metadata.name, asyncio.get_running_loop().time())

            cluster.client.mirror(Pod).subscribe(ended)
            cluster.host.signals.put_nowait(True)
            await cluster.until_released()
            assert list(ends) == ["low", "high"]

    run_virtually(main())


@pytest.mark.parametrize(("own", "seconds"), [(5, 5), (300, 20)])
def test_a_pod_has_its_own_grace_or_that_of_its_period(own: int, seconds: int) -> None:
    async def main() -> None:
        async with Ending(ignores_termination=1.0) as cluster:
            await cluster.create(
                {"containers": [container()], "terminationGracePeriodSeconds": own}
            )
            await cluster.until(is_ready)
            cluster.host.signals.put_nowait(True)
            taken = await cluster.until_released()
            assert seconds <= taken < seconds + 1

    run_virtually(main())


def test_a_lost_connection_is_made_anew() -> None:
    async def main() -> None:
        async with Ending() as cluster:
            cluster.host.failures = 3
            cluster.host.signals.put_nowait(None)
            await asyncio.sleep(60)
            assert cluster.host.opened == 5
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            cluster.host.signals.put_nowait(True)
            await cluster.until_released()
            assert (await cluster.pod()).status.reason == "Terminated"

    run_virtually(main())


def test_a_static_pod_runs_again_after_the_boot() -> None:
    async def main() -> None:
        static = StaticManifests()
        cluster = Ending()
        cluster.node._static = static
        async with cluster:
            static.put({"containers": [container()]})
            await asyncio.sleep(5)
            await cluster.until(is_ready, "static-node-1")
            cluster.host.signals.put_nowait(True)
            await cluster.until_released()
            await asyncio.sleep(5)
            assert (await cluster.pod("static-node-1")).status.reason == "Terminated"
            await cluster.node.crash()
            await cluster.node.start()
            pod = await cluster.until(
                lambda pod: pod.status.phase == "Running" and is_ready(pod), "static-node-1"
            )
            assert pod.status.reason == ""

    run_virtually(main())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("0s", "0s"), []),
        (("30s", "10s"), [(0, 20), (CRITICAL, 10)]),
        (("1m", "0s"), [(0, 60), (CRITICAL, 0)]),
        (("10s", "10s"), [(0, 0), (CRITICAL, 10)]),
        (("0s", "0s", ("100=5s", "-3=1m")), [(100, 5), (-3, 60)]),
    ],
)
def test_periods(arguments: tuple[Any, ...], expected: list[tuple[int, int]]) -> None:
    assert [(one.priority, one.seconds) for one in periods_of(*arguments)] == expected


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("10s", "20s"), "must be >="),
        (("0s", "20s"), "must be >="),
        (("500ms", "0s"), "either zero or otherwise"),
        (("-3s", "0s"), "either zero or otherwise"),
        (("x", "0s"), "invalid duration"),
        (("10s", "0s", ("1=1s",)), "together"),
        (("0s", "0s", ("1",)), "PRIORITY=DURATION"),
        (("0s", "0s", ("9999999999=1s",)), "PRIORITY=DURATION"),
        (("0s", "0s", ("1=1",)), "invalid duration"),
    ],
)
def test_periods_that_cannot_be(arguments: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        periods_of(*arguments)


def test_pods_belong_to_the_highest_period_that_they_reach() -> None:
    def pod(priority: int | None) -> Pod:
        return Pod(spec=PodSpec(priority=priority))

    periods = [Period(100, 1), Period(0, 2), Period(CRITICAL, 3)]
    priorities = [-5, None, 0, 99, 100, CRITICAL - 1, CRITICAL, CRITICAL + 1000]
    groups = grouped(periods, map(pod, priorities))
    assert [(period.priority, [one.spec.priority for one in pods]) for period, pods in groups] == [
        (0, [-5, None, 0, 99]),
        (100, [100, CRITICAL - 1]),
        (CRITICAL, [CRITICAL, CRITICAL + 1000]),
    ]
