"""Whether a pod's node selector, node affinity and tolerations suit a node; the scheduler and the node ask alike."""

from collections.abc import Mapping, Sequence

from kubelite.api.kinds.core.node_affinity import NodeSelector, NodeSelectorTerm
from kubelite.api.kinds.core.pods import PodSpec
from kubelite.api.kinds.core.scheduling import Toleration
from kubelite.api.machinery.selectors import Requirement

OPERATORS = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
    "Gt": "gt",
    "Lt": "lt",
}

Taint = tuple[str, str, str]  # key, value, effect


def suits_node(spec: PodSpec, labels: Mapping[str, str], node_name: str) -> bool:
    """Return whether a node is one that the pod's node selector and required node affinity select."""
    if any(labels.get(key) != value for key, value in spec.nodeSelector.items()):
        return False
    affinity = spec.affinity.nodeAffinity if spec.affinity is not None else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    return required is None or selects(required, labels, node_name)


def selects(selector: NodeSelector, labels: Mapping[str, str], node_name: str) -> bool:
    """Return whether any term of a node selector matches; one without conditions never does."""
    return any(term_matches(term, labels, node_name) for term in selector.nodeSelectorTerms)


def term_matches(term: NodeSelectorTerm, labels: Mapping[str, str], node_name: str) -> bool:
    """Return whether all conditions of a term hold."""
    if not term.matchExpressions and not term.matchFields:
        return False
    fields = {"metadata.name": node_name}
    return all(
        _requirement(one.key, one.operator, tuple(one.values)).matches(labels)
        for one in term.matchExpressions
    ) and all(
        _requirement(one.key, one.operator, tuple(one.values)).matches(fields)
        for one in term.matchFields
    )


def _requirement(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    return Requirement(key, OPERATORS.get(operator, operator), values)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Return whether a toleration covers a taint; an absent key or effect covers all."""
    key, value, effect = taint
    if toleration.effect and toleration.effect != effect:
        return False
    if toleration.key and toleration.key != key:
        return False
    match toleration.operator:
        case "Exists":
            return True
        case "" | "Equal":
            return bool(toleration.key) and toleration.value == value
        case "Lt" | "Gt":
            return _compares(toleration.operator, toleration.value, value)
        case _:
            return False


def _compares(operator: str, bound: str, value: str) -> bool:
    try:
        return int(value) < int(bound) if operator == "Lt" else int(value) > int(bound)
    except ValueError:
        return False


def is_tolerated(tolerations: Sequence[Toleration], taint: Taint) -> bool:
    """Return whether any toleration covers the taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)
