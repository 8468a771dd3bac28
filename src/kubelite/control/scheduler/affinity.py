"""Pods that want to be near or far from other pods, in the same node, zone or whatever label says."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from kubelite.control.scheduler.filters import Rejection
from kubelite.control.scheduler.node_info import NodeInfo, Snapshot
from kubelite.control.scheduler.pod_info import PodInfo, Term

Place = tuple[str, str]  # topology key and value
NamespaceLabels = Callable[[str], Mapping[str, str]]

EXISTING_ANTI_AFFINITY = Rejection(
    "InterPodAffinity",
    ["node(s) didn't satisfy existing pods anti-affinity rules"],
    resolvable=True,
)
AFFINITY = Rejection(
    "InterPodAffinity", ["node(s) didn't match pod affinity rules"], resolvable=False
)
ANTI_AFFINITY = Rejection(
    "InterPodAffinity", ["node(s) didn't match pod anti-affinity rules"], resolvable=True
)
HARD_AFFINITY_WEIGHT = 1  # how much a required term of an existing pod counts for scoring


def term_selects(term: Term, other: PodInfo, labels_of: NamespaceLabels) -> bool:
    """Tell whether a term speaks of a pod."""
    if other.namespace in term.namespaces or term.all_namespaces:
        return term.matches(other.labels)
    if term.namespace_matches is None or not term.namespace_matches(labels_of(other.namespace)):
        return False
    return term.matches(other.labels)


class AffinityState:
    """Where one pod may go, as the pods of the whole cluster say."""

    def __init__(self, info: PodInfo, snapshot: Snapshot, labels_of: NamespaceLabels) -> None:
        self._info = info
        self._forbidden: set[Place] = set()  # by anti-affinity of existing pods
        self._near: list[set[str]] = []  # for each required term the values where a match is
        self._far: set[Place] = set()
        self._first_of_kind = False
        for other, node in snapshot.with_anti_affinity.values():
            for term in other.anti_affinity:
                if term_selects(term, info, labels_of) and term.topology in node.labels:
                    self._forbidden.add((term.topology, node.labels[term.topology]))
        if info.affinity or info.anti_affinity:
            self._look_around(snapshot, labels_of)

    @property
    def matters(self) -> bool:
        """Whether any node can be refused."""
        return bool(self._forbidden or self._info.affinity or self._far)

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Return why the pod cannot go to a node, or None."""
        labels = node.labels
        if self._info.affinity and not self._near_enough(labels):
            return AFFINITY
        if any(labels.get(key) == value for key, value in self._far):
            return ANTI_AFFINITY
        if any(labels.get(key) == value for key, value in self._forbidden):
            return EXISTING_ANTI_AFFINITY
        return None

    def _near_enough(self, labels: Mapping[str, str]) -> bool:
        terms = self._info.affinity
        if any(term.topology not in labels for term in terms):
            return False
        if all(
            labels[term.topology] in values for term, values in zip(terms, self._near, strict=True)
        ):
            return True
        return self._first_of_kind

    def _look_around(self, snapshot: Snapshot, labels_of: NamespaceLabels) -> None:
        info = self._info
        self._near = [set() for _ in info.affinity]
        for node in snapshot.known():
            for other in node.pods.values():
                # As upstream, a pod counts only if all terms select it.
                if info.affinity and all(
                    term_selects(one, other, labels_of) for one in info.affinity
                ):
                    for term, values in zip(info.affinity, self._near, strict=True):
                        if term.topology in node.labels:
                            values.add(node.labels[term.topology])
                for term in info.anti_affinity:
                    if term.topology in node.labels and term_selects(term, other, labels_of):
                        self._far.add((term.topology, node.labels[term.topology]))
        # The first of pods that want to be near each other must be allowed somewhere.
        self._first_of_kind = not any(self._near) and all(
            term_selects(term, info, labels_of) for term in info.affinity
        )


def affinity_scores(
    info: PodInfo, snapshot: Snapshot, feasible: Iterable[NodeInfo], labels_of: NamespaceLabels
) -> dict[str, int]:
    """Return how much preferred terms, the pod's own and those of others, speak for each node."""
    weights: Counter[Place] = Counter()
    others: Iterable[tuple[PodInfo, NodeInfo]] = snapshot.with_affinity.values()
    if info.preferred:
        others = [(other, node) for node in snapshot.known() for other in node.pods.values()]
    for other, node in others:
        _weigh(weights, info.preferred, other, node, labels_of)
        _weigh(weights, other.preferred, info, node, labels_of)
        for term in other.affinity:
            if term.topology in node.labels and term_selects(term, info, labels_of):
                weights[term.topology, node.labels[term.topology]] += HARD_AFFINITY_WEIGHT
    if not weights:
        return {}
    return {
        node.name: sum(
            weight for (key, value), weight in weights.items() if node.labels.get(key) == value
        )
        for node in feasible
    }


def _weigh(
    weights: Counter[Place],
    terms: Iterable[Term],
    target: PodInfo,
    node: NodeInfo,
    labels_of: NamespaceLabels,
) -> None:
    for term in terms:
        if term.topology in node.labels and term_selects(term, target, labels_of):
            weights[term.topology, node.labels[term.topology]] += term.weight
