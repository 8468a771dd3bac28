from datetime import UTC, datetime, timedelta

import pytest
from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.kinds.apps import (
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)
from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodTemplateSpec
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.machinery.times import format_time
from kubelite.control import conditions
from kubelite.control.deployment import (
    HISTORY,
    REVISION,
    DeploymentController,
    new_annotations,
    new_set,
    plan,
    same_template,
    template_hash,
)
from kubelite.control.replicaset import ReplicaSetController
from kubelite.control.rollout import DESIRED, MAXIMUM, fenceposts, proportional_sizes, scaled

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def template(image: str = "web:1", **labels: str) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "web", **labels}),
        spec=PodSpec(containers=[Container(name="web", image=image)]),
    )


def deployment(
    replicas: int = 3, image: str = "web:1", recreate: bool = False, paused: bool = False
) -> Deployment:
    strategy = (
        DeploymentStrategy(type="Recreate")
        if recreate
        else DeploymentStrategy(
            type="RollingUpdate",
            rollingUpdate=RollingUpdateDeployment(maxSurge="25%", maxUnavailable="25%"),
        )
    )
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="default", uid="d", generation=1),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(matchLabels={"app": "web"}),
            template=template(image),
            strategy=strategy,
            progressDeadlineSeconds=600,
            revisionHistoryLimit=10,
            paused=paused,
        ),
    )


def replica_set(
    owner: Deployment,
    image: str,
    size: int,
    *,
    available: int | None = None,
    revision: int = 1,
    age: int = 0,
) -> ReplicaSet:
    made = new_set(replace(owner, spec=replace(owner.spec, template=template(image))), [])
    count = size if available is None else available
    return replace(
        made,
        metadata=replace(
            made.metadata,
            uid=image,
            creationTimestamp=format_time(NOW - timedelta(seconds=age)),
            annotations={**made.metadata.annotations, REVISION: str(revision)},
        ),
        spec=replace(made.spec, replicas=size),
        status=ReplicaSetStatus(replicas=size, availableReplicas=count, readyReplicas=count),
    )


def test_the_hash_ignores_the_order_of_maps_and_minds_collisions() -> None:
    one, other = template(a="1", b="2"), template(b="2", a="1")
    assert template_hash(one, None) == template_hash(other, 0)
    assert template_hash(one, None) != template_hash(one, 1)
    assert template_hash(one, None) != template_hash(template("web:2"), None)
    assert template_hash(template(), None) == template_hash(template(), None)


def test_a_template_equals_itself_with_the_hash_label() -> None:
    owner = deployment()
    assert same_template(new_set(owner, []).spec.template, owner.spec.template)
    assert not same_template(template("x"), owner.spec.template)


@pytest.mark.parametrize(
    ("value", "total", "up", "result"),
    [
        ("25%", 10, True, 3),
        ("25%", 10, False, 2),
        (4, 10, True, 4),
        (None, 5, True, 0),
    ],
)
def test_scaled(value: int | str | None, total: int, up: bool, result: int) -> None:
    assert scaled(value, total, round_up=up) == result


def test_both_fenceposts_are_never_zero() -> None:
    assert fenceposts("0%", "1%", 2) == (0, 1)
    assert fenceposts("1%", "0%", 2) == (1, 0)


def test_the_first_step_creates_the_set_at_full_size() -> None:
    decided = plan(deployment(), [], False, NOW)
    assert decided.create is not None
    assert decided.create.spec.replicas == 3
    assert decided.create.metadata.annotations == {REVISION: "1", DESIRED: "3", MAXIMUM: "4"}
    assert decided.create.metadata.name.startswith("web-")
    progressing = conditions.find(decided.status.conditions, "Progressing")
    assert progressing is not None
    assert progressing.reason == "NewReplicaSetCreated"


def test_an_update_starts_with_the_surge_and_never_goes_below_the_minimum() -> None:
    owner = deployment(image="web:2")
    old = replica_set(owner, "web:1", 3, age=60)
    decided = plan(owner, [old], False, NOW)
    assert decided.create is not None
    assert decided.create.spec.replicas == 1
    newest = replica_set(owner, "web:2", 1, available=0, revision=2)
    assert plan(owner, [old, newest], False, NOW).changes == ()
    ready = replica_set(owner, "web:2", 1, revision=2)
    (change,) = plan(owner, [old, ready], False, NOW).changes
    assert (change.name, change.size) == (old.metadata.name, 2)


def test_unhealthy_old_pods_go_first() -> None:
    owner = deployment(replicas=4, image="web:2")
    old = replica_set(owner, "web:1", 4, available=3, age=60)
    newest = replica_set(owner, "web:2", 1, available=0, revision=2)
    (change,) = plan(owner, [old, newest], False, NOW).changes
    assert (change.name, change.size) == (old.metadata.name, 3)


def test_recreate_waits_for_all_old_pods() -> None:
    owner = deployment(image="web:2", recreate=True)
    old = replica_set(owner, "web:1", 3)
    (change,) = plan(owner, [old], True, NOW).changes
    assert change.size == 0
    gone = replica_set(owner, "web:1", 0)
    assert plan(owner, [gone], True, NOW).create is None
    created = plan(owner, [gone], False, NOW).create
    assert created is not None
    assert created.spec.replicas == 3


def test_a_paused_deployment_scales_but_does_not_roll() -> None:
    owner = deployment(replicas=5, image="web:2", paused=True)
    old = replica_set(owner, "web:1", 3)
    decided = plan(owner, [old], False, NOW)
    assert decided.create is None
    assert [(change.name, change.size) for change in decided.changes] == [(old.metadata.name, 5)]
    progressing = conditions.find(decided.status.conditions, "Progressing")
    assert progressing is not None
    assert progressing.reason == "DeploymentPaused"


