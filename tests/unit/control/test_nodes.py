import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest
from fakes.harness import Harness
from simulation.simulated_loop import simulated

from kubelite.api.kinds.coordination import Lease
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node, NodeCondition, NodeSpec, NodeStatus
from kubelite.api.kinds.core.pods import Pod, PodCondition, PodSpec, PodStatus
from kubelite.api.kinds.core.scheduling import Taint, Toleration
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.times import format_time
from kubelite.control.node_ipam import NodeIPAMController
from kubelite.control.node_lifecycle import NodeLifecycleController
from kubelite.control.node_taints import leave_at, node_condition, wanted_taints
from kubelite.control.options import Options
from kubelite.control.pod_gc import PodGCController
from kubelite.control.runtime import Key
from kubelite.control.taint_eviction import TaintEvictionController

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def node(name: str = "n", ready: str = "True", **spec: object) -> Node:
    return Node(
        metadata=ObjectMeta(name=name),
        spec=NodeSpec(**spec),  # type: ignore[arg-type]
        status=NodeStatus(
            conditions=[
                NodeCondition(type="Ready", status=ready, lastHeartbeatTime=format_time(NOW)),
                NodeCondition(type="MemoryPressure", status="False"),
            ]
        ),
    )


def keys(one: Node, *, evicting: bool = True) -> set[tuple[str, str]]:
    return {(taint.key, taint.effect) for taint in wanted_taints(one, evicting=evicting, now=NOW)}


def test_taints_follow_conditions() -> None:
    assert keys(node()) == set()
    unreachable = "node.kubernetes.io/unreachable"
    assert keys(node(ready="Unknown")) == {(unreachable, "NoSchedule"), (unreachable, "NoExecute")}
    assert keys(node(ready="Unknown"), evicting=False) == {(unreachable, "NoSchedule")}
    assert ("node.kubernetes.io/not-ready", "NoExecute") in keys(node(ready="False"))
    foreign = Taint(key="mine", effect="NoSchedule")
    old = Taint(key=unreachable, effect="NoExecute", timeAdded="2025-01-01T00:00:00Z")
    assert keys(node(taints=[foreign, old])) == {("mine", "NoSchedule")}
    kept = wanted_taints(node(ready="Unknown", taints=[old]), evicting=True, now=NOW)
    assert kept[0] == old
    assert keys(node(unschedulable=True)) == {("node.kubernetes.io/unschedulable", "NoSchedule")}


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 0),
        ([Toleration(operator="Exists")], None),
        ([Toleration(key="t", operator="Exists", effect="NoExecute", tolerationSeconds=300)], 290),
        ([Toleration(key="t", operator="Exists", tolerationSeconds=-1)], -10),
        ([Toleration(key="other", operator="Exists")], 0),
    ],
)
def test_when_a_pod_must_leave(tolerations: list[Toleration], seconds: int | None) -> None:
    taint = Taint(key="t", effect="NoExecute", timeAdded=format_time(NOW - timedelta(seconds=10)))
    soft = Taint(key="s", effect="NoSchedule")
    expected = None if seconds is None else NOW + timedelta(seconds=seconds)
    assert leave_at([taint, soft], tolerations, NOW) == expected


async def test_nodes_get_addresses_until_there_are_none() -> None:
    options = Options(cluster_cidrs=(ip_network("10.42.0.0/23"),))
    async with Harness(NodeIPAMController, options=options) as harness:
        for name in ("a", "b", "c"):
            await harness.client.create(node(name))
        await harness.settle()
        parts = sorted(one.spec.podCIDR for one in harness.client.all(Node))
        assert parts == ["", "10.42.0.0/24", "10.42.1.0/24"]
        taken = next(one for one in harness.client.all(Node) if one.spec.podCIDR)
        await harness.client.delete(Node, taken.metadata.name)
        await harness.settle()
        assert all(one.spec.podCIDR for one in harness.client.all(Node))


