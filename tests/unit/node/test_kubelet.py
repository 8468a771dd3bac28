"""The kubelet over a simulated engine and the real API."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from kubelite.api.errors import NotFound, ServiceUnavailable
from kubelite.api.kinds.coordination import Lease
from kubelite.api.kinds.core.containers import Probe
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.log_links import NoLogs
from kubelite.node.probes import Outcome, ProbeTarget
from kubelite.node.runtime import Resynced, RuntimeEvent
from kubelite.node.simulated.network import SimulatedVolumes
from kubelite.node.simulated.node import SharedPods, SimulatedNode
from kubelite.node.simulated.runtime import Behaviour
from kubelite.randomness import SeededRandomness
from unit.node.cluster import Cluster, container, is_ready, run_virtually


def test_a_pod_becomes_ready_with_an_address_and_events() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container()]})
            pod = await cluster.until(is_ready)
            assert pod.status.phase == "Running"
            assert pod.status.podIP.startswith("10.42.")
            assert [address.ip for address in pod.status.podIPs] == [pod.status.podIP]
            status = pod.status.containerStatuses[0]
            assert status.ready
            assert status.started
            assert status.state.running is not None
            assert status.restartCount == 0
            assert {c.type: c.status for c in pod.status.conditions} == {
                "PodReadyToStartContainers": "True",
                "Initialized": "True",
                "Ready": "True",
                "ContainersReady": "True",
                "PodScheduled": "True",
            }
            await asyncio.sleep(1)
            reasons = [event.reason for event in await cluster.client.list(Event, "default")]
            assert sorted(reasons) == ["Created", "Pulled", "Pulling", "Started"]

    run_virtually(main())


def test_the_image_of_a_volume_is_resolved_once_for_all_containers() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            mounts = {"volumeMounts": [{"name": "files", "mountPath": "/files"}]}
            image = {"reference": "files:1", "pullPolicy": "Always"}
            await cluster.create(
                {
                    "containers": [{**container("a"), **mounts}, {**container("b"), **mounts}],
                    "volumes": [{"name": "files", "image": image}],
                }
            )
            await cluster.until(is_ready)
            await asyncio.sleep(1)
            events = await cluster.client.list(Event, "default")
            pulls = [one.count for one in events if one.message == 'Pulling image "files:1"']
            assert pulls == [1]

    run_virtually(main())


async def _gone(cluster: Cluster, name: str = "pod") -> None:
    while True:
        try:
            await cluster.client.get(Pod, name, "default")
        except NotFound:
            return
        await asyncio.sleep(0.1)


def test_deletion_waits_for_the_grace_period_of_a_deaf_container() -> None:
    async def main() -> None:
        async with Cluster(Behaviour(ignores_termination=1.0)) as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            loop = asyncio.get_running_loop()
            started = loop.time()
            await cluster.client.delete(Pod, "pod", "default", grace_seconds=7)
            await _gone(cluster)
            assert 7 <= loop.time() - started < 9
            assert await cluster.node.runtime.records() == []
            assert cluster.node.network.addresses == {}

    run_virtually(main())


def test_the_logs_of_a_pod_go_before_the_folder_by_which_a_restart_finds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    tear_down = SimulatedVolumes.tear_down

    async def volumes(self: SimulatedVolumes, pod_uid: str) -> None:
        calls.append("volumes")
        await tear_down(self, pod_uid)

    async def logs(_: NoLogs, pod_uid: str) -> None:
        assert pod_uid
        calls.append("logs")

    monkeypatch.setattr(SimulatedVolumes, "tear_down", volumes)
    monkeypatch.setattr(NoLogs, "remove_pod", logs)

    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            await cluster.client.delete(Pod, "pod", "default", grace_seconds=0)
            while "volumes" not in calls:
                await asyncio.sleep(1)
            assert calls == ["logs", "volumes"]

    run_virtually(main())


def test_a_crashing_container_is_restarted_with_growing_pauses() -> None:
    async def main() -> None:
        async with Cluster(Behaviour(start_seconds=(0, 0))) as cluster:
            await cluster.create({"containers": [container(command=["false"])]})
            loop = asyncio.get_running_loop()
            seen = []
            for restarts in range(1, 5):
                await cluster.until(
                    lambda pod, wanted=restarts: (  # type: ignore[misc]  # bound in the loop
                        bool(pod.status.containerStatuses)
                        and pod.status.containerStatuses[0].restartCount == wanted
                    )
                )
                seen.append(loop.time())
            pauses = [round(later - earlier) for earlier, later in itertools.pairwise(seen)]
            assert pauses == [10, 20, 40]
            pod = await cluster.until(
                lambda pod: pod.status.containerStatuses[0].state.waiting is not None
            )
            status = pod.status.containerStatuses[0]
            assert status.state.waiting is not None
            assert status.state.waiting.reason == "CrashLoopBackOff"
            assert status.state.waiting.message.startswith(
                "back-off 1m20s restarting failed container=app pod=pod_default("
            )
            assert status.lastState.terminated is not None
            assert status.lastState.terminated.exitCode == 1
            assert pod.status.phase == "Running"

    run_virtually(main())


@pytest.mark.parametrize(("command", "phase"), [("true", "Succeeded"), ("false", "Failed")])
def test_a_pod_that_runs_once_ends(command: str, phase: str) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create(
                {"restartPolicy": "Never", "containers": [container(command=[command])]}
            )
            pod = await cluster.until(lambda pod: pod.status.phase in {"Succeeded", "Failed"})
            assert pod.status.phase == phase
            ready = next(c for c in pod.status.conditions if c.type == "Ready")
            assert ready.reason == ("PodCompleted" if phase == "Succeeded" else "PodFailed")
            await asyncio.sleep(5)
            assert not any(record.is_running for record in await cluster.node.runtime.records())
            assert cluster.node.network.addresses == {}

    run_virtually(main())


def test_init_containers_run_in_order_and_sidecars_stay() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            inits = [
                container("first", command=["sleep", "2"]),
                container("side", restartPolicy="Always"),
                container("second", command=["true"]),
            ]
            await cluster.create({"initContainers": inits, "containers": [container()]})
            pod = await cluster.until(lambda pod: len(pod.status.initContainerStatuses) == 3)
            waiting = pod.status.containerStatuses[0].state.waiting
            assert waiting is not None
            assert waiting.reason == "PodInitializing"
            pod = await cluster.until(is_ready)
            first, side, second = pod.status.initContainerStatuses
            assert first.state.terminated is not None
            assert first.state.terminated.reason == "Completed"
            assert side.state.running is not None
            assert second.state.terminated is not None
            side_started = side.state.running.startedAt
            assert first.state.terminated.finishedAt <= side_started
            assert side_started <= second.state.terminated.startedAt

    run_virtually(main())


def test_a_restart_of_the_node_agent_leaves_containers_alone() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container()]})
            before = await cluster.until(is_ready)
            records = {record.id for record in await cluster.node.runtime.records()}
            await cluster.node.stop()
            await cluster.node.start()
            await asyncio.sleep(30)
            assert {record.id for record in await cluster.node.runtime.records()} == records
            after = await cluster.pod()
            assert after.status == before.status

    run_virtually(main())


def test_a_restart_of_the_node_agent_keeps_pods_ready_and_probed_at_their_address() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
            await cluster.create({"containers": [container(readinessProbe=probe)]})
            before = await cluster.until(is_ready)
            seen: list[bool] = []
            mirror = cluster.client.mirror(Pod)
            mirror.subscribe(lambda _, pod: seen.append(pod is not None and is_ready(pod)))
            await cluster.node.stop()
            cluster.node.prober.asked.clear()
            await cluster.node.start()
            await asyncio.sleep(30)
            assert all(seen)
            assert set(cluster.node.prober.asked.values()) == {before.status.podIP}
            events = await cluster.client.list(Event)
            assert [e.count for e in events if e.reason == "Pulled"] in ([0], [1])

    run_virtually(main())


def test_pods_deleted_while_the_agent_was_away_are_cleaned_up() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            await cluster.node.stop()
            await cluster.client.delete(Pod, "pod", "default", grace_seconds=0)
            await cluster.node.start()
            await asyncio.sleep(10)
            assert await cluster.node.runtime.records() == []
            assert cluster.node.network.addresses == {}

    run_virtually(main())


def test_a_lost_engine_makes_the_node_not_ready_until_it_is_back() -> None:
    async def main() -> None:
        async with Cluster() as cluster:

            async def ready_condition(wanted: str) -> str:
                for _ in range(600):
                    for node in await cluster.client.list(Node):
                        for condition in node.status.conditions:
                            if condition.type == "Ready" and condition.status == wanted:
                                return condition.message
                    await asyncio.sleep(0.1)
                raise AssertionError("the node's condition does not change")

            await ready_condition("True")
            cluster.node.runtime.go_away()
            assert "container runtime is down" in await ready_condition("False")
            await cluster.create({"containers": [container()]})
            cluster.node.runtime.come_back()
            await ready_condition("True")
            await cluster.until(is_ready)
            lease = await cluster.client.get(Lease, "node-1", "kube-node-lease")
            assert lease.spec.holderIdentity == "node-1"

    run_virtually(main())


def test_an_image_that_cannot_be_pulled_is_tried_again_later() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            cluster.node.runtime.forbid_image("app:1")
            await cluster.create({"containers": [container()]})

            def reason(pod: Pod) -> str:
                statuses = pod.status.containerStatuses
                waiting = statuses[0].state.waiting if statuses else None
                return waiting.reason if waiting is not None else ""

            await cluster.until(lambda pod: reason(pod) == "ErrImagePull")
            pod = await cluster.until(lambda pod: reason(pod) == "ImagePullBackOff")
            assert pod.status.phase == "Pending"
            await cluster.until(lambda pod: reason(pod) == "ErrImagePull")

    run_virtually(main())


def test_a_pod_that_does_not_fit_is_refused() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            wanted = container(resources={"requests": {"cpu": "3"}})
            await cluster.create({"containers": [wanted]}, "one")
            await cluster.until(is_ready, "one")
            await cluster.create({"containers": [wanted]}, "two")
            pod = await cluster.until(lambda pod: pod.status.phase == "Failed", "two")
            assert pod.status.reason == "OutOfcpu"
            assert "requested: 3000, used: 3000, capacity: 4000" in pod.status.message

    run_virtually(main())


def test_a_deadline_ends_a_pod() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"activeDeadlineSeconds": 20, "containers": [container()]})
            await cluster.until(is_ready)
            pod = await cluster.until(lambda pod: pod.status.phase == "Failed")
            assert pod.status.reason == "DeadlineExceeded"

    run_virtually(main())


def test_probes_decide_readiness_and_restarts() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            probe = {"tcpSocket": {"port": 80}, "periodSeconds": 2, "failureThreshold": 2}
            await cluster.create(
                {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container(readinessProbe=probe, livenessProbe=probe)],
                }
            )
            pod = await cluster.until(is_ready)
            container_id = pod.status.containerStatuses[0].containerID.partition("//")[2]
            cluster.node.prober.unhealthy.add(container_id)
            pod = await cluster.until(lambda pod: pod.status.containerStatuses[0].restartCount == 1)
            assert pod.status.containerStatuses[0].lastState.terminated is not None
            await cluster.until(is_ready)
            events = await cluster.client.list(Event, "default")
            assert any(
                event.message == "Container app failed liveness probe, will be restarted"
                for event in events
            )

    run_virtually(main())


def test_what_is_remembered_of_containers_goes_with_them() -> None:
    """A pod whose container crashes for days must not be remembered run by run."""

    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container(command=["false"])]})
            await cluster.until(
                lambda pod: any(one.restartCount == 8 for one in pod.status.containerStatuses),
                seconds=3600,
            )
            assert cluster.node.kubelet is not None
            (memory,) = cluster.node.kubelet.memories.values()
            assert len(memory.records) <= 3
            assert memory.containers.keys() <= memory.records.keys()

    run_virtually(main())


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "deadline"])
def test_a_pod_that_ends_is_probed_for_readiness_alone(
    monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    async def main() -> None:
        async with Cluster(Behaviour(ignores_termination=1.0)) as cluster:
            ready = {"httpGet": {"port": 80, "path": "/ready"}, "periodSeconds": 2}
            alive = {"httpGet": {"port": 80, "path": "/alive"}, "periodSeconds": 2}
            asked: list[str] = []
            probe = cluster.node.prober.probe

            async def noting(target: ProbeTarget, given: Probe) -> Outcome:
                assert given.httpGet is not None
                asked.append(given.httpGet.path)
                return await probe(target, given)

            monkeypatch.setattr(cluster.node.prober, "probe", noting)
            app = container(readinessProbe=ready, livenessProbe=alive)
            deadline = {} if deleted else {"activeDeadlineSeconds": 10}
            await cluster.create({"containers": [app], **deadline})
            await cluster.until(is_ready)
            assert "/alive" in asked
            if deleted:
                await cluster.client.delete(Pod, "pod", "default")
            else:
                await asyncio.sleep(9.9)
            await asyncio.sleep(1)
            asked.clear()
            await asyncio.sleep(20)
            assert asked == ["/ready"] * 10

    run_virtually(main())


def test_many_nodes_share_one_mirror() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            shared = SharedPods(cluster.client)
            nodes = [
                SimulatedNode(
                    f"many-{number}",
                    cluster.client,
                    cluster.clock,
                    SeededRandomness(number),
                    pods=shared.node(f"many-{number}"),
                )
                for number in range(20)
            ]
            for node in nodes:
                await node.start()
            for number in range(20):
                spec = {"nodeName": f"many-{number}", "containers": [container()]}
                await cluster.create(spec, f"pod-{number}")
            for number in range(20):
                await cluster.until(is_ready, f"pod-{number}")
            for node in nodes:
                assert len(await node.runtime.records()) == 2
                await node.stop()

    run_virtually(main())


def test_a_pod_deleted_while_the_engine_is_away_goes_once_it_is_back() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            cluster.node.runtime.go_away()
            await cluster.client.delete(Pod, "pod", "default")
            await asyncio.sleep(60)
            cluster.node.runtime.come_back()
            for _ in range(600):
                if not await cluster.client.list(Pod, "default"):
                    break
                await asyncio.sleep(0.1)
            assert not await cluster.client.list(Pod, "default")
            assert not await cluster.node.runtime.records()
            events = await cluster.client.list(Event, "default")
            assert [event.count for event in events if event.reason == "Killing"] == [1]

    run_virtually(main())


def test_probes_go_on_after_an_engine_that_could_not_carry_them_out() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            probe = {"exec": {"command": ["true"]}, "periodSeconds": 2, "failureThreshold": 2}
            await cluster.create(
                {"containers": [container(readinessProbe=probe, livenessProbe=probe)]}
            )
            pod = await cluster.until(is_ready)
            asked = cluster.node.prober.asked
            cluster.node.prober.engine_error = "away"
            await asyncio.sleep(20)
            before = pod.status.containerStatuses[0]
            assert (await cluster.pod()).status.containerStatuses[0] == before
            cluster.node.prober.engine_error = ""
            asked.clear()
            await asyncio.sleep(5)
            assert list(asked) == [before.containerID.partition("//")[2]]

    run_virtually(main())


def test_a_status_that_cannot_be_written_cuts_off_no_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with Cluster(Behaviour(start_seconds=(1.0, 1.0))) as cluster:
            patch = cluster.client.patch
            refused: list[type] = []

            async def refuse(kind: type[Any], *rest: Any, **options: Any) -> Any:
                if kind is Pod and len(refused) < 3:
                    refused.append(kind)
                    raise ServiceUnavailable("not now")
                return await patch(kind, *rest, **options)

            monkeypatch.setattr(cluster.client, "patch", refuse)
            await cluster.create({"containers": [container()]})
            await cluster.until(is_ready)
            assert len(refused) == 3
            assert len(await cluster.node.runtime.records()) == 2

    run_virtually(main())


def test_a_failure_that_nobody_expected_leaves_a_node_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            failures = iter([ValueError("the engine says something strange")])
            inspect = cluster.node.runtime.events

            async def events() -> AsyncGenerator[RuntimeEvent | Resynced, None]:
                for error in failures:
                    raise error
                async for event in inspect():
                    yield event

            await cluster.create({"containers": [container()]}, name="first")
            await cluster.until(is_ready, "first")
            monkeypatch.setattr(cluster.node.runtime, "events", events)
            cluster.node.runtime.go_away()
            cluster.node.runtime.come_back()
            await asyncio.sleep(10)
            await cluster.create({"containers": [container()]}, name="second")
            await cluster.until(is_ready, "second")

    run_virtually(main())


def test_no_status_says_that_a_container_ended_without_what_it_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with Cluster(Behaviour(crashes=1.0, crash_seconds=(1.0, 1.0))) as cluster:
            seen: list[str] = []

            async def message(self: SimulatedVolumes, *_: object) -> str:
                await asyncio.sleep(0.5)
                return "broken"

            def look(_: Pod | None, pod: Pod | None) -> None:
                statuses = pod.status.containerStatuses if pod is not None else []
                states = [state for s in statuses for state in (s.state, s.lastState)]
                seen.extend(state.terminated.message for state in states if state.terminated)

            monkeypatch.setattr(SimulatedVolumes, "termination_message", message)
            mirror = cluster.client.mirror(Pod)
            await mirror.synced()
            mirror.subscribe(look)
            await cluster.create({"containers": [container(), container("other")]})
            await asyncio.sleep(60)
            assert set(seen) == {"broken"}

    run_virtually(main())


def test_a_node_that_moves_is_followed_by_its_status_and_its_pods() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            probe = {"httpGet": {"port": 80}, "periodSeconds": 1}
            on_host = {"hostNetwork": True, "containers": [container(readinessProbe=probe)]}
            await cluster.create(on_host, "on-host")
            await cluster.create({"containers": [container()]}, "own-network")
            for name in ("on-host", "own-network"):
                await cluster.until(is_ready, name)
            before = await cluster.pod("own-network")
            for address in ("192.0.2.77", "127.0.0.1", "192.0.2.78"):
                cluster.node.move(address)
                for name in ("on-host", "own-network"):
                    pod = await cluster.until(
                        lambda pod, wanted=address: pod.status.hostIP == wanted,  # type: ignore[misc]  # bound in the loop
                        name,
                        5,
                    )
                    assert [one.ip for one in pod.status.hostIPs] == [address]
                moved = await cluster.pod("on-host")
                assert [one.ip for one in moved.status.podIPs] == [address]
                node = await cluster.client.get(Node, "node-1")
                internal = [
                    one.address for one in node.status.addresses if one.type == "InternalIP"
                ]
                assert internal == [address]
                await asyncio.sleep(2)
                assert address in cluster.node.prober.asked.values()  # probes follow too
                assert is_ready(await cluster.pod("on-host"))
            after = await cluster.pod("own-network")
            assert after.status.podIPs == before.status.podIPs


def test_a_hook_ends_with_its_container() -> None:
    """What it asks need never answer, and a container may end as often as it likes."""

    async def main() -> None:
        async with Cluster(Behaviour(start_seconds=(0, 0))) as cluster:
            lifecycle = {"postStart": {"sleep": {"seconds": 90_000}}}
            app = container(command=["false"], lifecycle=lifecycle)
            spec = {"containers": [app], "terminationGracePeriodSeconds": 100_000}
            await cluster.create(spec)
            await cluster.until(
                lambda pod: any(s.restartCount > 2 for s in pod.status.containerStatuses)
            )
            hooks = [t for t in asyncio.all_tasks() if t.get_name() == "postStart app"]
            assert len(hooks) <= 1

    run_virtually(main())
