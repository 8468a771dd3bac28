"""Topology spread constraints (over nodes, zones or any label), as a filter and as a score."""

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from kubelite.api.kinds.core.scheduling import TopologySpreadConstraint
from kubelite.api.kinds.meta import LabelSelectorRequirement
from kubelite.control.scheduler.filters import Rejection, node_affinity, taints
from kubelite.control.scheduler.node_info import NodeInfo, Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.steps import Steps
from kubelite.control.selection import Matcher, matcher

SKEWED = Rejection(
    "PodTopologySpread",
    ["node(s) didn't match pod topology spread constraints"],
    resolvable=True,
)
MISSING_LABEL = Rejection(
    "PodTopologySpread",
    ["node(s) didn't match pod topology spread constraints (missing required label)"],
    resolvable=False,
)


class _Spread:
    """One constraint with the pods counted by topology value; `count` must have run."""

    def __init__(self, info: PodInfo, constraint: TopologySpreadConstraint) -> None:
        self.constraint = constraint
        self.key = constraint.topologyKey
        self.matches = _matcher(info, constraint)
        self.self_match = int(self.matches(info.labels))
        self.counts: Counter[str] = Counter()
        self.least = 0

    def count(self, namespace: str, nodes: Sequence[NodeInfo]) -> Steps[None]:
        """Count the matching pods of a namespace by topology value, on the nodes the inclusion policies admit."""
        for node in nodes:
            value = node.labels.get(self.key)
            # The node may have been deleted, or have lost the label, since `nodes` was listed.
            if value is not None and node.node is not None:
                self.counts[value] += sum(
                    1
                    for other in node.pods.values()
                    if other.namespace == namespace
                    and other.pod.metadata.deletionTimestamp is None
                    and self.matches(other.labels)
                )
            yield 1 + len(node.pods)
        least = min(self.counts.values(), default=0)
        self.least = 0 if len(self.counts) < (self.constraint.minDomains or 1) else least


def _counted(info: PodInfo, snapshot: Snapshot, which: str) -> Steps[list[_Spread]]:
    """Return the constraints of one kind, counted over the nodes that have all their topology keys."""
    constraints = [one for one in info.constraints if one.whenUnsatisfiable == which]
    keys = {one.topologyKey for one in constraints}
    having = [node for node in snapshot.known() if keys <= node.labels.keys()] if keys else []
    yield len(having)
    taking_part: dict[tuple[bool, bool], list[NodeInfo]] = {}
    spreads = []
    for constraint in constraints:
        policies = (
            constraint.nodeAffinityPolicy != "Ignore",
            constraint.nodeTaintsPolicy == "Honor",
        )
        nodes = taking_part.get(policies)
        if nodes is None:
            nodes = taking_part[policies] = yield from _taking_part(info, having, policies)
        spread = _Spread(info, constraint)
        yield 1
        yield from spread.count(info.namespace, nodes)
        spreads.append(spread)
    return spreads


def _taking_part(
    info: PodInfo, nodes: Sequence[NodeInfo], policies: tuple[bool, bool]
) -> Steps[list[NodeInfo]]:
    """Return the nodes that the inclusion policies admit (nodeAffinityPolicy, nodeTaintsPolicy)."""
    by_affinity, by_taints = policies
    found = []
    for node in nodes:
        yield info.node_steps
        if by_affinity and node_affinity(info, node) is not None:
            continue
        if not by_taints or taints(info, node) is None:
            found.append(node)
    return found


class SpreadState:
    """The PodTopologySpread filter for one pod (DoNotSchedule); `count` must have run."""

    def __init__(self, info: PodInfo, snapshot: Snapshot) -> None:
        self._info = info
        self._snapshot = snapshot
        self._spreads: list[_Spread] = []

    def count(self) -> Steps[None]:
        """Count the pods by topology."""
        if self._info.constraints:
            self._spreads = yield from _counted(self._info, self._snapshot, "DoNotSchedule")

    @property
    def matters(self) -> bool:
        """Whether any node can be refused."""
        return bool(self._spreads)

    @property
    def steps(self) -> int:
        """The steps that filtering one node takes."""
        return len(self._spreads)

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Return why the pod cannot go to a node, or None."""
        for spread in self._spreads:
            value = node.labels.get(spread.key)
            if value is None:
                return MISSING_LABEL
            skew = spread.counts[value] + spread.self_match - spread.least
            if skew > spread.constraint.maxSkew:
                return SKEWED
        return None


def spread_scores(
    info: PodInfo, snapshot: Snapshot, feasible: Sequence[NodeInfo]
) -> Steps[dict[str, float]]:
    """Return how crowded each node is by the ScheduleAnyway constraints; lower is better."""
    spreads = yield from _counted(info, snapshot, "ScheduleAnyway")
    scores: dict[str, float] = {}
    keys = {spread.key for spread in spreads}
    for node in feasible if spreads else ():
        yield 1 + len(spreads)
        if keys <= node.labels.keys():
            scores[node.name] = sum(
                spread.counts[node.labels[spread.key]] + spread.constraint.maxSkew - 1
                for spread in spreads
            )
    return scores


def _matcher(info: PodInfo, constraint: TopologySpreadConstraint) -> Matcher:
    selector = constraint.labelSelector
    if selector is not None and constraint.matchLabelKeys:
        # The API merges the keys when a pod is created. Its labels may change later, and what was merged stands.
        merged = {requirement.key for requirement in selector.matchExpressions}
        extra = [
            LabelSelectorRequirement(key=key, operator="In", values=[info.labels[key]])
            for key in constraint.matchLabelKeys
            if key in info.labels and key not in merged
        ]
        selector = replace(selector, matchExpressions=[*selector.matchExpressions, *extra])
    return matcher(selector)
