from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st
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
from kubelite.api.kinds.core.pods import (
    Pod,
    PodCondition,
    PodIP,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
)
from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.machinery.times import format_time
from kubelite.control import deployment as rollouts
from kubelite.control import endpointslice, indexes, replicaset
from kubelite.control.indexes import IndexSet
from kubelite.control.rollout import fenceposts, proportional_sizes

NOW = datetime(2026, 1, 1, tzinfo=UTC)

pods = st.lists(
    st.builds(
        lambda name, node, phase, ready: Pod(
            metadata=ObjectMeta(name=f"p{name}", uid=f"p{name}"),
            spec=PodSpec(nodeName=node),
            status=PodStatus(
                phase=phase,
                conditions=[PodCondition(type="Ready", status="True" if ready else "False")],
            ),
        ),
        st.integers(0, 10_000),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["Pending", "Running", "Unknown"]),
        st.booleans(),
    ),
    unique_by=lambda pod: pod.metadata.name,
    max_size=30,
)


@given(st.integers(0, 60), pods)
def test_a_replica_set_plan_ends_at_the_wanted_number(wanted: int, present: list[Pod]) -> None:
    plan = replicaset.plan(wanted, present, present, NOW)
    assert len(present) + plan.create - len(plan.delete) == wanted
    assert not (plan.create and plan.delete)
    gone = set(plan.delete)
    left = [pod for pod in present if pod.metadata.name not in gone]
    assert len(left) == len(present) - len(plan.delete)
    dropped = [pod for pod in present if pod.metadata.name in gone]
    if any(pod.spec.nodeName for pod in dropped):
        # Pods without a node go before any that has one.
        assert all(pod.spec.nodeName for pod in left)
    assert replicaset.plan(len(left) + plan.create, left, left, NOW).delete == ()


percentages = st.one_of(st.integers(0, 10), st.integers(0, 100).map(lambda n: f"{n}%"))


@given(percentages, percentages, st.integers(0, 50))
def test_fenceposts_let_a_rollout_go_on(surge: int | str, missing: int | str, wanted: int) -> None:
    above, below = fenceposts(surge, missing, wanted)
    assert above >= 0
    assert below >= 0
    assert above + below > 0


def make(replicas: int, surge: int | str, missing: int | str, image: str) -> Deployment:
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "web"}),
        spec=PodSpec(containers=[Container(name="web", image=image)]),
    )
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="default", uid="d", generation=1),
        spec=DeploymentSpec(
            replicas=replicas,
            selector=LabelSelector(matchLabels={"app": "web"}),
            template=template,
            strategy=DeploymentStrategy(
                type="RollingUpdate",
                rollingUpdate=RollingUpdateDeployment(maxSurge=surge, maxUnavailable=missing),
            ),
        ),
    )


def ready(one: ReplicaSet, uid: str, age: int) -> ReplicaSet:
    """Return the set as it is once all its pods are available."""
    size = one.spec.replicas or 0
    created = one.metadata.creationTimestamp or format_time(NOW - timedelta(hours=age))
    return replace(
        one,
        metadata=replace(one.metadata, uid=uid, creationTimestamp=created),
        status=ReplicaSetStatus(replicas=size, readyReplicas=size, availableReplicas=size),
    )


@given(
    st.integers(1, 20),
    percentages,
    percentages,
    st.lists(st.sampled_from("abc"), min_size=2, max_size=5),
)
def test_a_rollout_ends_and_stays_between_its_fenceposts(
    replicas: int, surge: int | str, missing: int | str, images: Sequence[str]
) -> None:
    above, below = fenceposts(surge, missing, replicas)
    sets: dict[str, ReplicaSet] = {}
    for number, image in enumerate(images):
        owner = make(replicas, surge, missing, image)
        for _ in range(200):
            plan = rollouts.plan(owner, list(sets.values()), False, NOW)
            if plan.create is None and not plan.changes:
                break
            if plan.create is not None:
                sets[plan.create.metadata.name] = ready(
                    plan.create, plan.create.metadata.name, 99 - number
                )
            for change in plan.changes:
                one = sets[change.name]
                metadata = replace(one.metadata, annotations=dict(change.annotations))
                spec = replace(one.spec, replicas=change.size)
                sets[change.name] = ready(
                    replace(one, metadata=metadata, spec=spec), change.name, 0
                )
            total = sum(one.spec.replicas or 0 for one in sets.values())
            if number:
                assert replicas - min(below, replicas) <= total <= replicas + above
        else:
            raise AssertionError("the rollout does not end")
        newest = rollouts.newest_set(owner, list(sets.values()))
        assert newest is not None
        assert newest.spec.replicas == replicas
        assert sum(one.spec.replicas or 0 for one in sets.values()) == replicas
        revisions = [one.metadata.annotations[rollouts.REVISION] for one in sets.values()]
        assert len(set(revisions)) == len(revisions)


