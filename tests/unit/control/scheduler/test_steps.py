"""No decision holds the loop for long, whatever stands in the pods."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from fakes.fake_client import FakeClient

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.scheduling import Toleration
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery import label_matching, node_matching, tolerations
from kubelite.api.machinery.tolerations import Tolerations
from kubelite.control.scheduler import affinity
from kubelite.control.scheduler.decision import TOO_MANY_TERMS, Decider, Unschedulable
from kubelite.control.scheduler.node_info import NodeInfo, Snapshot
from kubelite.control.scheduler.pod_info import PodInfo, Term
from kubelite.control.scheduler.preemption import preempt
from kubelite.control.scheduler.queue import NODE, POD_REMOVED, WAKE_AT_ONCE, SchedulingQueue
from kubelite.control.scheduler.steps import STEPS_A_TURN, Steps, at_once, in_turns
from kubelite.control.scheduler.volumes import Volumes
from kubelite.limits import DECISION_STEPS
from kubelite.randomness import SeededRandomness
from unit.control.scheduler.pods import make_node, make_pod

R = TypeVar("R")


def anti_affinity(count: int, **more: Any) -> dict[str, Any]:
    terms = [
        {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": f"a{number}"}},
            **more,
        }
        for number in range(count)
    ]
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def spread(count: int) -> list[dict[str, Any]]:
    return [
        {
            "topologyKey": f"k{number}",
            "maxSkew": 1,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
        for number in range(count)
    ]


def node_affinity(count: int) -> dict[str, Any]:
    terms = [
        {"matchExpressions": [{"key": f"k{number}", "operator": "Exists"}]}
        for number in range(count)
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


def decider(nodes: int, pods_each: int, **labels: str) -> Decider:
    snapshot = Snapshot()
    for number in range(nodes):
        snapshot.set_node(make_node(f"n{number}", labels=labels))
        for other in range(pods_each):
            snapshot.place(
                PodInfo(make_pod(f"p{number}-{other}", labels={"app": "web"})), f"n{number}"
            )
    client = FakeClient()
    return Decider(snapshot, Volumes(client), lambda _: {}, SeededRandomness(1))


class Counted:
    """Drives a decision; notes the steps it says it has done, and the calls made, between two turns."""

    def __init__(self) -> None:
        self.calls = 0
        self.total = 0
        self.most_calls = 0
        self.most_steps = 0

    def drive(self, steps: Steps[R]) -> R | None:
        try:
            while True:
                before = self.calls
                done = next(steps)
                self.total += done
                self.most_steps = max(self.most_steps, done)
                self.most_calls = max(self.most_calls, self.calls - before)
        except StopIteration as end:
            result: R = end.value
            return result
        except Unschedulable:
            return None


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counts = Counted()
    selects = affinity.term_selects

    def counting(term: Term, other: PodInfo, labels_of: affinity.NamespaceLabels) -> bool:
        counts.calls += 1
        return selects(term, other, labels_of)

    monkeypatch.setattr(affinity, "term_selects", counting)
    return counts


@pytest.mark.parametrize("terms", [300, 600])
def test_affinity_terms_are_checked_with_turns_in_between(counted: Counted, terms: int) -> None:
    info = PodInfo(make_pod("p", affinity=anti_affinity(terms)))
    assert counted.drive(decider(10, 10).choose(info)) is not None
    assert counted.calls == terms * 100
    assert counted.most_calls <= terms
    assert counted.total >= counted.calls
    assert counted.total <= 2 * counted.calls + 2000


@pytest.mark.parametrize("pods", [20, 40])
def test_terms_of_pods_in_other_namespaces_cost_a_pod_nothing(counted: Counted, pods: int) -> None:
    made = decider(10, 1)
    for number in range(pods):
        other = make_pod(f"far-{number}", affinity=anti_affinity(100, namespaces=["far"]))
        made.snapshot.place(PodInfo(other), "n1")
    assert counted.drive(made.choose(PodInfo(make_pod("p")))) is not None
    assert counted.calls == 0


def test_the_terms_of_each_existing_pod_are_a_turn(counted: Counted) -> None:
    made = decider(10, 0)
    for number in range(40):
        made.snapshot.place(PodInfo(make_pod(f"o{number}", affinity=anti_affinity(100))), "n1")
    counted.drive(made.choose(PodInfo(make_pod("p"))))
    assert counted.calls == 4000
    assert counted.most_calls <= 100


@pytest.mark.parametrize("count", [400, 800])
def test_constraints_on_keys_that_no_node_has_cost_no_look_at_pods(
    counted: Counted, count: int
) -> None:
    info = PodInfo(make_pod("p", topologySpreadConstraints=spread(count)))
    assert counted.drive(decider(20, 20).choose(info)) is None
    assert counted.total <= 4 * count + 20 * count + 1000
    assert counted.most_steps <= STEPS_A_TURN


@pytest.mark.parametrize("count", [1500, 3000])
def test_node_affinity_terms_are_compiled_once_and_counted_for_each_node(
    counted: Counted, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    made = 0
    compile_once = label_matching.matcher_of

    def counting(requirements: Any) -> Any:
        nonlocal made
        made += 1
        return compile_once(requirements)

    monkeypatch.setattr(node_matching, "matcher_of", counting)
    info = PodInfo(make_pod("p", affinity=node_affinity(count)))
    assert counted.drive(decider(30, 0).choose(info)) is None
    assert made == count
    assert 30 * count <= counted.total <= 35 * count
    assert counted.most_steps <= 2 * count


@pytest.mark.parametrize("count", [1000, 2000])
def test_many_tolerations_are_looked_up(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    asked = 0
    one_by_one = tolerations.tolerates

    def counting(toleration: Toleration, taint: tolerations.Taint) -> bool:
        nonlocal asked
        asked += 1
        return one_by_one(toleration, taint)

    monkeypatch.setattr(tolerations, "tolerates", counting)
    many = Tolerations(
        [Toleration(key=f"k{number}", operator="Exists") for number in range(count)]
        + [Toleration(key="gpu", value=f"v{number}") for number in range(count)]
        + [Toleration(key="gpu", operator="Gt", value=str(number)) for number in range(5, count)]
    )
    assert many.cover(("gpu", "v7", "NoSchedule"))
    assert many.cover(("gpu", "6", "NoSchedule"))
    assert not many.cover(("gpu", "5", "NoSchedule"))
    assert asked <= 12


async def test_a_decision_past_the_limit_is_given_up_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DECISION_STEPS, "value", 20_000)
    info = PodInfo(make_pod("p", affinity=anti_affinity(500)))
    with pytest.raises(Unschedulable, match="0/10 nodes are available: too many affinity and"):
        await in_turns(decider(10, 10).choose(info))


async def test_preemption_past_the_limit_takes_the_best_found_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = decider(40, 3)
    info = PodInfo(make_pod("p", cpu="3800m", priority=5, affinity=anti_affinity(200)))
    with pytest.raises(Unschedulable) as refused:
        at_once(made.choose(info))
    monkeypatch.setattr(DECISION_STEPS, "value", 400_000)
    before = DECISION_STEPS.times_reached
    outcome, has_paused = await in_turns(preempt(made, info, refused.value, lambda *_: ()))
    assert has_paused
    assert DECISION_STEPS.times_reached == before + 1
    assert outcome.candidate is not None


def refused_by(made: Decider, info: PodInfo) -> Unschedulable:
    with pytest.raises(Unschedulable) as refused:
        at_once(made.choose(info))
    return refused.value


def volumes_for_two_claims(count: int) -> tuple[Volumes, PodInfo]:
    """Return free volumes, and a pod with claims that wait for a node to choose one."""
    client = FakeClient()
    waiting = {"storageClassName": "slow", "accessModes": ["ReadWriteOnce"]}
    slow = {"metadata": {"name": "slow"}, "volumeBindingMode": "WaitForFirstConsumer"}
    client.mirror(StorageClass).put(msgspec.convert(slow, StorageClass))
    for name in ("a", "b"):
        claim = {"metadata": {"name": name, "namespace": "default"}, "spec": waiting}
        client.mirror(PersistentVolumeClaim).put(msgspec.convert(claim, PersistentVolumeClaim))
    for number in range(count):
        volume = {"metadata": {"name": f"v{number}"}, "spec": waiting}
        client.mirror(PersistentVolume).put(msgspec.convert(volume, PersistentVolume))
    used = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("a", "b")]
    return Volumes(client), PodInfo(make_pod("p", cpu="9", priority=5, volumes=used))


async def test_preemption_past_the_limit_before_its_first_node_has_no_victims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DECISION_STEPS, "value", 1000)
    made = decider(2, 1)
    made.volumes, info = volumes_for_two_claims(1000)
    refused = Unschedulable(2, {}, TOO_MANY_TERMS, "TooManySteps")
    outcome, has_paused = await in_turns(preempt(made, info, refused, lambda *_: ()))
    assert has_paused
    assert outcome.candidate is None


def until_half(steps: Steps[R], change: Callable[[], None]) -> R:
    """Drive a decision; `change` the cluster after its first step."""
    next(steps)
    change()
    return at_once(steps)


def test_a_node_that_goes_during_a_preemption_is_passed_over() -> None:
    made = decider(3, 1)
    info = PodInfo(make_pod("p", cpu="3950m", priority=5))
    refused = refused_by(made, info)

    def remove() -> None:
        for name in ("n0", "n1"):
            made.snapshot.remove_node(name)

    outcome = until_half(preempt(made, info, refused, lambda *_: ()), remove)
    assert outcome.candidate is not None
    assert outcome.candidate.node == "n2"


def test_a_node_with_a_nominated_pod_that_goes_during_a_decision_is_passed_over() -> None:
    made = decider(3, 1)
    made.snapshot.nominate(PodInfo(make_pod("other", priority=5)), "n0")
    info = PodInfo(make_pod("p", affinity=anti_affinity(1)))
    node, _ = until_half(made.choose(info), lambda: made.snapshot.remove_node("n0"))
    assert node.name in ("n1", "n2")


def test_a_node_that_loses_its_label_during_a_decision_no_longer_counts() -> None:
    made = decider(3, 1, k0="a")
    info = PodInfo(make_pod("p", labels={"app": "web"}, topologySpreadConstraints=spread(1)))
    node, _ = until_half(made.choose(info), lambda: made.snapshot.set_node(make_node("n1")))
    assert node.name in ("n0", "n2")


def node(ports: int) -> NodeInfo:
    info = NodeInfo("n")
    info.set_node(make_node("n"))
    spec = [{"containerPort": 1, "hostPort": 1000 + number} for number in range(ports)]
    info.add(PodInfo(make_pod("other", ports=spec)))
    return info


class CountedPorts(dict[Any, Any]):
    reads = 0

    def get(self, key: Any, default: Any = None) -> Any:
        CountedPorts.reads += 1
        return super().get(key, default)


@pytest.mark.parametrize("count", [500, 1000])
def test_host_ports_are_looked_up(count: int) -> None:
    info = node(count)
    info.ports = CountedPorts(info.ports)
    CountedPorts.reads = 0
    wanted = [("0.0.0.0", "TCP", 10_000 + number) for number in range(count)]
    assert not info.conflicts(wanted)
    assert CountedPorts.reads == count


def waiting_queue(count: int) -> SchedulingQueue:
    queue = SchedulingQueue()
    for number in range(count):
        queue.add(PodInfo(Pod(metadata=make_pod(f"w{number}").metadata)))
    return queue


async def test_an_event_requeues_many_pods_in_turns_and_others_not_at_all() -> None:
    queue = waiting_queue(3 * WAKE_AT_ONCE)
    for _ in range(3 * WAKE_AT_ONCE):
        queue.give_back(await queue.get_next(), frozenset({"TaintToleration"}))
    queue.wake(POD_REMOVED)
    assert queue.count("unschedulable") == 3 * WAKE_AT_ONCE
    queue.wake(NODE)
    left = [queue.count("unschedulable")]
    queue.wake(NODE)  # meanwhile
    while not queue.idle:
        await asyncio.sleep(0)
        left.append(queue.count("unschedulable"))
    assert left[:3] == [2 * WAKE_AT_ONCE, WAKE_AT_ONCE, 0]
    queue.close()
