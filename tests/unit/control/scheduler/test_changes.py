"""The cluster may change between any two steps of a decision; what is returned holds at the end all the same."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from fakes.fake_client import FakeClient

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.storage import StorageClass
from kubelite.control.scheduler.decision import Decider, Unschedulable
from kubelite.control.scheduler.node_info import Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.steps import Steps, at_once
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
