import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from fakes.fake_client import FakeClient
from fakes.recorded_offload import RecordedOffload
from simulation.simulated_loop import run_simulated

from kubelite.api.errors import APIError, Conflict, Forbidden
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.storage import StorageClass
from kubelite.control.scheduler import scheduler
from kubelite.control.scheduler.devices.claims import ClaimState
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.scheduler import Scheduler
from kubelite.control.scheduler.steps import Steps
from kubelite.randomness import SeededRandomness
from unit.control.scheduler.pods import make_node, make_pod


class Cluster:
    def __init__(self) -> None:
        self.client = FakeClient()
        self.offload = RecordedOffload()
        self.scheduler = Scheduler(
            client=self.client,
            mirrors=self.client,
            clock=self.client.clock,
            randomness=SeededRandomness(3),
            offload=self.offload,
        )

    async def add(self, *items: Pod | Node) -> None:
        for item in items:
            await self.client.create(item)
        await self.settle()

    async def settle(self) -> None:
        await asyncio.sleep(0.001)

    async def wait_for_backoff(self) -> None:
        await asyncio.sleep(1.05)
        await self.settle()

    def pod(self, name: str) -> Pod | None:
        found: Pod | None = self.client.mirror(Pod).get(name, "default")
        return found

    def is_nominated(self, name: str) -> bool:
        nominated = self.scheduler.snapshot.nominated.values()
        return any(info.key[1] == name for waiting in nominated for info in waiting.values())

    def node_of(self, name: str) -> str:
        pod = self.client.mirror(Pod).get(name, "default")
        return str(pod.spec.nodeName)

    def message_of(self, name: str) -> str:
        pod = self.client.mirror(Pod).get(name, "default")
        return str(pod.status.conditions[0].message)


