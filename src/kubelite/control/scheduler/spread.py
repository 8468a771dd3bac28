"""Pods that want to be spread evenly over nodes, zones or whatever a label says."""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from kubelite.api.kinds.core.scheduling import TopologySpreadConstraint
from kubelite.api.kinds.meta import LabelSelectorRequirement
from kubelite.control.scheduler.filters import Rejection, node_affinity, taints
from kubelite.control.scheduler.node_info import NodeInfo, Snapshot
from kubelite.control.scheduler.pod_info import PodInfo
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
    """One constraint with the pods counted by topology value."""

    def __init__(
        self,
        info: PodInfo,
        constraint: TopologySpreadConstraint,
        nodes: Sequence[NodeInfo],
        keys: set[str],
    ) -> None:
        self.constraint = constraint
        self.key = constraint.topologyKey
        self.matches = _matcher(info, constraint)
        self.self_match = int(self.matches(info.labels))
        self.counts: Counter[str] = Counter()
        for node in nodes:
            if keys <= node.labels.keys() and _counts(info, constraint, node):
                self.counts[node.labels[self.key]] += sum(
                    1
                    for other in node.pods.values()
                    if other.namespace == info.namespace
                    and other.pod.metadata.deletionTimestamp is None
                    and self.matches(other.labels)
                )
        least = min(self.counts.values(), default=0)
        wanted_domains = constraint.minDomains or 1
        self.least = 0 if len(self.counts) < wanted_domains else least


class SpreadState:
    """The constraints of one pod that must hold."""

    def __init__(self, info: PodInfo, snapshot: Snapshot) -> None:
        hard = [one for one in info.constraints if one.whenUnsatisfiable == "DoNotSchedule"]
        keys = {one.topologyKey for one in hard}
        self._spreads = [_Spread(info, one, snapshot.known(), keys) for one in hard] if hard else []

    @property
    def matters(self) -> bool:
        """Whether any node can be refused."""
        return bool(self._spreads)

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
    info: PodInfo, snapshot: Snapshot, feasible: Iterable[NodeInfo]
) -> dict[str, float]:
    """Return how crowded each node is by the constraints that should hold; less is better."""
    soft = [one for one in info.constraints if one.whenUnsatisfiable == "ScheduleAnyway"]
    if not soft:
        return {}
    keys = {one.topologyKey for one in soft}
    spreads = [_Spread(info, one, snapshot.known(), keys) for one in soft]
    return {
        node.name: sum(
            spread.counts[node.labels[spread.key]] + spread.constraint.maxSkew - 1
            for spread in spreads
        )
        for node in feasible
        if keys <= node.labels.keys()
    }


def _matcher(info: PodInfo, constraint: TopologySpreadConstraint) -> Matcher:
    selector = constraint.labelSelector
    if selector is not None and constraint.matchLabelKeys:
        extra = [
            LabelSelectorRequirement(key=key, operator="In", values=[info.labels[key]])
            for key in constraint.matchLabelKeys
            if key in info.labels
        ]
        selector = replace(selector, matchExpressions=[*selector.matchExpressions, *extra])
    return matcher(selector)


def _counts(info: PodInfo, constraint: TopologySpreadConstraint, node: NodeInfo) -> bool:
    """Tell whether a node takes part, as the inclusion policies say."""
    if constraint.nodeAffinityPolicy != "Ignore" and node_affinity(info, node) is not None:
        return False
    return constraint.nodeTaintsPolicy != "Honor" or taints(info, node) is None
