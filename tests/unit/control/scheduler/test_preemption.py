"""Who has to leave for an important pod, and on which node."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from fakes.fake_client import FakeClient

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.policy import PodDisruptionBudget
from kubelite.control.scheduler import preemption
from kubelite.control.scheduler.decision import Decider, Unschedulable
from kubelite.control.scheduler.node_info import Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.preemption import Candidate, Outcome, preempt
from kubelite.control.scheduler.steps import at_once
from kubelite.control.scheduler.volumes import Volumes
from kubelite.randomness import SeededRandomness
from unit.control.scheduler.pods import make_node, make_pod

HOUR = "2026-01-01T{:02}:00:00Z"


def running(name: str, hour: int = 0, cpu: str = "1", **spec: Any) -> Pod:
    """Return a pod that started at an hour of the day; `leaving` has it deleted."""
    is_leaving = spec.pop("leaving", False)
    pod = make_pod(name, cpu=cpu, labels=spec.pop("labels", {"app": name}), **spec)
    status = msgspec.structs.replace(pod.status, startTime=HOUR.format(hour))
    metadata = msgspec.structs.replace(
        pod.metadata, deletionTimestamp=HOUR.format(1) if is_leaving else None
    )
    return msgspec.structs.replace(pod, status=status, metadata=metadata)


def budget(name: str, allowed: int, *disrupted: str, **labels: str) -> PodDisruptionBudget:
    return msgspec.convert(
        {
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"selector": {"matchLabels": labels}},
            "status": {
                "disruptionsAllowed": allowed,
                "disruptedPods": dict.fromkeys(disrupted, HOUR.format(0)),
            },
        },
        PodDisruptionBudget,
    )


class Situation:
    """Nodes of four CPUs with the pods that run on each."""

    def __init__(self, *nodes: Sequence[Pod], budgets: Sequence[PodDisruptionBudget] = ()) -> None:
        self.snapshot = Snapshot()
        for number, pods in enumerate(nodes):
            self.snapshot.set_node(make_node(f"n{number}", cpu="4"))
            for pod in pods:
                self.snapshot.place(PodInfo(pod), f"n{number}")
        self._budgets = budgets
        self.asked: list[str] = []

    def budgets(
        self, namespace: str, labels: Mapping[str, str]
    ) -> Iterable[PodDisruptionBudget | None]:
        self.asked.append(f"{namespace} {dict(labels)}")
        for one in self._budgets:
            selector = one.spec.selector
            wanted = selector.matchLabels if selector else {}
            yield one if wanted.items() <= labels.items() else None

    def preempt(self, pod: Pod) -> Outcome:
        volumes = Volumes(FakeClient())
        decider = Decider(self.snapshot, volumes, lambda _: {}, SeededRandomness(1))
        info = PodInfo(pod)
        with pytest.raises(Unschedulable) as refused:
            at_once(decider.choose(info))
        return at_once(preempt(decider, info, refused.value, self.budgets))


def leaving(outcome: Outcome) -> tuple[str, list[str], int]:
    assert outcome.candidate is not None, outcome.message
    found = outcome.candidate
    return found.node, [pod.metadata.name for pod in found.victims], found.violations


def urgent(cpu: str = "1", **spec: Any) -> Pod:
    return make_pod("urgent", cpu=cpu, **{"priority": 10, **spec})


def test_no_more_leave_than_must() -> None:
    pods = [running(name, hour) for hour, name in enumerate("abcd")]
    assert leaving(Situation(pods).preempt(urgent("2"))) == ("n0", ["c", "d"], 0)


def test_equals_and_betters_stay() -> None:
    pods = [running("a", priority=10, cpu="2"), running("b", priority=9, cpu="2")]
    assert leaving(Situation(pods).preempt(urgent("2"))) == ("n0", ["b"], 0)
    outcome = Situation(pods).preempt(urgent("3"))
    assert outcome.candidate is None
    words = "1 No preemption victims found for incoming pod."
    assert outcome.message == f"preemption: 0/1 nodes are available: {words}"


def test_the_less_important_and_then_the_later_leave() -> None:
    pods = [
        running("late", 9, priority=1),
        running("early", 1, priority=1),
        running("low", 0, priority=0),
        running("lower", 0, priority=-1),
    ]
    situation = Situation(pods)
    assert leaving(situation.preempt(urgent())) == ("n0", ["lower"], 0)
    assert leaving(situation.preempt(urgent("3"))) == ("n0", ["late", "low", "lower"], 0)


# A budget that allows one disruption, over pods that all look alike; the later ones would leave first.
FOUR = [running(name, hour, labels={"app": "x"}) for hour, name in enumerate("abcd")]


@pytest.mark.parametrize(
    ("allowed", "cpu", "victims", "violations"),
    [
        (0, "1", ["d"], 1),
        (1, "1", ["a"], 0),
        (1, "2", ["a", "d"], 1),
        (2, "2", ["a", "b"], 0),
        (4, "2", ["c", "d"], 0),
        (4, "4", ["a", "b", "c", "d"], 0),
        (3, "4", ["a", "b", "c", "d"], 1),
    ],
)
def test_budgets_are_used_up_one_by_one(
    allowed: int, cpu: str, victims: list[str], violations: int
) -> None:
    situation = Situation(FOUR, budgets=[budget("x", allowed, app="x")])
    assert leaving(situation.preempt(urgent(cpu))) == ("n0", victims, violations)


def test_whoever_breaks_a_budget_leaves_last() -> None:
    guarded, free = running("guarded", 9, labels={"app": "x"}), running("free", 0)
    others = [running("c", priority=10), running("d", priority=10)]
    situation = Situation([guarded, free, *others], budgets=[budget("x", 0, app="x")])
    assert leaving(situation.preempt(urgent())) == ("n0", ["free"], 0)
    assert leaving(Situation([guarded, free, *others]).preempt(urgent())) == (
        "n0",
        ["guarded"],
        0,
    )


def test_one_broken_budget_of_two_is_enough() -> None:
    pods = [running("a", labels={"app": "x", "tier": "y"}, cpu="4")]
    for first, second, violations in ((0, 5, 1), (5, 0, 1), (5, 5, 0), (0, 0, 1)):
        budgets = [budget("x", first, app="x"), budget("y", second, tier="y")]
        situation = Situation(pods, budgets=budgets)
        assert leaving(situation.preempt(urgent())) == ("n0", ["a"], violations)


def test_whose_eviction_is_granted_already_uses_no_budget() -> None:
    pods = [running("a", 0, cpu="2", labels={"app": "x"}), running("b", 1, cpu="2", labels={"app": "x"})]  # fmt: skip
    situation = Situation(pods, budgets=[budget("x", 0, "b", app="x")])
    assert leaving(situation.preempt(urgent("2"))) == ("n0", ["b"], 0)
    assert leaving(situation.preempt(urgent("4"))) == ("n0", ["a", "b"], 1)


def test_a_pod_without_labels_has_no_budget() -> None:
    situation = Situation([running("a", cpu="4", labels={})], budgets=[budget("all", 0)])
    assert leaving(situation.preempt(urgent())) == ("n0", ["a"], 0)
    assert situation.asked == []


def test_the_node_whose_victims_break_no_budget_is_taken() -> None:
    guarded, free = running("a", cpu="4", labels={"app": "x"}), running("b", cpu="4", priority=5)
    for nodes, expected in (((guarded, free), "n1"), ((free, guarded), "n0")):
        situation = Situation(*([one] for one in nodes), budgets=[budget("x", 0, app="x")])
        assert leaving(situation.preempt(urgent())) == (expected, ["b"], 0)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ([running("a", priority=9)], [running("a", priority=9), running("b", priority=0)]),
        ([running("a", priority=1), running("b", priority=1)], [running("a", priority=2)]),
        (
            [running("a", priority=2), running("b", priority=0)],
            [running("a", priority=2), running("b", priority=1)],
        ),
        # Priorities are below zero too: two of them never count as less than one.
        ([running("a", priority=-5)], [running("a", priority=-5), running("b", priority=-5)]),
        ([running("a", 5, priority=1)], [running("a", 4, priority=1)]),
        # The earliest of the most important ones decides, whenever the others started.
        (
            [running("a", 5, priority=2), running("b", 0, priority=1)],
            [running("a", 4, priority=2), running("b", 9, priority=1)],
        ),
        (
            [running("a", 5, priority=2), running("b", 6, priority=2)],
            [running("a", 4, priority=2), running("b", 9, priority=2)],
        ),
        ([running("a")], [running("a", priority=1)]),
        ([running("a", priority=-1)], [running("a")]),
        ([running("a", 5)], [running("a", 4)]),
        (
            [running("a", 5), running("b", 0, priority=-1)],
            [running("a", 4), running("b", 9, priority=-1)],
        ),
    ],
)
@pytest.mark.parametrize("violations", [0, 1])
def test_candidates_are_compared_as_upstream_does(
    better: list[Pod], worse: list[Pod], violations: int
) -> None:
    good = Candidate("good", tuple(better), violations)
    bad = Candidate("bad", tuple(worse), violations)
    for order in ([good, bad], [bad, good]):
        assert min(order, key=preemption._cost) is good
    # What breaks fewer budgets is better, whoever they are.
    fewer = Candidate("fewer", tuple(worse), violations)
    assert min([Candidate("more", tuple(better), violations + 1), fewer], key=preemption._cost) is fewer  # fmt: skip


def test_who_may_not_preempt_and_whose_room_is_being_made() -> None:
    pods = [running("a", cpu="4", leaving=True)]
    never = Situation(pods).preempt(urgent(preemptionPolicy="Never"))
    assert never == Outcome(message="preemption: not eligible due to preemptionPolicy=Never.")
    nominated = urgent()
    status = msgspec.structs.replace(nominated.status, nominatedNodeName="n0")
    nominated = msgspec.structs.replace(nominated, status=status)
    outcome = Situation(pods).preempt(nominated)
    assert outcome == Outcome(
        message="preemption: not eligible due to a terminating pod on the nominated node."
    )
    # Nobody leaves the nominated node for its sake: it tries again.
    for others in (
        [running("a", cpu="4")],
        [running("a", cpu="3", priority=10, leaving=True), running("b")],
    ):
        found = Situation(others).preempt(nominated)
        assert found.candidate is not None


def test_nodes_that_leaving_pods_cannot_help_are_not_tried() -> None:
    situation = Situation([running("a", cpu="4", priority=10)])
    situation.snapshot.set_node(make_node("n1", cpu="4", unschedulable=True))
    outcome = situation.preempt(urgent())
    assert outcome.candidate is None
    assert outcome.message == (
        "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, "
        "1 Preemption is not helpful for scheduling."
    )


def test_a_bounded_number_of_nodes_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    # The best one comes last, and is not looked at any more.
    nodes = [[running(f"a{number}", cpu="4", priority=9 - number)] for number in range(4)]
    monkeypatch.setattr(preemption, "CANDIDATES_LIMIT", 3)
    assert leaving(Situation(*nodes).preempt(urgent())) == ("n2", ["a2"], 0)
    monkeypatch.setattr(preemption, "CANDIDATES_LIMIT", 4)
    assert leaving(Situation(*nodes).preempt(urgent())) == ("n3", ["a3"], 0)


def test_one_for_whom_there_is_no_room_takes_none_from_the_next() -> None:
    pods = [running("large", 0, cpu="3", priority=5), running("small", 1, cpu="1")]
    assert leaving(Situation(pods).preempt(urgent("2"))) == ("n0", ["large"], 0)


def test_what_is_leaving_already_is_found_among_others() -> None:
    pods = [running("a", cpu="2"), running("b", cpu="2", leaving=True)]
    nominated = urgent()
    status = msgspec.structs.replace(nominated.status, nominatedNodeName="n0")
    outcome = Situation(pods).preempt(msgspec.structs.replace(nominated, status=status))
    assert "terminating pod on the nominated node" in outcome.message


def test_a_pod_that_has_not_started_counts_from_its_creation() -> None:
    waiting = running("waiting", cpu="2")
    status = msgspec.structs.replace(waiting.status, startTime=None)
    metadata = msgspec.structs.replace(waiting.metadata, creationTimestamp=HOUR.format(5))
    waiting = msgspec.structs.replace(waiting, status=status, metadata=metadata)
    for hour, expected in ((4, "waiting"), (6, "started")):
        situation = Situation([waiting, running("started", hour, cpu="2")])
        assert leaving(situation.preempt(urgent("2"))) == ("n0", [expected], 0)