def on_cluster(test: Callable[[Cluster], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test with a started scheduler, in virtual time."""

    async def body() -> None:
        cluster = Cluster()
        await cluster.scheduler.start()
        try:
            await test(cluster)
        finally:
            await cluster.scheduler.stop()

    def run() -> None:
        run_simulated(0, body)

    return run


@on_cluster
async def test_pods_fill_nodes_evenly_and_never_over(cluster: Cluster) -> None:
    await cluster.add(*(make_node(f"n{i}", cpu="1") for i in range(3)))
    await cluster.add(*(make_pod(f"p{i}", cpu="300m") for i in range(10)))
    placed = Counter(cluster.node_of(f"p{i}") for i in range(10))
    assert placed == Counter({"n0": 3, "n1": 3, "n2": 3, "": 1})


@on_cluster
async def test_the_message_counts_reasons_and_a_new_node_helps(cluster: Cluster) -> None:
    await cluster.add(
        make_node("n0", cpu="1"), make_node("n1", unschedulable=True), make_node("n2", cpu="1")
    )
    await cluster.add(make_pod("big", cpu="2"))
    assert cluster.message_of("big") == (
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    assert [event.reason for event in cluster.client.all(Event)] == ["FailedScheduling"]
    await cluster.add(make_node("n3", cpu="8"))
    await asyncio.sleep(1.05)
    await cluster.settle()
    assert cluster.node_of("big") == "n3"


@on_cluster
async def test_a_pod_of_no_node_says_so(cluster: Cluster) -> None:
    await cluster.add(make_pod("lonely"))
    assert cluster.message_of("lonely") == "no nodes available to schedule pods"


@on_cluster
async def test_gated_foreign_and_dying_pods_are_left_alone(cluster: Cluster) -> None:
    await cluster.add(make_node("n0"))
    await cluster.add(
        make_pod("gated", schedulingGates=[{"name": "wait"}]),
        make_pod("foreign", schedulerName="other"),
    )
    assert (cluster.node_of("gated"), cluster.node_of("foreign")) == ("", "")
    await cluster.client.patch(Pod, "gated", {"spec": {"schedulingGates": None}}, "default")
    await cluster.settle()
    assert cluster.node_of("gated") == "n0"


ANTI = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "db"}},
            }
        ]
    }
}
NEAR = {
    "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}}
        ]
    }
}


@on_cluster
async def test_anti_affinity_keeps_pods_apart_both_ways(cluster: Cluster) -> None:
    await cluster.add(make_node("n0"), make_node("n1"))
    await cluster.add(*(make_pod(f"db{i}", labels={"app": "db"}, affinity=ANTI) for i in range(3)))
    nodes = {cluster.node_of(f"db{i}") for i in range(3)}
    assert nodes == {"n0", "n1", ""}
    waiting = next(f"db{i}" for i in range(3) if not cluster.node_of(f"db{i}"))
    assert "2 node(s) didn't match pod anti-affinity rules" in cluster.message_of(waiting)
    await cluster.add(make_pod("plain", labels={"app": "db"}))
    assert "2 node(s) didn't satisfy existing pods anti-affinity rules" in cluster.message_of(
        "plain"
    )


@on_cluster
async def test_affinity_lets_the_first_in_and_keeps_others_near(cluster: Cluster) -> None:
    await cluster.add(*(make_node(f"n{i}", labels={"zone": f"z{i % 2}"}) for i in range(4)))
    await cluster.add(*(make_pod(f"db{i}", labels={"app": "db"}, affinity=NEAR) for i in range(4)))
    zones = {cluster.node_of(f"db{i}")[-1] for i in range(4)}
    assert zones in ({"0", "2"}, {"1", "3"}, {"0"}, {"1"}, {"2"}, {"3"})
    assert "" not in zones


@on_cluster
async def test_spread_constraints_hold(cluster: Cluster) -> None:
    spread = [
        {
            "maxSkew": 1,
            "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
    ]
    await cluster.add(
        make_node("a0", labels={"zone": "a"}),
        make_node("a1", labels={"zone": "a"}),
        make_node("b0", labels={"zone": "b"}, cpu="250m"),
        make_node("plain"),
    )
    await cluster.add(
        *(
            make_pod(f"p{i}", cpu="100m", labels={"app": "web"}, topologySpreadConstraints=spread)
            for i in range(8)
        )
    )
    placed = Counter(cluster.node_of(f"p{i}")[:1] for i in range(8))
    assert placed == Counter({"a": 3, "b": 2, "": 3})
    waiting = next(f"p{i}" for i in range(8) if not cluster.node_of(f"p{i}"))
    assert "(missing required label)" in cluster.message_of(waiting)


@on_cluster
async def test_the_important_preempt_the_fewest_and_least_important(cluster: Cluster) -> None:
    await cluster.add(make_node("n0", cpu="1"), make_node("n1", cpu="1"))
    await cluster.add(
        make_pod("low0", cpu="600m", priority=1, nodeName="n0"),
        make_pod("tiny", cpu="100m", priority=0, nodeName="n0"),
        make_pod("high1", cpu="600m", priority=5, nodeName="n1"),
    )
    await cluster.add(make_pod("boss", cpu="800m", priority=10))
    boss = cluster.client.mirror(Pod).get("boss", "default")
    assert boss.status.nominatedNodeName == "n0"
    dying = {pod.metadata.name for pod in cluster.client.all(Pod) if pod.metadata.deletionTimestamp}
    assert dying == {"low0"}
    await cluster.add(make_pod("sneaky", cpu="300m", priority=1))
    assert cluster.node_of("sneaky") == "n1"
    await cluster.client.delete(Pod, "low0", "default", grace_seconds=0)
    await asyncio.sleep(1.05)
    await cluster.settle()
    assert cluster.node_of("boss") == "n0"


@on_cluster
async def test_no_victims_is_said(cluster: Cluster) -> None:
    await cluster.add(make_node("n0", cpu="1"), make_pod("same", cpu="900m", nodeName="n0"))
    await cluster.add(make_pod("late", cpu="500m"))
    assert cluster.message_of("late").endswith(
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
    )


@on_cluster
async def test_a_failed_binding_gives_the_room_back(cluster: Cluster) -> None:
    await cluster.add(make_node("n0", cpu="1"))
    refused = iter([Conflict("no"), None, None])
    cluster.client.refuse = lambda verb, kind: next(refused) if verb == "binding" else None
    await cluster.add(make_pod("p", cpu="900m"))
    assert cluster.node_of("p") == ""
    await asyncio.sleep(1.05)
    await cluster.settle()
    assert cluster.node_of("p") == "n0"


@on_cluster
async def test_missing_claims_keep_a_pod_waiting(cluster: Cluster) -> None:
    volumes: list[dict[str, Any]] = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    await cluster.add(make_node("n0"), make_pod("p", volumes=volumes))
    assert cluster.message_of("p").startswith(
        '0/1 nodes are available: persistentvolumeclaim "data" not found.'
    )
    await cluster.client.create(
        PersistentVolumeClaim(metadata=ObjectMeta(name="data", namespace="default"))
    )
    await asyncio.sleep(1.05)
    await cluster.settle()
    assert "pod has unbound immediate PersistentVolumeClaims" in cluster.message_of("p")


@on_cluster
async def test_a_claim_that_is_not_the_pods_own_keeps_an_ephemeral_volume_waiting(
    cluster: Cluster,
) -> None:
    await cluster.client.create(
        PersistentVolumeClaim(metadata=ObjectMeta(name="p-v", namespace="default"))
    )
    volumes: list[dict[str, Any]] = [{"name": "v", "ephemeral": {"volumeClaimTemplate": {}}}]
    await cluster.add(make_node("n0"), make_pod("p", volumes=volumes))
    wording = "PVC default/p-v was not created for pod default/p (pod is not owner)"
    assert wording in cluster.message_of("p")


@on_cluster
async def test_without_any_node_a_pod_waits_for_one_and_is_not_tried_in_vain(
    cluster: Cluster,
) -> None:
    await cluster.add(make_pod("p"))
    await asyncio.sleep(3600)
    assert cluster.scheduler.queue.count("unschedulable") == 1
    (event,) = cluster.client.all(Event)
    assert event.count == 1
    await cluster.add(make_node("n"))
    await asyncio.sleep(1)
    assert cluster.node_of("p") == "n"


@on_cluster
async def test_a_pod_that_cannot_be_judged_keeps_no_other_waiting(cluster: Cluster) -> None:
    choose = cluster.scheduler._decider.choose

    def broken(info: PodInfo, claims: ClaimState | None = None) -> Any:
        if info.key[1] == "bad":
            raise RuntimeError("a bug")
        return choose(info, claims)

    cluster.scheduler._decider.choose = broken  # type: ignore[method-assign]  # the bug
    await cluster.add(make_node("n"), make_pod("bad"), make_pod("good"))
    assert cluster.node_of("good") == "n"
    assert cluster.node_of("bad") == ""


@on_cluster
async def test_a_bug_while_binding_gives_the_room_back(cluster: Cluster) -> None:
    post = cluster.client.post

    async def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    cluster.client.post = broken  # type: ignore[assignment,method-assign]  # the bug
    await cluster.add(make_node("n"), make_pod("p"))
    assert cluster.scheduler.snapshot.nodes["n"].pods == {}
    cluster.client.post = post  # type: ignore[method-assign]  # the bug is mended
    await asyncio.sleep(5)
    assert cluster.node_of("p") == "n"


@on_cluster
async def test_what_a_pod_of_many_terms_asks_for_is_read_off_the_loop(cluster: Cluster) -> None:
    def tolerations(count: int) -> list[dict[str, str]]:
        return [{"key": f"k{number}", "operator": "Exists"} for number in range(count)]

    await cluster.add(make_node("n1"), make_pod("plain", tolerations=tolerations(100)))
    assert cluster.offload.costs == []
    await cluster.add(make_pod("large", tolerations=tolerations(10_000)))
    assert cluster.offload.leaves_the_loop
    assert cluster.node_of("large") == "n1"


@on_cluster
async def test_a_failure_of_the_preemption_loses_no_pod(cluster: Cluster) -> None:
    def broken(*_: object) -> Steps[None]:
        raise RuntimeError("broken")
        yield

    await cluster.add(make_node("n0", cpu="1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "preempt", broken)
        await cluster.add(make_pod("big", cpu="2"))
    assert cluster.scheduler.queue.count("backoff") == 1
    assert cluster.message_of("big") == "0/1 nodes are available: 1 Insufficient cpu."
    await cluster.wait_for_backoff()
    assert "preemption: " in cluster.message_of("big")


async def add_victims_and_boss(cluster: Cluster) -> None:
    """Fill a node with two pods, both of which have to leave for a third."""
    await cluster.add(make_node("n0", cpu="1"))
    await cluster.add(*(make_pod(f"low{i}", cpu="500m", nodeName="n0") for i in range(2)))
    await cluster.add(make_pod("boss", cpu="900m", priority=5))


def refuse_once(cluster: Cluster, verb: str, kind: str, error: Exception) -> None:
    errors = iter([error])

    def refuse(asked: str, of: str) -> APIError | None:
        if (asked, of) == (verb, kind) and (failure := next(errors, None)) is not None:
            raise failure
        return None

    cluster.client.refuse = refuse


@on_cluster
async def test_a_failed_eviction_ends_the_nomination_and_is_tried_again(cluster: Cluster) -> None:
    for error in (Forbidden("no"), RuntimeError("a bug")):
        refuse_once(cluster, "delete", "Pod", error)
        await add_victims_and_boss(cluster)
        assert not cluster.is_nominated("boss")
        assert cluster.scheduler.queue.count("backoff") == 1
        boss = cluster.pod("boss")
        assert boss is not None
        assert boss.status.nominatedNodeName == ""
        await cluster.wait_for_backoff()
        assert cluster.is_nominated("boss")
        dying = [pod for pod in cluster.client.all(Pod) if pod.metadata.deletionTimestamp]
        assert [pod.metadata.name for pod in dying] == ["low0", "low1"]
        for pod in cluster.client.all(Pod):
            await cluster.client.delete(Pod, pod.metadata.name, "default", grace_seconds=0)
        await cluster.client.delete(Node, "n0")


@on_cluster
async def test_a_pod_that_has_the_name_of_a_victim_stays_and_the_other_victim_leaves(
    cluster: Cluster,
) -> None:
    patch = cluster.client.patch

    async def patch_later(kind: Any, name: str, *arguments: Any, **options: Any) -> Any:
        if name == "low0":
            cluster.client.patch = patch  # type: ignore[method-assign]  # only the first time
            await cluster.client.delete(Pod, name, "default", grace_seconds=0)
            await cluster.client.create(make_pod(name, cpu="100m", nodeName="n0"))
        return await patch(kind, name, *arguments, **options)

    cluster.client.patch = patch_later  # type: ignore[method-assign]  # a change meanwhile
    await add_victims_and_boss(cluster)
    newer, other = cluster.pod("low0"), cluster.pod("low1")
    assert newer is not None
    assert other is not None
    assert newer.metadata.deletionTimestamp is None
    assert other.metadata.deletionTimestamp is not None


@on_cluster
async def test_no_further_victim_leaves_once_the_preemptor_is_gone(cluster: Cluster) -> None:
    delete = cluster.client.delete

    async def delete_later(kind: Any, name: str, *arguments: Any, **options: Any) -> None:
        cluster.client.delete = delete  # type: ignore[method-assign]  # only the first time
        await delete(kind, name, *arguments, **options)
        await delete(Pod, "boss", "default")

    cluster.client.delete = delete_later  # type: ignore[method-assign]  # a change meanwhile
    await add_victims_and_boss(cluster)
    dying = [pod for pod in cluster.client.all(Pod) if pod.metadata.deletionTimestamp]
    assert len(dying) == 1


@on_cluster
async def test_the_room_of_a_nominated_pod_that_goes_is_given_to_others(cluster: Cluster) -> None:
    await add_victims_and_boss(cluster)
    for name in ("low0", "low1"):
        await cluster.client.delete(Pod, name, "default", grace_seconds=0)
    await cluster.add(make_pod("small", cpu="500m"))
    assert (cluster.node_of("boss"), cluster.node_of("small")) == ("", "")
    boss = cluster.pod("boss")
    assert boss is not None
    dying = {"finalizers": ["wait/for-it"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    await cluster.client.patch(Pod, "boss", {"metadata": dying}, "default")
    assert not cluster.is_nominated("boss")
    await cluster.wait_for_backoff()
    assert cluster.node_of("small") == "n0"


@on_cluster
async def test_the_room_of_a_nominated_pod_is_what_it_asks_for_now(cluster: Cluster) -> None:
    await add_victims_and_boss(cluster)
    for name in ("low0", "low1"):
        await cluster.client.delete(Pod, name, "default", grace_seconds=0)
    container = {"name": "c", "image": "web", "resources": {"requests": {"cpu": "10m"}}}
    cluster.client.refuse = lambda verb, _: Conflict("no") if verb == "binding" else None
    await cluster.client.patch(Pod, "boss", {"spec": {"containers": [container]}}, "default")
    (infos,) = cluster.scheduler.snapshot.nominated.values()
    assert [info.requests["cpu"] for info in infos.values()] == [10]


@on_cluster
async def test_a_nomination_for_a_node_that_can_no_longer_help_ends(cluster: Cluster) -> None:
    await add_victims_and_boss(cluster)
    assert cluster.is_nominated("boss")
    await cluster.client.patch(Node, "n0", {"spec": {"unschedulable": True}})
    await cluster.wait_for_backoff()
    boss = cluster.pod("boss")
    assert boss is not None
    assert boss.status.nominatedNodeName == ""
    assert not cluster.is_nominated("boss")


@on_cluster
async def test_a_failed_binding_gives_the_room_to_pods_refused_meanwhile(cluster: Cluster) -> None:
    post, may_fail = cluster.client.post, asyncio.Event()

    async def fail_later(*_: Any) -> Any:
        cluster.client.post = post  # type: ignore[method-assign]  # only the first time
        await may_fail.wait()
        raise Conflict("no")

    cluster.client.post = fail_later  # type: ignore[assignment,method-assign]  # a slow failure
    await cluster.add(make_node("n0", cpu="1"), make_pod("first", cpu="900m"))
    await cluster.add(make_pod("second", cpu="500m"))
    assert "Insufficient cpu" in cluster.message_of("second")
    await cluster.client.patch(Pod, "first", {"spec": {"nodeSelector": {"no": "node"}}}, "default")
    may_fail.set()
    await cluster.wait_for_backoff()
    assert cluster.node_of("second") == "n0"


@on_cluster
async def test_a_pod_that_goes_while_all_bindings_are_in_flight_is_not_bound(
    cluster: Cluster,
) -> None:
    post, may_bind = cluster.client.post, asyncio.Event()

    async def bind_later(*arguments: Any) -> Any:
        await may_bind.wait()
        return await post(*arguments)

    cluster.client.post = bind_later  # type: ignore[assignment,method-assign]  # a slow one
    await cluster.add(make_node("n0", pods="500"))
    count = scheduler.BINDINGS_LIMIT
    await cluster.add(*(make_pod(f"p{i}", cpu="1m", memory="1") for i in range(count)))
    await cluster.add(make_pod("late"), make_pod("elsewhere"))
    await cluster.client.delete(Pod, "late", "default")
    await cluster.client.patch(Pod, "elsewhere", {"spec": {"nodeName": "other"}}, "default")
    may_bind.set()
    await cluster.settle()
    bound = {name for name, _, _ in cluster.client.posts}
    assert bound == {f"p{i}" for i in range(count)}
    elsewhere = cluster.pod("elsewhere")
    assert elsewhere is not None
    assert cluster.scheduler.snapshot.node_of(elsewhere.metadata.uid) == "other"


@on_cluster
async def test_what_is_cut_off_while_a_pod_is_tried_loses_no_pod(cluster: Cluster) -> None:
    run = cluster.offload.run

    async def cut_off(*_: Any) -> Any:
        cluster.offload.run = run  # type: ignore[method-assign]  # only the first time
        raise asyncio.CancelledError

    cluster.offload.run = cut_off  # type: ignore[assignment,method-assign]  # the thread ended
    many = [{"key": f"k{number}", "operator": "Exists"} for number in range(10_000)]
    await cluster.add(make_node("n0"), make_pod("large", tolerations=many))
    assert cluster.node_of("large") == ""
    await cluster.wait_for_backoff()
    await cluster.wait_for_backoff()
    assert cluster.node_of("large") == "n0"


@on_cluster
async def test_a_pod_that_changes_while_it_is_tried_waits_for_its_backoff(cluster: Cluster) -> None:
    run, changes = cluster.offload.run, 0

    async def change(*arguments: Any) -> Any:
        nonlocal changes
        changes += 1
        await cluster.client.patch(
            Pod, "large", {"metadata": {"labels": {"change": str(changes)}}}, "default"
        )
        return await run(*arguments)

    cluster.offload.run = change  # type: ignore[assignment,method-assign]  # a change each time
    many = [{"key": f"k{number}", "operator": "Exists"} for number in range(10_000)]
    await cluster.add(make_node("n0"), make_pod("large", tolerations=many))
    assert cluster.scheduler.queue.count("backoff") == 1
    assert changes == 1
    await cluster.add(make_pod("other"))
    assert cluster.node_of("other") == "n0"


@on_cluster
async def test_a_claim_that_is_deleted_while_it_is_bound_keeps_no_pod_waiting(
    cluster: Cluster,
) -> None:
    slow = {
        "metadata": {"name": "slow"},
        "provisioner": "x",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    await cluster.client.create(msgspec.convert(slow, StorageClass))
    claim = {
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"storageClassName": "slow"},
    }
    await cluster.client.create(msgspec.convert(claim, PersistentVolumeClaim))
    volumes: list[dict[str, Any]] = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    await cluster.add(make_node("n0"), make_pod("p", volumes=volumes))
    info = cluster.scheduler.snapshot.nodes["n0"].pods
    assert [one.key[1] for one in info.values()] == ["p"]  # its binding waits for the claim
    await cluster.client.delete(PersistentVolumeClaim, "data", "default")
    await cluster.settle()
    assert info == {}
    await cluster.wait_for_backoff()
    assert 'persistentvolumeclaim "data" not found' in cluster.message_of("p")


@on_cluster
async def test_a_claim_with_a_selected_node_takes_its_pod_there(cluster: Cluster) -> None:
    slow = {
        "metadata": {"name": "slow"},
        "provisioner": "x",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    await cluster.client.create(msgspec.convert(slow, StorageClass))
    selected = {"volume.kubernetes.io/selected-node": "n1"}
    claim = {
        "metadata": {"name": "data", "namespace": "default", "annotations": selected},
        "spec": {"storageClassName": "slow"},
    }
    await cluster.client.create(msgspec.convert(claim, PersistentVolumeClaim))
    volumes: list[dict[str, Any]] = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    await cluster.add(*(make_node(f"n{number}") for number in (0, 2)))
    await cluster.add(make_pod("p", volumes=volumes))
    assert "didn't find available persistent volumes to bind" in cluster.message_of("p")
    await cluster.add(make_node("n1"))
    await cluster.wait_for_backoff()
    assert [one.key[1] for one in cluster.scheduler.snapshot.nodes["n1"].pods.values()] == ["p"]


@on_cluster
async def test_pods_that_wait_for_their_volumes_keep_no_other_pod_waiting(cluster: Cluster) -> None:
    """A claim that its provisioner refuses is waited for ten minutes, and anyone may create many."""
    slow = {
        "metadata": {"name": "slow"},
        "provisioner": "x",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    await cluster.client.create(msgspec.convert(slow, StorageClass))
    await cluster.add(make_node("n0", cpu="1000", memory="1Ti", pods="1000"))
    for number in range(scheduler.BINDINGS_LIMIT + 5):
        claim = {
            "metadata": {"name": f"data-{number}", "namespace": "default"},
            "spec": {"storageClassName": "slow"},
        }
        await cluster.client.create(msgspec.convert(claim, PersistentVolumeClaim))
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": f"data-{number}"}}
        await cluster.add(make_pod(f"p-{number}", volumes=[volume]))
    await cluster.add(make_pod("plain"))
    assert cluster.node_of("plain") == "n0"
    for number in range(scheduler.BINDINGS_LIMIT + 5):
        status = {"status": {"phase": "Bound"}}
        await cluster.client.patch(
            PersistentVolumeClaim, f"data-{number}", status, "default", subresource="status"
        )
    await cluster.settle()
    assert {cluster.node_of(f"p-{number}") for number in range(scheduler.BINDINGS_LIMIT + 5)} == {
        "n0"
    }
