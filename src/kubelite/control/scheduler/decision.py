"""Finds the best node for one pod in a snapshot, or says why there is none."""

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

from kubelite.control.scheduler.affinity import AffinityState, NamespaceLabels, affinity_scores
from kubelite.control.scheduler.filters import Rejection, rejection
from kubelite.control.scheduler.node_info import NodeInfo, Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.scores import NodeScore, totals
from kubelite.control.scheduler.spread import SpreadState, spread_scores
from kubelite.control.scheduler.volumes import Volumes, VolumeState
from kubelite.randomness import Randomness

SIGNATURES_LIMIT = 64  # kinds of pods whose judgements are kept

Judgement = Rejection | NodeScore


class Unschedulable(Exception):
    """No node can take the pod."""

    def __init__(
        self, total: int, rejections: Mapping[str, Rejection], general: str = "", cause: str = ""
    ) -> None:
        super().__init__(message_of(total, rejections, general))
        self.total = total
        self.rejections = rejections
        self.causes = frozenset([cause] if general else (one.filter for one in rejections.values()))
        if not total and not general:
            self.causes = frozenset({"NodeName"})  # there is no node at all: only a new one helps


def message_of(total: int, rejections: Mapping[str, Rejection], general: str = "") -> str:
    """Word the outcome as Kubernetes does: how many nodes were refused for which reason."""
    if total == 0 and not general:
        return "no nodes available to schedule pods"
    if general:
        return f"0/{total} nodes are available: {general}."
    counts = Counter(reason for one in rejections.values() for reason in one.reasons)
    return f"0/{total} nodes are available: {histogram(counts)}."


def histogram(counts: Mapping[str, int]) -> str:
    """Write counted reasons in Kubernetes' order."""
    return ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))


class Decider:
    """Judges nodes, and keeps its judgements of nodes that have not changed for pods that are alike."""

    def __init__(
        self,
        snapshot: Snapshot,
        volumes: Volumes,
        labels_of: NamespaceLabels,
        randomness: Randomness,
    ) -> None:
        self.snapshot = snapshot
        self.volumes = volumes
        self.labels_of = labels_of
        self._randomness = randomness
        self._kept: OrderedDict[bytes, dict[str, tuple[int, Judgement]]] = OrderedDict()

    def choose(self, info: PodInfo) -> tuple[NodeInfo, VolumeState | None]:
        """Return the best node for a pod; raises Unschedulable."""
        nodes = self.snapshot.known()
        volumes = None
        if info.claims:
            volumes = VolumeState(info, self.snapshot, self.volumes)
            if volumes.failure:
                raise Unschedulable(len(nodes), {}, volumes.failure, "VolumeBinding")
        feasible, scores, rejections = self._judge(info, nodes, volumes)
        if not feasible:
            raise Unschedulable(len(nodes), rejections)
        if len(feasible) == 1:
            return feasible[0], volumes
        near: Mapping[str, int] = {}
        if info.preferred or self.snapshot.with_affinity:
            near = affinity_scores(info, self.snapshot, feasible, self.labels_of)
        crowding: Mapping[str, float] = {}
        if info.constraints:
            crowding = spread_scores(info, self.snapshot, feasible)
        values = totals(info, feasible, scores, near, crowding)
        high = max(values)
        best = [index for index, value in enumerate(values) if value >= high - 1e-9]
        chosen = best[int(self._randomness.uniform(0, len(best)))] if len(best) > 1 else best[0]
        return feasible[chosen], volumes

    def objection(
        self, info: PodInfo, node: NodeInfo, snapshot: Snapshot, volumes: VolumeState | None
    ) -> Rejection | None:
        """Return why a node cannot take a pod, or None, judging everything anew."""
        found = rejection(info, node)
        if found is None and volumes is not None:
            found = volumes.rejection(node)
        if found is None:
            found = SpreadState(info, snapshot).rejection(node)
        if found is None:
            found = AffinityState(info, snapshot, self.labels_of).rejection(node)
        return found

    def _judge(
        self, info: PodInfo, nodes: Sequence[NodeInfo], volumes: VolumeState | None
    ) -> tuple[list[NodeInfo], list[NodeScore], dict[str, Rejection]]:
        spread = SpreadState(info, self.snapshot)
        affinity = AffinityState(info, self.snapshot, self.labels_of)
        kept = self._judgements(info)
        feasible: list[NodeInfo] = []
        scores: list[NodeScore] = []
        rejections: dict[str, Rejection] = {}
        nominated = self.snapshot.nominated
        for node in nodes:
            known = kept.get(node.name)
            judgement: Judgement | None
            if nominated and node.name in nominated:
                fuller = self.snapshot.with_nominees(info, node)
                judgement = rejection(info, fuller) or NodeScore(info, node)
            elif known is not None and known[0] == node.generation:
                judgement = known[1]
            else:
                judgement = rejection(info, node) or NodeScore(info, node)
                kept[node.name] = (node.generation, judgement)
            if isinstance(judgement, NodeScore):
                refused = volumes.rejection(node) if volumes is not None else None
                if refused is None and spread.matters:
                    refused = spread.rejection(node)
                if refused is None and affinity.matters:
                    refused = affinity.rejection(node)
                if refused is None:
                    feasible.append(node)
                    scores.append(judgement)
                else:
                    rejections[node.name] = refused
            else:
                rejections[node.name] = judgement
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
