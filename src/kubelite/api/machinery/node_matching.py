"""Node selectors, compiled once and matched against many nodes; shared by the scheduler and the node."""

from collections.abc import Callable, Iterable, Mapping

from kubelite.api.kinds.core.node_affinity import (
    NodeSelectorRequirement,
    NodeSelectorTerm,
)
from kubelite.api.kinds.core.pods import PodSpec
from kubelite.api.machinery.label_matching import matcher_of

Test = Callable[[Mapping[str, str]], bool]


class TermMatcher:
    """One term: all its requirements must hold; a term without any matches no node."""

    __slots__ = ("_fields", "_labels", "_never")

    def __init__(self, term: NodeSelectorTerm) -> None:
        self._never = not term.matchExpressions and not term.matchFields
        self._labels = _test(term.matchExpressions)
        self._fields = _test(term.matchFields)

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Return whether the term selects a node with this name and these labels."""
        if self._never or (self._labels is not None and not self._labels(labels)):
            return False
        return self._fields is None or self._fields({"metadata.name": name})


def _test(asked: Iterable[NodeSelectorRequirement]) -> Test | None:
    requirements = tuple(asked)
    return matcher_of(requirements) if requirements else None


def suits_node(spec: PodSpec, name: str, labels: Mapping[str, str]) -> bool:
    """Return whether the pod's node selector and required node affinity select a node."""
    if not spec.nodeSelector.items() <= labels.items():
        return False
    affinity = spec.affinity.nodeAffinity if spec.affinity is not None else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    if required is None:
        return True
    return any(TermMatcher(term).matches(name, labels) for term in required.nodeSelectorTerms)