async def test_nodes_beyond_the_ranges_are_told_once_and_cost_nothing_at_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []
    reconcile = NodeIPAMController.reconcile

    async def noted(controller: NodeIPAMController, key: Key) -> float | None:
        tries.append(key.name)
        return await reconcile(controller, key)

    monkeypatch.setattr(NodeIPAMController, "reconcile", noted)
    options = Options(cluster_cidrs=(ip_network("10.42.0.0/22"),))
    async with Harness(NodeIPAMController, options=options) as harness:
        client = harness.client
        names = [f"n{number:02}" for number in range(50)]
        for name in names:
            await client.create(node(name))
        await harness.settle()
        assert len(tries) == 50
        for _ in range(10):  # each reports that it is alive
            for name in names:
                date = {"lastHeartbeatTime": format_time(NOW), "type": "Ready", "status": "True"}
                await client.patch(Node, name, {"status": {"conditions": [date]}})
        await harness.settle()
        assert len(tries) == 50
        events = [one for one in client.all(Event) if one.reason == "CIDRNotAvailable"]
        assert len(events) == 46
        assert {one.count for one in events} == {1}
        assert events[0].message == (
            f"Node {events[0].involvedObject.name} status is now: CIDRNotAvailable"
        )
        assert len([one for one in caplog.records if one.levelname == "WARNING"]) == 1
        waiting = next(one for one in client.all(Node) if not one.spec.podCIDR)
        await client.delete(Node, waiting.metadata.name)  # one that had none leaves nothing behind
        await harness.settle()
        assert len(tries) == 50
        taken = next(one for one in client.all(Node) if one.spec.podCIDR)
        await client.delete(Node, taken.metadata.name)
        await harness.settle()
        assert sum(bool(one.spec.podCIDR) for one in client.all(Node)) == 4
        assert len(tries) == 50 + 45


async def settle_for(harness: Harness, seconds: float) -> None:
    """Let virtual time pass, and the clock with it."""
    for _ in range(int(seconds)):
        harness.clock.advance(1)
        await asyncio.sleep(1)