def share(wanted: int, sizes: Sequence[int]) -> list[int]:
    owner = make(wanted, "25%", "25%", "x")
    owner = replace(owner, status=replace(owner.status, replicas=sum(sizes)))
    sets = [
        replace(
            rollouts.new_set(make(size, 0, 1, f"image-{number}"), []),
            metadata=ObjectMeta(name=f"s{number}"),
        )
        for number, size in enumerate(sizes)
    ]
    return list(proportional_sizes(owner, sets).values())


@example(1, [1, 1, 1, 1])  # the largest gives up what rounding leaves, but has only one to give
@given(st.integers(0, 40), st.lists(st.integers(1, 20), min_size=2, max_size=4))
def test_proportional_sizes_come_to_share_all_there_is(wanted: int, sizes: list[int]) -> None:
    """One step may fall short by what the largest set cannot give up, as upstream; the next ones make up for it."""
    allowed = wanted + fenceposts("25%", "25%", wanted)[0] if wanted else 0
    missing = abs(sum(sizes) - allowed)
    while missing:
        sizes = [size for size in share(wanted, sizes) if size]
        assert abs(sum(sizes) - allowed) < missing, "each step comes nearer"
        missing = abs(sum(sizes) - allowed)
    assert all(size > 0 for size in sizes)


@given(st.sets(st.integers(0, 200)))
def test_index_sets_come_back(found: set[int]) -> None:
    assert indexes.parse(str(IndexSet.of(found))) == IndexSet.of(found)


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.integers(0, 35))
def test_index_sets_are_sets(one: set[int], other: set[int], end: int) -> None:
    mine, theirs = IndexSet.of(one), IndexSet.of(other)
    assert mine | theirs == IndexSet.of(one | other)
    assert mine & theirs == IndexSet.of(one & other)
    assert [index for index in range(32) if index in mine] == sorted(one)
    assert len(mine) == len(one)
    assert list(mine.missing(end)) == [index for index in range(end) if index not in one]


@given(st.lists(st.sets(st.integers(0, 400), max_size=250), min_size=1, max_size=4))
def test_slices_hold_just_the_wanted_endpoints(rounds: list[set[int]]) -> None:
    service = Service(
        metadata=ObjectMeta(name="web", namespace="default", uid="s"),
        spec=ServiceSpec(
            selector={"app": "web"},
            clusterIP="10.43.0.7",
            ipFamilies=["IPv4"],
            ports=[ServicePort(port=80, protocol="TCP")],
        ),
    )
    slices: dict[str, EndpointSlice] = {}
    made = 0
    for numbers in rounds:
        present = [
            Pod(
                metadata=ObjectMeta(name=f"p{n}", uid=f"u{n}", namespace="default"),
                status=PodStatus(podIPs=[PodIP(ip=f"10.42.{n // 250}.{n % 250}")]),
            )
            for n in sorted(numbers)
        ]
        plan = endpointslice.plan(service, present, {}, list(slices.values()))
        for one in plan.update:
            slices[one.metadata.name] = one
        for name in plan.delete:
            del slices[name]
        for one in plan.create:
            made += 1
            slices[f"web-{made}"] = replace(one, metadata=replace(one.metadata, name=f"web-{made}"))
        held = [
            address
            for one in slices.values()
            for each in one.endpoints
            for address in each.addresses
        ]
        assert len(held) == len(set(held))
        assert set(held) == {pod.status.podIPs[0].ip for pod in present}
        assert all(len(one.endpoints) <= 100 for one in slices.values())
        assert slices
        again = endpointslice.plan(service, present, {}, list(slices.values()))
        assert (again.create, again.update, again.delete) == ((), (), ())
