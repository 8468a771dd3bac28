from datetime import UTC, datetime, timedelta

from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.errors import Forbidden
from kubelite.api.kinds.apps import ReplicaSet, ReplicaSetSpec
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.pods import Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec
from kubelite.api.kinds.core.replication_controllers import (
    ReplicationController,
    ReplicationControllerSpec,
)
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.machinery.times import format_time
from kubelite.control.replicaset import (
    ReplicaSetController,
    ReplicationControllerController,
    plan,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TEMPLATE = PodTemplateSpec(
    metadata=ObjectMeta(labels={"app": "web"}),
    spec=PodSpec(containers=[Container(name="web", image="web")]),
)


def pod(
    name: str,
    node: str = "n1",
    phase: str = "Running",
    ready_seconds: int | None = 10,
    cost: str = "",
) -> Pod:
    conditions = []
    if ready_seconds is not None:
        since = format_time(NOW - timedelta(seconds=ready_seconds))
        conditions = [PodCondition(type="Ready", status="True", lastTransitionTime=since)]
    return Pod(
        metadata=ObjectMeta(
            name=name,
            uid=name,
            creationTimestamp=format_time(NOW - timedelta(hours=1)),
            annotations={"controller.kubernetes.io/pod-deletion-cost": cost} if cost else {},
        ),
        spec=PodSpec(nodeName=node),
        status=PodStatus(phase=phase, conditions=conditions),
    )


def test_missing_pods_are_created_and_surplus_ones_deleted() -> None:
    assert plan(3, [pod("a")], [], NOW).create == 2
    assert plan(1, [pod("a")], [], NOW) == plan(0, [], [], NOW)
    assert len(plan(0, [pod("a"), pod("b")], [], NOW).delete) == 2
    assert plan(2000, [], [], NOW).create == 500


def test_the_least_missed_pods_go_first() -> None:
    pods = [
        pod("old-ready", ready_seconds=1000),
        pod("cheap", cost="-5"),
        pod("young-ready", ready_seconds=2),
        pod("unready", ready_seconds=None),
        pod("pending", phase="Pending", ready_seconds=None),
        pod("unassigned", node="", phase="Pending", ready_seconds=None),
        pod("dear", cost="9", ready_seconds=1),
    ]
    order = ["unassigned", "pending", "unready", "cheap", "young-ready", "old-ready", "dear"]
    for wanted in range(len(pods)):
        assert plan(wanted, pods, [], NOW).delete == (
            tuple(order[: len(pods) - wanted])
            if wanted
            else tuple(one.metadata.name for one in pods)
        )


def test_crowded_nodes_lose_pods_first() -> None:
    pods = [pod("a", node="n1"), pod("b", node="n2"), pod("c", node="n2")]
    assert plan(2, pods, pods, NOW).delete[0] in {"b", "c"}


def replica_set(replicas: int, name: str = "rs") -> ReplicaSet:
    return ReplicaSet(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=ReplicaSetSpec(
            replicas=replicas, selector=LabelSelector(matchLabels={"app": "web"}), template=TEMPLATE
        ),
    )


async def test_orphans_are_adopted_and_strangers_released() -> None:
    async with Harness(ReplicaSetController) as harness:
        client = harness.client
        orphan = Pod(metadata=ObjectMeta(name="orphan", namespace="default", labels={"app": "web"}))
        await client.create(orphan)
        await client.create(replica_set(2))
        await harness.settle()
        (owner,) = client.all(ReplicaSet)
        assert len(client.all(Pod)) == 2
        adopted = await client.get(Pod, "orphan", "default")
        assert adopted.metadata.ownerReferences[0].uid == owner.metadata.uid
        await client.patch(Pod, "orphan", {"metadata": {"labels": {"app": "other"}}}, "default")
        await harness.settle()
        released = await client.get(Pod, "orphan", "default")
        assert released.metadata.ownerReferences == []
        assert len(client.all(Pod)) == 3
        assert client.all(ReplicaSet)[0].status.replicas == 2


async def test_a_refused_creation_is_asked_once_and_shown() -> None:
    async with Harness(ReplicaSetController) as harness:
        asked = 0

        def refuse(verb: str, kind: str) -> Forbidden | None:
            nonlocal asked
            if (verb, kind) != ("create", "Pod"):
                return None
            asked += 1
            return Forbidden("exceeded quota")

        harness.client.refuse = refuse
        await harness.client.create(replica_set(100))
        await harness.settle()
        (owner,) = harness.client.all(ReplicaSet)
        assert asked <= 3
        assert owner.status.conditions[0].reason == "FailedCreate"
        assert owner.status.conditions[0].message == "exceeded quota"


async def test_pods_count_as_available_after_their_time() -> None:
    async with Harness(ReplicaSetController) as harness:
        client = harness.client
        owner = replica_set(1)
        await client.create(replace(owner, spec=replace(owner.spec, minReadySeconds=30)))
        await harness.settle()
        (only,) = client.all(Pod)
        status = {
            "phase": "Running",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "lastTransitionTime": format_time(harness.clock.now()),
                }
            ],
        }
        await client.patch(Pod, only.metadata.name, {"status": status}, "default")
        await harness.settle()
        (current,) = client.all(ReplicaSet)
        assert (current.status.readyReplicas, current.status.availableReplicas) == (1, 0)
        harness.clock.advance(31)
        await client.patch(Pod, only.metadata.name, {"metadata": {"labels": {"x": "y"}}}, "default")
        await harness.settle()
        assert client.all(ReplicaSet)[0].status.availableReplicas == 1


async def test_replication_controllers_work_alike() -> None:
    async with Harness(ReplicationControllerController) as harness:
        await harness.client.create(
            ReplicationController(
                metadata=ObjectMeta(name="rc", namespace="default"),
                spec=ReplicationControllerSpec(
                    replicas=2, selector={"app": "web"}, template=TEMPLATE
                ),
            )
        )
        await harness.settle()
        assert len(harness.client.all(Pod)) == 2
        assert harness.client.all(ReplicationController)[0].status.replicas == 2