@simulated
async def test_a_silent_node_becomes_unknown_and_loses_its_pods_in_time() -> None:
    async with Harness(NodeLifecycleController, TaintEvictionController) as harness:
        client = harness.client
        lease = {
            name: await client.create(
                Lease(metadata=ObjectMeta(name=name, namespace="kube-node-lease"))
            )
            for name in ("alive", "silent")
        }
        await client.create(node("alive"))
        await client.create(node("silent"))
        tolerations = [
            Toleration(
                key="node.kubernetes.io/unreachable",
                operator="Exists",
                effect="NoExecute",
                tolerationSeconds=300,
            )
        ]
        await client.create(
            Pod(
                metadata=ObjectMeta(name="p", namespace="default"),
                spec=PodSpec(nodeName="silent", tolerations=tolerations),
                status=PodStatus(
                    phase="Running", conditions=[PodCondition(type="Ready", status="True")]
                ),
            )
        )
        assert lease
        for beat in range(6):
            await client.patch(
                Lease,
                "alive",
                {"spec": {"renewTime": f"2026-01-01T00:00:{beat:02}.0Z"}},
                "kube-node-lease",
            )
            await settle_for(harness, 10)
        silent, alive = await client.get(Node, "silent"), await client.get(Node, "alive")
        ready = node_condition(silent, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("Unknown", "NodeStatusUnknown")
        assert {taint.effect for taint in silent.spec.taints} == {"NoSchedule", "NoExecute"}
        assert alive.spec.taints == []
        (pod,) = client.all(Pod)
        assert pod.status.conditions[0].status == "False"
        for beat in range(28):
            await client.patch(
                Lease,
                "alive",
                {"spec": {"renewTime": f"2026-01-01T01:00:{beat:02}.0Z"}},
                "kube-node-lease",
            )
            await settle_for(harness, 10)
        assert client.all(Pod)[0].metadata.deletionTimestamp is None
        await settle_for(harness, 30)
        assert client.all(Pod)[0].metadata.deletionTimestamp is not None


@simulated
async def test_pods_of_a_vanished_node_fail_and_go() -> None:
    async with Harness(PodGCController, options=Options(terminated_pods_limit=1)) as harness:
        client = harness.client
        await client.create(node("n"))
        for name in ("a", "b"):
            await client.create(
                Pod(metadata=ObjectMeta(name=name, namespace="default"), spec=PodSpec(nodeName="n"))
            )
        await client.delete(Node, "n")
        await settle_for(harness, 30)
        # A change of a pod does not shorten the wait for the node.
        await client.patch(Pod, "a", {"metadata": {"labels": {"new": "label"}}}, "default")
        await settle_for(harness, 5)
        assert len(client.all(Pod)) == 2
        await settle_for(harness, 10)
        assert client.all(Pod) == []
        for name in ("c", "d", "e"):
            await client.create(
                Pod(
                    metadata=ObjectMeta(name=name, namespace="default"),
                    status=PodStatus(phase="Failed"),
                )
            )
        await settle_for(harness, 2)
        assert len(client.all(Pod)) == 1


@simulated
async def test_nobody_is_evicted_while_every_node_is_silent() -> None:
    async with Harness(NodeLifecycleController, TaintEvictionController) as harness:
        client = harness.client

        async def beat(name: str, number: int) -> None:
            renewal = {"spec": {"renewTime": f"2026-01-01T00:{number:02}:00.0Z"}}
            await client.patch(Lease, name, renewal, "kube-node-lease")

        for name in ("a", "b"):
            await client.create(Lease(metadata=ObjectMeta(name=name, namespace="kube-node-lease")))
            await client.create(node(name))
            await client.create(
                Pod(
                    metadata=ObjectMeta(name=name, namespace="default"), spec=PodSpec(nodeName=name)
                )
            )

        async def effects(name: str) -> set[str]:
            return {taint.effect for taint in (await client.get(Node, name)).spec.taints}

        # It is more likely that the control plane is cut off than that all nodes died at once.
        await settle_for(harness, 400)
        assert await effects("a") == await effects("b") == {"NoSchedule"}
        assert [pod.metadata.deletionTimestamp for pod in client.all(Pod)] == [None, None]
        # One is back: the other is silent by itself, and loses its pods.
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T01:00:00Z"}
        await client.patch(Node, "a", {"status": {"conditions": [ready]}})
        for number in range(3):
            await beat("a", number)
            await settle_for(harness, 10)
        assert (await effects("a"), await effects("b")) == (set(), {"NoSchedule", "NoExecute"})
        leaving = {pod.metadata.name for pod in client.all(Pod) if pod.metadata.deletionTimestamp}
        assert leaving == {"b"}


async def test_a_node_gets_a_part_of_both_ranges_or_waits() -> None:
    options = Options(
        cluster_cidrs=(ip_network("fd00:42::/63"), ip_network("10.42.0.0/16")), node_prefix_v4=26
    )
    async with Harness(NodeIPAMController, options=options) as harness:
        for name in ("a", "b", "c"):
            await harness.client.create(node(name))
            await harness.settle()
        found = {one.metadata.name: one.spec.podCIDRs for one in harness.client.all(Node)}
        assert found["a"] == ["fd00:42::/64", "10.42.0.0/26"]
        assert found["b"] == ["fd00:42:0:1::/64", "10.42.0.64/26"]
        assert found["c"] == []
        await harness.client.delete(Node, "a")
        await harness.settle()
        (late,) = [one for one in harness.client.all(Node) if one.metadata.name == "c"]
        assert (late.spec.podCIDR, late.spec.podCIDRs) == (found["a"][0], found["a"])
