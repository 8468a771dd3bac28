"""Finds the best node for one pod in a snapshot, or says why there is none.

A decision is a generator of steps, and between two of them the cluster may change. A node that was deleted meanwhile
no longer counts. A node that changed after it was judged is judged once more before it is chosen, so the node that a
decision returns exists and passes all filters at that moment. Pods that came meanwhile to other nodes are not seen.
"""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from kubelite.control.scheduler.affinity import AffinityState, NamespaceLabels, affinity_scores
from kubelite.control.scheduler.devices.protocol import (
    CANNOT_ALLOCATE,
    FILTER,
    AllocationFailed,
    NotPrepared,
)
from kubelite.control.scheduler.filters import Rejection, rejection
from kubelite.control.scheduler.load import WEIGHT as LOAD_WEIGHT
from kubelite.control.scheduler.load import NodeLoads
from kubelite.control.scheduler.node_info import NodeInfo, Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.scores import DEVICES_WEIGHT, NodeScore, totals
from kubelite.control.scheduler.spread import SpreadState, spread_scores
from kubelite.control.scheduler.steps import YIELD_EVERY, Steps, TooManySteps
from kubelite.control.scheduler.volumes import Volumes, VolumeState
from kubelite.randomness import Randomness

if TYPE_CHECKING:
    from kubelite.control.scheduler.devices.claims import ClaimState

TOO_MANY_TERMS = "too many affinity and topology spread terms, of this pod and others, to check"
SIGNATURES_LIMIT = 64  # signatures of pods whose filter results are cached

Judgement = Rejection | NodeScore


class Unschedulable(Exception):
    """No node can take the pod."""

    def __init__(
        self, total: int, rejections: Mapping[str, Rejection], general: str = "", cause: str = ""
    ) -> None:
        super().__init__(message_of(total, rejections, general))
        self.total = total
        self.rejections = rejections
        self.is_general = bool(general)  # for a reason of the pod, whatever the node
        self.causes = frozenset([cause] if general else (one.filter for one in rejections.values()))
        if not total and not general:
            self.causes = frozenset(
                {"NodeName"}
            )  # there is no node at all, so only a new one requeues the pod


def message_of(total: int, rejections: Mapping[str, Rejection], general: str = "") -> str:
    """Word the outcome as Kubernetes does: how many nodes were refused for which reason."""
    if total == 0 and not general:
        return "no nodes available to schedule pods"
    if general:
        return f"0/{total} nodes are available: {general}."
    counts = Counter(reason for one in rejections.values() for reason in one.reasons)
    return f"0/{total} nodes are available: {histogram(counts)}."


def histogram(counts: Mapping[str, int]) -> str:
    """Join reasons with their counts, sorted as Kubernetes does."""
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))


