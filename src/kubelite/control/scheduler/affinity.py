"""Inter-pod affinity and anti-affinity over topology keys (node, zone or any label), as a filter and as a score."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from kubelite.control.scheduler.filters import Rejection
from kubelite.control.scheduler.node_info import NodeInfo, Snapshot
from kubelite.control.scheduler.pod_info import PodInfo, Term
from kubelite.control.scheduler.steps import Steps

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
    """Return whether a term matches a pod, by namespace and labels."""
    if other.namespace in term.namespaces or term.all_namespaces:
        return term.matches(other.labels)
    if not term.selects_namespaces or not term.namespace_matches(labels_of(other.namespace)):
        return False
    return term.matches(other.labels)


class AffinityState:
    """The InterPodAffinity filter for one pod; `look` must have run."""

    def __init__(self, info: PodInfo, snapshot: Snapshot, labels_of: NamespaceLabels) -> None:
        self._info = info
        self._snapshot = snapshot
        self._labels_of = labels_of
        self._forbidden = Places()  # by anti-affinity of existing pods
        self._near: list[
            set[str]
        ] = []  # for each required term the topology values with a matching pod
        self._far = Places()
        self._first_of_kind = False

    def look(self) -> Steps[None]:
        """Collect the topology values that anti-affinity forbids and that required terms match."""
        info, labels_of = self._info, self._labels_of
        for other, node in self._snapshot.with_anti_affinity.about(info.namespace):
            # As upstream, the pods of a deleted node do not count, even while they are not deleted themselves.
            for term in other.anti_affinity if node.node is not None else ():
                if term.topology in node.labels and term_selects(term, info, labels_of):
                    self._forbidden.add(term.topology, node.labels[term.topology])
            yield 1 + len(other.anti_affinity)
        if info.affinity or info.anti_affinity:
            yield from self._look_around()

    @property
    def matters(self) -> bool:
        """Whether any node can be refused."""
        return bool(self._forbidden or self._info.affinity or self._far)

    @property
    def steps(self) -> int:
        """The steps that filtering one node takes."""
        return len(self._info.affinity) + len(self._far) + len(self._forbidden)

    def rejection(self, node: NodeInfo) -> Rejection | None:
        """Return why the pod cannot go to a node, or None."""
        labels = node.labels
        if self._info.affinity and not self._near_enough(labels):
            return AFFINITY
        if self._far.have(labels):
            return ANTI_AFFINITY
        if self._forbidden.have(labels):
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

    def _look_around(self) -> Steps[None]:
        info, labels_of = self._info, self._labels_of
        self._near = [set() for _ in info.affinity]
        a_pod = 1 + len(info.affinity) + len(info.anti_affinity)
        for node in tuple(self._snapshot.known()):
            for other in tuple(node.pods.values()):
                if node.node is None:
                    break  # it was deleted meanwhile
                # As upstream, a pod counts only if all terms select it.
                if info.affinity and all(
                    term_selects(one, other, labels_of) for one in info.affinity
                ):
                    for term, values in zip(info.affinity, self._near, strict=True):
                        if term.topology in node.labels:
                            values.add(node.labels[term.topology])
                for term in info.anti_affinity:
                    if term.topology in node.labels and term_selects(term, other, labels_of):
                        self._far.add(term.topology, node.labels[term.topology])
                yield a_pod
        # The first of a group with affinity to itself matches no pod yet, so it may go anywhere with the keys.
        self._first_of_kind = not any(self._near) and all(
            term_selects(term, info, labels_of) for term in info.affinity
        )
        yield a_pod


class Places:
    """Values of topology keys."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """Return the number of topology keys, which is what a look-up costs."""
        return len(self._values)

    def add(self, key: str, value: str) -> None:
        """Add a topology key and value."""
        self._values.setdefault(key, set()).add(value)

    def have(self, labels: Mapping[str, str]) -> bool:
        """Return whether a node with these labels is at one of the topology values."""
        return any(labels.get(key) in values for key, values in self._values.items())


def affinity_scores(
    info: PodInfo, snapshot: Snapshot, feasible: Sequence[NodeInfo], labels_of: NamespaceLabels
) -> Steps[dict[str, int]]:
    """Return how much preferred terms, the pod's own and those of others, speak for each node."""
    weights: Counter[Place] = Counter()
    if info.preferred:
        for node in tuple(snapshot.known()):
            for other in tuple(node.pods.values()):
                if node.node is None:
                    break  # it was deleted meanwhile
                _weigh(weights, info.preferred, other, node, labels_of)
                yield 1 + len(info.preferred)
    for other, node in snapshot.with_affinity.about(info.namespace):
        if node.node is not None:
            _weigh(weights, other.preferred, info, node, labels_of)
            for term in other.affinity:
                if term.topology in node.labels and term_selects(term, info, labels_of):
                    weights[term.topology, node.labels[term.topology]] += HARD_AFFINITY_WEIGHT
        yield 1 + len(other.preferred) + len(other.affinity)
    if not weights:
        return {}
    keys = {key for key, _ in weights}
    scores: dict[str, int] = {}
    for node in feasible:
        labels = node.labels
        scores[node.name] = sum(weights[key, labels[key]] for key in keys if key in labels)
        yield 1 + len(keys)
    return scores


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
