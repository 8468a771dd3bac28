"""The cluster may change between any two steps of a decision; what is returned holds at the end all the same."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from fakes.fake_client import FakeClient

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.storage import StorageClass
from kubelite.control.scheduler.decision import Decider, Unschedulable
from kubelite.control.scheduler.filters import rejection
from kubelite.control.scheduler.node_info import Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.preemption import Outcome, preempt
from kubelite.control.scheduler.steps import Steps, TooManySteps, at_once
from kubelite.control.scheduler.volumes import Volumes
from kubelite.randomness import SeededRandomness
from unit.control.scheduler.pods import make_node, make_pod

R = TypeVar("R")
Change = Callable[[Decider], None]


def terms(**kinds: str) -> dict[str, Any]:
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}
    weighted = {"weight": 1, "podAffinityTerm": term}
    return {
        kind: {
            "requiredDuringSchedulingIgnoredDuringExecution": [term] * (how == "required"),
            "preferredDuringSchedulingIgnoredDuringExecution": [weighted] * (how == "preferred"),
        }
        for kind, how in kinds.items()
    }


def decider(
    nodes: int = 3, cpu: str = "100m", priority: int = 0, volumes: Volumes | None = None
) -> Decider:
    """Return a decider for nodes n0, n1 … of four CPUs, each in a zone of its own and with one pod p0, p1 …."""
    snapshot = Snapshot()
    for number in range(nodes):
        snapshot.set_node(make_node(f"n{number}", labels={"zone": f"z{number}"}))
        pod = make_pod(f"p{number}", cpu=cpu, labels={"app": "web"}, priority=priority)
        snapshot.place(PodInfo(pod), f"n{number}")
    return Decider(snapshot, volumes or Volumes(FakeClient()), lambda _: {}, SeededRandomness(1))


def at_each_step(
    make: Callable[[], tuple[Decider, Steps[R]]], change: Change
) -> list[tuple[Decider, R]]:
    """Make a decision once for each of its steps, with the change after that step; return what each returned."""
    decider, steps = make()
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration:
            break
        count += 1
    results = []
    for last in range(1, count + 1):
        decider, steps = make()
        for _ in range(last):
            next(steps)
        change(decider)
        results.append((decider, at_once(steps)))
    assert len(results) > 3
    return results


def remove_two(made: Decider) -> None:
    for name in ("n0", "n1"):
        made.snapshot.remove_node(name)


def remove_two_and_their_pods(made: Decider) -> None:
    for number in (0, 1):
        made.snapshot.remove(f"p{number}")
        made.snapshot.remove_node(f"n{number}")


def replace_two_by_smaller_ones(made: Decider) -> None:
    remove_two_and_their_pods(made)
    for name in ("n0", "n1"):
        made.snapshot.set_node(make_node(name, cpu="1m"))


def cordon_two(made: Decider) -> None:
    for name in ("n0", "n1"):
        made.snapshot.set_node(make_node(name, unschedulable=True, labels={"zone": name}))


def fill_two(made: Decider) -> None:
    for name in ("n0", "n1"):
        made.snapshot.place(PodInfo(make_pod(f"large-{name}", cpu="3900m")), name)


def nominate_for_two(made: Decider) -> None:
    for name in ("n0", "n1"):
        made.snapshot.nominate(PodInfo(make_pod(f"to-{name}", cpu="3900m", priority=5)), name)


def take_labels(made: Decider) -> None:
    for name in ("n0", "n1"):
        made.snapshot.set_node(make_node(name))


SPREAD = {
    "topologyKey": "zone",
    "maxSkew": 1,
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app": "web"}},
}


@pytest.mark.parametrize(
    "change",
    [
        remove_two,
        remove_two_and_their_pods,
        replace_two_by_smaller_ones,
        cordon_two,
        fill_two,
        nominate_for_two,
        take_labels,
    ],
)
def test_the_chosen_node_is_right_when_it_is_returned(change: Change) -> None:
    info = PodInfo(
        make_pod(
            "p",
            labels={"app": "web"},
            affinity=terms(podAffinity="required", podAntiAffinity="preferred"),
            topologySpreadConstraints=[SPREAD, {**SPREAD, "whenUnsatisfiable": "ScheduleAnyway"}],
        )
    )

    def make() -> tuple[Decider, Steps[Any]]:
        made = decider()
        return made, made.choose(info)

    for _, (node, _) in at_each_step(make, change):
        assert node.name == "n2"


def test_a_decision_whose_nodes_all_go_counts_none_of_them() -> None:
    made = decider(2)
    steps = made.choose(PodInfo(make_pod("p", affinity=terms(podAffinity="preferred"))))
    next(steps)
    remove_two(made)
    with pytest.raises(Unschedulable, match="no nodes available to schedule pods") as refused:
        at_once(steps)
    assert (refused.value.total, refused.value.causes) == (0, frozenset({"NodeName"}))


def test_nodes_that_go_during_a_decision_are_not_counted_among_those_that_refuse() -> None:
    made = decider()
    affinity = terms(podAffinity="required", podAntiAffinity="preferred")
    steps = made.choose(PodInfo(make_pod("p", cpu="9", affinity=affinity)))
    next(steps)
    remove_two(made)
    with pytest.raises(Unschedulable, match=r"^0/1 nodes are available: 1 Insufficient cpu\.$"):
        at_once(steps)


@pytest.mark.parametrize(
    ("kind", "how", "better"),
    [
        ("podAntiAffinity", "required", "twin"),
        ("podAntiAffinity", "preferred", "twin"),
        ("podAffinity", "required", "n1"),
        ("podAffinity", "preferred", "n1"),
    ],
)
def test_the_terms_of_pods_on_a_deleted_node_do_not_count(kind: str, how: str, better: str) -> None:
    made = decider(2)
    made.snapshot.set_node(make_node("twin", labels={"zone": "z0"}))
    made.snapshot.place(PodInfo(make_pod("speaker", affinity=terms(**{kind: how}))), "n0")
    made.snapshot.remove_node("n0")
    made.snapshot.place(PodInfo(make_pod("x", cpu="1")), {"twin": "n1", "n1": "twin"}[better])
    node, _ = at_once(made.choose(PodInfo(make_pod("p", labels={"app": "web"}))))
    assert node.name == better


# --- volumes


def claims_and_volumes(client: FakeClient, **volume: Any) -> PodInfo:
    """Store a claim that waits for its first consumer and a volume for it; return a pod that uses the claim."""
    spec = {"storageClassName": "slow", "accessModes": ["ReadWriteOnce"]}
    put(client, StorageClass, "slow", volumeBindingMode="WaitForFirstConsumer", provisioner="x")
    put(client, PersistentVolumeClaim, "data", namespace="default", spec=spec)
    put(client, PersistentVolume, "v", spec={**spec, **volume})
    used = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    return PodInfo(
        make_pod("p", cpu="2", priority=5, volumes=used, affinity=terms(podAffinity="preferred"))
    )


def put(client: FakeClient, kind: Any, name: str, namespace: str = "", **fields: Any) -> None:
    metadata = {"name": name, "namespace": namespace}
    client.mirror(kind).put(msgspec.convert({"metadata": metadata, **fields}, kind))


def test_a_node_that_its_volume_cannot_reach_any_more_is_not_chosen() -> None:
    here = {"key": "zone", "operator": "Exists"}
    terms_of_nodes = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    client = FakeClient()
    info = claims_and_volumes(client, nodeAffinity=terms_of_nodes)
    put(
        client,
        StorageClass,
        "slow",
        volumeBindingMode="WaitForFirstConsumer",
        provisioner="kubernetes.io/no-provisioner",
    )

    def make() -> tuple[Decider, Steps[Any]]:
        made = decider(volumes=Volumes(client))
        return made, made.choose(info)

    for _, (node, volumes) in at_each_step(make, take_labels):
        assert node.name == "n2"
        assert len(volumes.preparation(node).bind) == 1


# --- preemption


URGENT = PodInfo(make_pod("urgent", cpu="3", priority=5))


def search(
    decider: Decider, info: PodInfo, refused: Unschedulable | None = None
) -> tuple[Decider, Steps[Outcome]]:
    if refused is None:
        with pytest.raises(Unschedulable) as raised:
            at_once(decider.choose(info))
        refused = raised.value
    return decider, preempt(decider, info, refused, lambda *_: ())


def take_what_is_free(made: Decider) -> None:
    """Place pods on n0 and n1, so that one victim there is no longer enough."""
    for name in ("n0", "n1"):
        made.snapshot.place(PodInfo(make_pod(f"late-{name}", cpu="1500m")), name)


def take_what_is_free_everywhere(made: Decider) -> None:
    take_what_is_free(made)
    made.snapshot.place(PodInfo(make_pod("late-n2", cpu="1500m")), "n2")


@pytest.mark.parametrize(
    "change",
    [
        remove_two,
        remove_two_and_their_pods,
        cordon_two,
        take_what_is_free,
        take_what_is_free_everywhere,
        take_labels,
    ],
)
def test_the_victims_are_enough_when_they_are_returned(change: Change) -> None:
    for made, outcome in at_each_step(lambda: search(decider(cpu="2500m"), URGENT), change):
        assert outcome.candidate is not None
        node = made.snapshot.nodes[outcome.candidate.node]
        assert node.node is not None
        assert all(victim.metadata.uid in node.pods for victim in outcome.candidate.victims)
        for victim in outcome.candidate.victims:
            made.snapshot.remove(victim.metadata.uid)
        assert rejection(URGENT, node) is None


def test_no_pod_is_evicted_if_the_preemptor_fits_by_now() -> None:
    made = decider(cpu="2500m", priority=-5)
    made.snapshot.place(PodInfo(make_pod("small", cpu="1m", priority=-5)), "n1")
    _, steps = search(made, URGENT)
    next(steps)
    made.snapshot.remove("p1")
    candidate = at_once(steps).candidate
    assert candidate is not None
    assert (candidate.node, candidate.victims) == ("n1", ())


def test_a_limit_reached_while_victims_are_selected_anew_leaves_the_other_candidates() -> None:
    made, steps = search(decider(cpu="2500m"), URGENT)
    count = sum(1 for _ in search(decider(cpu="2500m"), URGENT)[1])
    for _ in range(count):
        next(steps)
    cordon_two(made)
    next(steps)
    with pytest.raises(StopIteration) as end:
        steps.throw(TooManySteps)
    outcome = end.value.value
    assert outcome.candidate is not None
    assert outcome.candidate.node == "n2"


def delete_claim(client: FakeClient) -> None:
    claim = client.mirror(PersistentVolumeClaim).get("data", "default")
    if claim is not None:
        client.mirror(PersistentVolumeClaim).drop(claim)


def test_no_pod_is_evicted_for_one_whose_claim_changed() -> None:
    client = FakeClient()
    info = claims_and_volumes(client)
    made = decider(cpu="2500m", volumes=Volumes(client))
    _, steps = search(made, info)
    next(steps)
    delete_claim(client)
    assert at_once(steps) == Outcome(is_outdated=True)


def test_no_pod_is_evicted_for_one_whose_claim_is_gone_when_preemption_begins() -> None:
    client = FakeClient()
    info = claims_and_volumes(client)
    made = decider(cpu="2500m", volumes=Volumes(client))
    _, steps = search(made, info)
    delete_claim(client)
    assert at_once(steps) == Outcome(is_outdated=True)


def nominated(pod: PodInfo, node: str) -> PodInfo:
    status = msgspec.structs.replace(pod.pod.status, nominatedNodeName=node)
    return PodInfo(msgspec.structs.replace(pod.pod, status=status))


def leaving(name: str, cpu: str) -> Pod:
    pod = make_pod(name, cpu=cpu)
    metadata = msgspec.structs.replace(pod.metadata, deletionTimestamp="2026-01-01T00:00:00Z")
    return msgspec.structs.replace(pod, metadata=metadata)


@pytest.mark.parametrize("change", [remove_two, cordon_two])
def test_a_pod_whose_nominated_node_goes_preempts_elsewhere(change: Change) -> None:
    made = decider(cpu="2500m")
    made.snapshot.place(PodInfo(leaving("victim", "1")), "n0")
    info = nominated(URGENT, "n0")
    assert "terminating pod on the nominated node" in at_once(search(made, info)[1]).message
    change(made)
    candidate = at_once(search(made, info)[1]).candidate
    assert candidate is not None
    assert candidate.node == "n2"


@pytest.mark.parametrize(
    ("info", "ends"),
    [
        (PodInfo(make_pod("huge", cpu="9", priority=5)), True),
        (PodInfo(make_pod("equal", cpu="3")), True),
        (PodInfo(make_pod("meek", cpu="3", priority=5, preemptionPolicy="Never")), False),
        (URGENT, False),
    ],
)
def test_a_nomination_ends_when_preemption_helps_nowhere(info: PodInfo, ends: bool) -> None:
    assert at_once(search(decider(cpu="2500m"), info)[1]).ends_nomination == ends


def test_a_search_past_the_limit_ends_no_nomination() -> None:
    _, steps = search(decider(cpu="2500m"), URGENT)
    next(steps)
    with pytest.raises(StopIteration) as end:
        steps.throw(TooManySteps)
    assert end.value.value == Outcome()