class Decider:
    """Judges nodes, and keeps its judgements of nodes that have not changed for pods that are alike."""

    def __init__(
        self,
        snapshot: Snapshot,
        volumes: Volumes,
        labels_of: NamespaceLabels,
        randomness: Randomness,
        loads: NodeLoads | None = None,
    ) -> None:
        """`loads` adds a score by what nodes really use."""
        self.snapshot = snapshot
        self.volumes = volumes
        self.labels_of = labels_of
        self._randomness = randomness
        self._loads = loads
        self._kept: OrderedDict[bytes, dict[str, tuple[int, Judgement]]] = OrderedDict()

    def choose(
        self, info: PodInfo, claims: "ClaimState | None" = None
    ) -> Steps[tuple[NodeInfo, VolumeState | None]]:
        """Return the best node for a pod with these resource claims.

        Raises Unschedulable, AllocationFailed where its claims for devices cannot be judged, and NotPrepared.
        """
        try:
            result = yield from self._choose(info, claims)
        except TooManySteps:
            if claims is not None:
                raise AllocationFailed("timed out trying to allocate devices") from None
            total = len(self.snapshot.known())
            raise Unschedulable(total, {}, TOO_MANY_TERMS, "TooManySteps") from None
        return result

    def _choose(
        self, info: PodInfo, claims: "ClaimState | None"
    ) -> Steps[tuple[NodeInfo, VolumeState | None]]:
        nodes = self.snapshot.known()
        volumes = None
        if info.claims:
            volumes = VolumeState(info, self.snapshot, self.volumes)
            if volumes.failure:
                raise Unschedulable(len(nodes), {}, volumes.failure, "VolumeBinding")
            yield from volumes.find_volumes()
        if claims is not None and claims.failure:
            raise Unschedulable(len(nodes), {}, claims.failure, FILTER)
        beyond = _BeyondNode(info, self.snapshot, self.labels_of, volumes)
        yield from beyond.look()
        feasible, scores, rejections = yield from self._judge(info, nodes, beyond, claims)
        values = yield from self._values(info, feasible, scores, claims)
        while feasible:
            chosen = self._best(values)
            node = feasible[chosen]
            if not self._has_changed(node, scores[chosen]):
                return node, volumes
            refused = None
            if claims is not None and node.node is not None:
                generation = node.generation
                refused = yield from claims.find(node)
                if node.generation != generation:
                    continue
            if refused is None and node.node is not None:
                refused = self._rejection_now(info, node, beyond)
            if node.node is not None and refused is None:
                return node, volumes
            for judged in (feasible, scores, values):
                del judged[chosen]
            if refused is not None:
                rejections[node.name] = refused
            yield 1 + info.node_steps + beyond.steps + len(values) // 10
        raise Unschedulable(len(rejections), rejections)

    def _values(
        self,
        info: PodInfo,
        feasible: Sequence[NodeInfo],
        scores: Sequence[NodeScore],
        claims: "ClaimState | None",
    ) -> Steps[list[float]]:
        """Return the value of each feasible node."""
        if len(feasible) <= 1:
            return [0.0] * len(feasible)
        near: Mapping[str, int] = {}
        if info.preferred or self.snapshot.with_affinity:
            near = yield from affinity_scores(info, self.snapshot, feasible, self.labels_of)
        crowding: Mapping[str, float] = {}
        if info.constraints:
            crowding = yield from spread_scores(info, self.snapshot, feasible)
        values = totals(info, feasible, scores, near, crowding)
        if self._loads is not None:
            for index, score in enumerate(self._loads.scores(feasible)):
                values[index] += LOAD_WEIGHT * score
        if claims is not None and claims.has_alternatives:
            found = [claims.score(node) for node in feasible]
            most = max(found)
            for index, early in enumerate(found):
                values[index] += DEVICES_WEIGHT * 100.0 * early / most if most else 0.0
        return values

    def _best(self, values: Sequence[float]) -> int:
        """Return the index of the highest value; among equals a random one."""
        high = max(values)
        best = [index for index, value in enumerate(values) if value >= high - 1e-9]
        return best[int(self._randomness.uniform(0, len(best)))] if len(best) > 1 else best[0]

    def _has_changed(self, node: NodeInfo, score: NodeScore) -> bool:
        """Return whether a node, or what is nominated for it, may have changed since it was judged."""
        return node.generation != score.generation or node.name in self.snapshot.nominated

    def _rejection_now(
        self, info: PodInfo, node: NodeInfo, beyond: "_BeyondNode"
    ) -> Rejection | None:
        found = rejection(info, self.snapshot.with_nominees(info, node))
        return beyond.rejection(node) if found is None else found

    def objection(
        self,
        info: PodInfo,
        node: NodeInfo,
        snapshot: Snapshot,
        volumes: VolumeState | None,
        claims: "ClaimState | None" = None,
    ) -> Steps[Rejection | None]:
        """Return why a node cannot take a pod, None if it can; uses no cached result."""
        found = rejection(info, node)
        yield info.node_steps
        if found is None and volumes is not None:
            found = volumes.rejection(node)
        if found is None:
            spread = SpreadState(info, snapshot)
            yield from spread.count()
            found = spread.rejection(node)
        if found is None:
            affinity = AffinityState(info, snapshot, self.labels_of)
            yield from affinity.look()
            found = affinity.rejection(node)
        if found is None and claims is not None:
            try:
                found = yield from claims.find(node)
            except (AllocationFailed, NotPrepared):
                return CANNOT_ALLOCATE
        return found

    def _judge(
        self,
        info: PodInfo,
        nodes: Sequence[NodeInfo],
        beyond: "_BeyondNode",
        claims: "ClaimState | None",
    ) -> Steps[tuple[list[NodeInfo], list[NodeScore], dict[str, Rejection]]]:
        kept = self._judgements(info)
        nominated = self.snapshot.nominated
        feasible: list[NodeInfo] = []
        scores: list[NodeScore] = []
        rejections: dict[str, Rejection] = {}
        a_node, shared, beyond_matters = info.node_steps, beyond.steps, beyond.matters
        done = 0
        for node in nodes:
            known = kept.get(node.name)
            judgement: Judgement
            if node.node is None:
                continue  # it was deleted since the decision began
            if nominated and node.name in nominated:
                fuller = self.snapshot.with_nominees(info, node)
                judgement = rejection(info, fuller) or NodeScore(info, node)
                done += a_node
            elif known is not None and known[0] == node.generation:
                judgement = known[1]
            else:
                judgement = rejection(info, node) or NodeScore(info, node)
                kept[node.name] = (node.generation, judgement)
                done += a_node
            if isinstance(judgement, NodeScore):
                refused = beyond.rejection(node) if beyond_matters else None
                if refused is None and claims is not None:
                    refused = yield from claims.find(node)
                if refused is None:
                    feasible.append(node)
                    scores.append(judgement)
                else:
                    rejections[node.name] = refused
                done += shared
            else:
                rejections[node.name] = judgement
            done += 1
            if done >= YIELD_EVERY:
                yield done
                done = 0
        return feasible, scores, rejections

    def _judgements(self, info: PodInfo) -> dict[str, tuple[int, Judgement]]:
        if info.signature is None:
            return {}
        kept = self._kept.get(info.signature)
        if kept is None:
            kept = self._kept[info.signature] = {}
            if len(self._kept) > SIGNATURES_LIMIT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(info.signature)
        return kept


class _BeyondNode:
    """The filters that ask for more than the node alone: volumes, topology spread, affinity; `look` must have run."""

    def __init__(
        self,
        info: PodInfo,
        snapshot: Snapshot,
        labels_of: NamespaceLabels,
        volumes: VolumeState | None,
    ) -> None:
        self._volumes = volumes
        self._spread = SpreadState(info, snapshot)
        self._affinity = AffinityState(info, snapshot, labels_of)

    def look(self) -> Steps[None]:
        """Count the pods and collect the topology values that the filters ask for."""
        yield from self._spread.count()
        yield from self._affinity.look()

    @property
    def matters(self) -> bool:
        """Whether any node can be refused."""
        return self._volumes is not None or self._spread.matters or self._affinity.matters

    @property
    def steps(self) -> int:
        """The steps that filtering one node takes."""
        volume_steps = self._volumes.steps if self._volumes is not None else 0
        return volume_steps + self._spread.steps + self._affinity.steps

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Return why the pod cannot go to a node, or None."""
        found = self._volumes.rejection(node) if self._volumes is not None else None
        if found is None:
            found = self._spread.rejection(node)
        return self._affinity.rejection(node) if found is None else found
