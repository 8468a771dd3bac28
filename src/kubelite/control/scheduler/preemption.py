"""Preemption: which pods of lower priority to evict from a node so that a pod fits there."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.policy import PodDisruptionBudget
from kubelite.control.scheduler.decision import Decider, Unschedulable, histogram
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.steps import Steps, TooManySteps
from kubelite.control.scheduler.volumes import VolumeState

# The budgets that select pods of a namespace with some labels; None for each step that finds none.
Budgets = Callable[[str, Mapping[str, str]], Iterable[PodDisruptionBudget | None]]

CANDIDATES_LIMIT = 100  # nodes on which preemption is tried
NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"


class Candidate(Struct, frozen=True):
    """A node and the victims on it, highest priority first."""

    node: str
    victims: tuple[Pod, ...]
    violations: int  # victims whose eviction violates a disruption budget


class Outcome(Struct, frozen=True):
    """The candidate to preempt on, or the message why there is none."""

    candidate: Candidate | None = None
    message: str = ""


def preempt(
    decider: Decider, info: PodInfo, refused: Unschedulable, budgets: Budgets
) -> Steps[Outcome]:
    """Find the node where evicting victims lets the pod fit, by the order of `Candidate`s."""
    if info.pod.spec.preemptionPolicy == "Never":
        return Outcome(message="preemption: not eligible due to preemptionPolicy=Never.")
    if _is_leaving(decider, info):
        text = "not eligible due to a terminating pod on the nominated node."
        return Outcome(message=f"preemption: {text}")
    reasons: Counter[str] = Counter()
    candidates: list[Candidate] = []
    volumes = None
    if info.claims:
        volumes = VolumeState(info, decider.snapshot, decider.volumes)
        yield from volumes.find_volumes()
    with suppress(TooManySteps):  # then the best of the candidates so far is taken
        for node in tuple(decider.snapshot.known()):
            yield 1
            judged = refused.rejections.get(node.name)
            if judged is None or not judged.resolvable:
                reasons[NOT_HELPFUL] += 1
                continue
            if len(candidates) >= CANDIDATES_LIMIT:
                break
            candidate = yield from _candidate(decider, info, node, volumes, budgets)
            if candidate is None:
                reasons[NO_VICTIMS] += 1
            else:
                candidates.append(candidate)
    if candidates:
        return Outcome(candidate=min(candidates, key=_cost))
    words = f"0/{refused.total} nodes are available: {histogram(reasons)}."
    return Outcome(message=f"preemption: {words}" if reasons else "")


def _is_leaving(decider: Decider, info: PodInfo) -> bool:
    """Return whether victims on the nominated node are terminating already, so that no more need be evicted."""
    node = decider.snapshot.nodes.get(info.pod.status.nominatedNodeName)
    return node is not None and any(
        other.priority < info.priority and other.pod.metadata.deletionTimestamp is not None
        for other in node.pods.values()
    )


def _candidate(
    decider: Decider,
    info: PodInfo,
    node: NodeInfo,
    volumes: VolumeState | None,
    budgets: Budgets,
) -> Steps[Candidate | None]:
    """Return the fewest victims on a node: remove all pods of lower priority, then reprieve those that still fit."""
    lower = [other for other in node.pods.values() if other.priority < info.priority]
    if not lower:
        return None
    trial = decider.snapshot.with_nominees(info, node)
    trial = trial.copy() if trial is node else trial
    for other in lower:
        trial.remove(other.uid)

    def fits() -> Steps[bool]:
        snapshot = decider.snapshot.trial(trial)
        objection = yield from decider.objection(info, trial, snapshot, volumes)
        return objection is None

    if not (yield from fits()):
        return None
    violating, others = yield from _by_budget(lower, budgets)
    victims: list[PodInfo] = []
    violations = 0
    for group, counts in ((violating, 1), (others, 0)):
        for other in sorted(group, key=_importance):
            trial.add(other)
            if not (yield from fits()):
                trial.remove(other.uid)
                victims.append(other)
                violations += counts
    victims.sort(key=_importance)
    return Candidate(
        node=node.name, victims=tuple(one.pod for one in victims), violations=violations
    )


def _importance(info: PodInfo) -> tuple[int, str]:
    """Sort key: highest priority first, then the earliest start."""
    return (-info.priority, info.pod.status.startTime or info.pod.metadata.creationTimestamp)


def _by_budget(
    pods: Iterable[PodInfo], budgets: Budgets
) -> Steps[tuple[list[PodInfo], list[PodInfo]]]:
    """Split pods into those whose eviction violates a disruption budget, and the others."""
    allowed: dict[str, int] = {}
    violating: list[PodInfo] = []
    others: list[PodInfo] = []
    for info in sorted(pods, key=_importance):
        breaks = False
        for budget in budgets(info.namespace, info.labels) if info.labels else ():
            yield 1
            if budget is None or info.pod.metadata.name in budget.status.disruptedPods:
                continue
            uid = f"{budget.metadata.namespace}/{budget.metadata.name}"
            allowed[uid] = allowed.get(uid, budget.status.disruptionsAllowed) - 1
            breaks = breaks or allowed[uid] < 0
        (violating if breaks else others).append(info)
    return violating, others


def _cost(candidate: Candidate) -> tuple[int, int, int, int, str]:
    """Compare candidates as Kubernetes does; the last part prefers victims that started late."""
    priorities = [pod.spec.priority or 0 for pod in candidate.victims]
    high = max(priorities, default=0)
    starts = [
        pod.status.startTime or pod.metadata.creationTimestamp
        for pod in candidate.victims
        if (pod.spec.priority or 0) == high
    ]
    earliest = min(starts, default="")
    return (
        candidate.violations,
        high,
        sum(priority + 2**31 for priority in priorities),
        len(priorities),
        _reversed(earliest),
    )


def _reversed(date: str) -> str:
    """Turn a date into text that sorts later dates first."""
    return "".join(chr(0x7E - ord(letter) + 0x20) for letter in date)