def test_scaling_during_a_rollout_is_proportional() -> None:
    owner = deployment(replicas=20)
    old = replica_set(owner, "web:1", 8)
    newest = replica_set(owner, "web:2", 5, available=2)
    marked = [
        replace(one, metadata=replace(one.metadata, annotations={DESIRED: "10", MAXIMUM: "13"}))
        for one in (old, newest)
    ]
    sizes = proportional_sizes(owner, marked)
    assert sum(sizes.values()) == 25
    assert sizes[old.metadata.name] == 15
    assert sizes[newest.metadata.name] == 10


def test_a_rollback_keeps_the_revisions_a_set_had() -> None:
    owner = deployment()
    one = replica_set(owner, "web:1", 3, revision=1)
    annotations = new_annotations(owner, one, 3)
    assert annotations[REVISION] == "3"
    assert annotations[HISTORY] == "1"
    again = new_annotations(
        owner, replace(one, metadata=replace(one.metadata, annotations=annotations)), 5
    )
    assert again[HISTORY] == "1,3"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("3546343826724305832", "3546343826724305833"),
        (str(2**63 - 1), str(2**63 - 1)),
        (str(2**63), "1"),
        ("9" * 5000, "1"),
        ("none", "1"),
    ],
)
def test_the_next_revision_follows_the_largest_of_64_bits(before: str, after: str) -> None:
    owner = deployment(image="web:2")
    old = replica_set(owner, "web:1", 3)
    old = replace(old, metadata=replace(old.metadata, annotations={REVISION: before}))
    created = plan(owner, [old], False, NOW).create
    assert created is not None
    assert created.metadata.annotations[REVISION] == after


def test_a_rollout_that_stands_still_times_out() -> None:
    owner = deployment()
    newest = replica_set(owner, "web:1", 3, available=0)
    first = plan(owner, [newest], False, NOW).status
    stuck = replace(owner, status=first)
    later = plan(stuck, [newest], False, NOW + timedelta(seconds=700)).status
    progressing = conditions.find(later.conditions, "Progressing")
    assert progressing is not None
    assert (progressing.status, progressing.reason) == ("False", "ProgressDeadlineExceeded")


def test_old_empty_sets_beyond_the_limit_are_deleted() -> None:
    owner = deployment(image="web:9")
    owner = replace(owner, spec=replace(owner.spec, revisionHistoryLimit=1))
    newest = replica_set(owner, "web:9", 3, revision=9)
    sets = [replica_set(owner, f"web:{n}", 0, revision=n) for n in range(1, 4)]
    done = replace(owner, status=plan(owner, [*sets, newest], False, NOW).status)
    assert plan(done, [*sets, newest], False, NOW).delete == tuple(
        one.metadata.name for one in sets[:2]
    )


async def make_ready(harness: Harness) -> None:
    """Play the nodes: what is wanted runs, what is deleted ends."""
    for pod in harness.client.all(Pod):
        if pod.metadata.deletionTimestamp:
            await harness.client.delete(Pod, pod.metadata.name, "default", grace_seconds=0)
        elif not pod.status.phase:
            await harness.client.patch(
                Pod,
                pod.metadata.name,
                {
                    "spec": {"nodeName": "n1"},
                    "status": {
                        "phase": "Running",
                        "conditions": [{"type": "Ready", "status": "True"}],
                    },
                },
                "default",
            )
    await harness.settle()


async def test_deployment_and_replicaset_roll_out_together() -> None:
    async with Harness(DeploymentController, ReplicaSetController) as harness:
        client = harness.client
        await client.create(
            replace(deployment(), metadata=ObjectMeta(name="web", namespace="default"))
        )
        await harness.settle()
        assert len(client.all(Pod)) == 3
        for _ in range(3):
            await make_ready(harness)
        (current,) = client.all(Deployment)
        assert current.status.availableReplicas == 3
        assert current.metadata.annotations[REVISION] == "1"
        await client.patch(
            Deployment,
            "web",
            {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}},
            "default",
        )
        await harness.settle()
        for _ in range(12):
            running = [pod for pod in client.all(Pod) if not pod.metadata.deletionTimestamp]
            assert 3 <= len(running) <= 4
            await make_ready(harness)
        images = {pod.spec.containers[0].image for pod in client.all(Pod)}
        assert images == {"web:2"}
        (current,) = client.all(Deployment)
        assert current.status.updatedReplicas == current.status.availableReplicas == 3
        assert current.metadata.annotations[REVISION] == "2"
        reasons = {condition.reason for condition in current.status.conditions}
        assert reasons == {"MinimumReplicasAvailable", "NewReplicaSetAvailable"}
        assert sorted(one.spec.replicas or 0 for one in client.all(ReplicaSet)) == [0, 3]
        assert any(event.reason == "ScalingReplicaSet" for event in client.all(Event))


async def test_a_taken_name_counts_as_collision() -> None:
    async with Harness(DeploymentController) as harness:
        stranger = new_set(deployment(), [])
        bare = replace(stranger.metadata, ownerReferences=[], labels={})
        await harness.client.create(
            replace(
                stranger, metadata=bare, spec=replace(stranger.spec, template=template("other"))
            )
        )
        await harness.client.create(
            replace(deployment(), metadata=ObjectMeta(name="web", namespace="default"))
        )
        await harness.settle()
        (current,) = harness.client.all(Deployment)
        assert current.status.collisionCount == 1
        assert len(harness.client.all(ReplicaSet)) == 2
