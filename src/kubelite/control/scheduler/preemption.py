"""Preemption: which pods of lower priority to evict from a node so that a pod fits there.

The search takes turns of the loop, in which the cluster may change. The victims on a node that changed after they were
selected are selected once more, so those returned are still the fewest on a node that still exists.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.policy import PodDisruptionBudget
from kubelite.control.scheduler.decision import Decider, Unschedulable, histogram
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.steps import Steps, TooManySteps
from kubelite.control.scheduler.volumes import VolumeState

if TYPE_CHECKING:
    from kubelite.control.scheduler.devices.claims import ClaimState

# The budgets that select pods of a namespace with some labels; None for each step that finds none.
Budgets = Callable[[str, Mapping[str, str]], Iterable[PodDisruptionBudget | None]]

CANDIDATES_LIMIT = 100  # nodes on which preemption is tried
LOWEST_PRIORITY = -(2**31)
NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"


class Candidate(Struct, frozen=True):
    """A node and the victims on it, highest priority first."""

    node: str
    victims: tuple[Pod, ...]
    violations: int  # victims whose eviction violates a disruption budget
    generation: int = 0  # the node's, when the victims were selected


class Outcome(Struct, frozen=True):
    """The candidate to preempt on, or the message why there is none.

    `ends_nomination`: preemption helps on no node, so that an earlier nomination no longer stands. `is_outdated`: the
    pod's claims changed since the pod was refused, so only another decision can tell.
    """

    candidate: Candidate | None = None
    message: str = ""
    ends_nomination: bool = False
    is_outdated: bool = False


def preempt(
    decider: Decider,
    info: PodInfo,
    refused: Unschedulable,
    budgets: Budgets,
    claims: "ClaimState | None" = None,
) -> Steps[Outcome]:
    """Find the node where evicting victims lets the pod fit, by the order of `Candidate`s."""
    if info.pod.spec.preemptionPolicy == "Never":
        return Outcome(message="preemption: not eligible due to preemptionPolicy=Never.")
    if _is_leaving(decider, info, refused):
        text = "not eligible due to a terminating pod on the nominated node."
        return Outcome(message=f"preemption: {text}")
    volumes = VolumeState(info, decider.snapshot, decider.volumes) if info.claims else None
    if volumes is not None and volumes.failure and not refused.is_general:
        return Outcome(is_outdated=True)
    search = _Search(decider, info, volumes, budgets, claims)
    is_complete = False
    with suppress(TooManySteps):  # then the best of the candidates so far is taken
        if volumes is not None:
            yield from volumes.find_volumes()
        yield from search.find_candidates(refused)
        yield from search.refresh()
        is_complete = True
    if volumes is not None and not volumes.is_current():
        return Outcome(is_outdated=True)
    if claims is not None and not claims.is_current():
        return Outcome(is_outdated=True)
    candidate = search.best()
    if candidate is not None:
        return Outcome(candidate=candidate)
    reasons = search.reasons
    words = f"0/{refused.total} nodes are available: {histogram(reasons)}."
    return Outcome(message=f"preemption: {words}" if reasons else "", ends_nomination=is_complete)


class _Search:
    """The candidates found so far, and why other nodes are none."""

    def __init__(
        self,
        decider: Decider,
        info: PodInfo,
        volumes: VolumeState | None,
        budgets: Budgets,
        claims: "ClaimState | None",
    ) -> None:
        self._decider = decider
        self._info = info
        self._volumes = volumes
        self._budgets = budgets
        self._claims = claims
        self._candidates: dict[str, Candidate] = {}  # by node
        self.reasons: Counter[str] = Counter()

    def find_candidates(self, refused: Unschedulable) -> Steps[None]:
        """Select victims on each node where other pods leaving can help."""
        for node in tuple(self._decider.snapshot.known()):
            yield 1
            judged = refused.rejections.get(node.name)
            if judged is None or not judged.resolvable:
                self.reasons[NOT_HELPFUL] += 1
                continue
            if len(self._candidates) >= CANDIDATES_LIMIT:
                break
            yield from self._look_at(node)

    def refresh(self) -> Steps[None]:
        """Select victims once more wherever the best candidate's node changed, until the best one is current."""
        while self._candidates:
            best = min(self._candidates.values(), key=_cost)
            if self._is_current(best):
                return
            del self._candidates[best.node]
            yield len(self._candidates)
            node = self._decider.snapshot.nodes.get(best.node)
            if node is not None:
                yield from self._look_at(node)

    def best(self) -> Candidate | None:
        """Return the best candidate whose node has not changed since, None if there is none."""
        current = (one for one in self._candidates.values() if self._is_current(one))
        return min(current, key=_cost, default=None)

    def _look_at(self, node: NodeInfo) -> Steps[None]:
        candidate = yield from _candidate(
            self._decider, self._info, node, self._volumes, self._budgets, self._claims
        )
        if candidate is None:
            self.reasons[NO_VICTIMS] += 1
        else:
            self._candidates[node.name] = candidate

    def _is_current(self, candidate: Candidate) -> bool:
        node = self._decider.snapshot.nodes.get(candidate.node)
        return node is not None and node.generation == candidate.generation


def _is_leaving(decider: Decider, info: PodInfo, refused: Unschedulable) -> bool:
    """Return whether victims on the nominated node are terminating already, so that no more need be evicted.

    As upstream, not if the node is gone or can no longer take the pod, whoever leaves it.
    """
    name = info.pod.status.nominatedNodeName
    node = decider.snapshot.nodes.get(name)
    if node is None or node.node is None:
        return False
    judged = refused.rejections.get(name)
    if judged is not None and not judged.resolvable:
        return False
    return any(
        other.priority < info.priority and other.pod.metadata.deletionTimestamp is not None
        for other in node.pods.values()
    )


def _candidate(
    decider: Decider,
    info: PodInfo,
    node: NodeInfo,
    volumes: VolumeState | None,
    budgets: Budgets,
    claims: "ClaimState | None",
) -> Steps[Candidate | None]:
    """Return the fewest victims on a node: remove all pods of lower priority, then reprieve those that still fit."""
    if node.node is None:
        return None  # it was deleted meanwhile
    generation = node.generation
    lower = [other for other in node.pods.values() if other.priority < info.priority]
    if not lower:
        return None
    trial = decider.snapshot.with_nominees(info, node)
    trial = trial.copy() if trial is node else trial
    for other in lower:
        trial.remove(other.uid)

    def fits() -> Steps[bool]:
        snapshot = decider.snapshot.trial(trial)
        objection = yield from decider.objection(info, trial, snapshot, volumes, claims)
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
        node=node.name,
        victims=tuple(one.pod for one in victims),
        violations=violations,
        generation=generation,
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
    high = max(priorities, default=LOWEST_PRIORITY - 1)  # without victims the pod fits already
    starts = [
        pod.status.startTime or pod.metadata.creationTimestamp
        for pod in candidate.victims
        if (pod.spec.priority or 0) == high
    ]
    earliest = min(starts, default="")
    return (
        candidate.violations,
        high,
        sum(priority - LOWEST_PRIORITY for priority in priorities),
        len(priorities),
        _reversed(earliest),
    )


def _reversed(date: str) -> str:
    """Turn a date into text that sorts later dates first."""
    return "".join(chr(0x7E - ord(letter) + 0x20) for letter in date)
