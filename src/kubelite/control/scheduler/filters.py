"""Which nodes can take a pod, judged by the node alone; reasons are worded as in FailedScheduling events.

`FILTERS` is asked in order and the first that objects is the answer. A reason is resolvable if other pods leaving the
node could help, which is what preemption asks.
"""

from collections.abc import Callable, Sequence

from kubelite.api.kinds.core.node_affinity import NodeSelector, NodeSelectorTerm
from kubelite.api.kinds.core.scheduling import Toleration
from kubelite.api.machinery.numbers import integer
from kubelite.api.machinery.selectors import Requirement
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo

UNSCHEDULABLE_TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")
HARD_EFFECTS = frozenset({"NoSchedule", "NoExecute"})
OPERATORS = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
    "Gt": "gt",
    "Lt": "lt",
}

Taint = tuple[str, str, str]  # key, value, effect


class Rejection:
    """Why a node cannot take a pod."""

    __slots__ = ("filter", "reasons", "resolvable")

    def __init__(self, filter_name: str, reasons: Sequence[str], *, resolvable: bool) -> None:
        self.filter = filter_name
        self.reasons = tuple(reasons)
        self.resolvable = resolvable


NODE_UNSCHEDULABLE = Rejection(
    "NodeUnschedulable", ["node(s) were unschedulable"], resolvable=False
)
NODE_NAME = Rejection(
    "NodeName", ["node(s) didn't match the requested node name"], resolvable=False
)
TAINTED = Rejection("TaintToleration", ["node(s) had untolerated taint(s)"], resolvable=False)
NODE_AFFINITY = Rejection(
    "NodeAffinity", ["node(s) didn't match Pod's node affinity/selector"], resolvable=False
)
NODE_PORTS = Rejection(
    "NodePorts", ["node(s) didn't have free ports for the requested pod ports"], resolvable=True
)


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Tell whether a toleration covers a taint; an absent key or effect covers all."""
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
    number, limit = integer(value), integer(bound)
    if number is None or limit is None:
        return False
    return number < limit if operator == "Lt" else number > limit


def is_tolerated(tolerations: Sequence[Toleration], taint: Taint) -> bool:
    """Tell whether any toleration covers the taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)


def unschedulable(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Keep pods off cordoned nodes."""
    assert node.node is not None
    if node.node.spec.unschedulable and not is_tolerated(info.tolerations, UNSCHEDULABLE_TAINT):
        return NODE_UNSCHEDULABLE
    return None


def node_name(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Take only the node the pod names, if it names one."""
    wanted = info.pod.spec.nodeName
    return NODE_NAME if wanted and wanted != node.name else None


def taints(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Keep pods off nodes with taints that they do not tolerate."""
    for taint in node.taints:
        if taint[2] in HARD_EFFECTS and not is_tolerated(info.tolerations, taint):
            return TAINTED
    return None


def node_affinity(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Take only nodes that the pod's node selector and required node affinity select."""
    spec = info.pod.spec
    for key, value in spec.nodeSelector.items():
        if node.labels.get(key) != value:
            return NODE_AFFINITY
    if spec.affinity is not None and spec.affinity.nodeAffinity is not None:
        required = spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution
        if required is not None and not selects(required, node):
            return NODE_AFFINITY
    return None


def selects(selector: NodeSelector, node: NodeInfo) -> bool:
    """Tell whether any term of a node selector matches; one without conditions never does."""
    return any(term_matches(term, node) for term in selector.nodeSelectorTerms)


def term_matches(term: NodeSelectorTerm, node: NodeInfo) -> bool:
    """Tell whether all conditions of a term hold."""
    if not term.matchExpressions and not term.matchFields:
        return False
    return all(
        _requirement(one.key, one.operator, tuple(one.values)).matches(node.labels)
        for one in term.matchExpressions
    ) and all(
        _requirement(one.key, one.operator, tuple(one.values)).matches({"metadata.name": node.name})
        for one in term.matchFields
    )


def _requirement(key: str, operator: str, values: tuple[str, ...]) -> Requirement:
    return Requirement(key, OPERATORS.get(operator, operator), values)


def ports(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Take only nodes where the host ports are free."""
    return NODE_PORTS if info.ports and node.conflicts(info.ports) else None


def resources(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Take only nodes with enough of every resource left."""
    short: list[str] = []
    resolvable = True
    allocatable, requested = node.allocatable, node.requested
    if len(node.pods) + 1 > allocatable.get("pods", 0):
        short.append("Too many pods")
    for name, wanted in info.requests.items():
        total = allocatable.get(name, 0)
        if wanted > 0 and wanted > total - requested.get(name, 0):
            short.append(f"Insufficient {name}")
            # What the empty node does not have, no preemption can free.
            resolvable = resolvable and wanted <= total
    return Rejection("NodeResourcesFit", short, resolvable=resolvable) if short else None


Filter = Callable[[PodInfo, NodeInfo], Rejection | None]

FILTERS: tuple[Filter, ...] = (
    unschedulable,
    node_name,
    taints,
    node_affinity,
    ports,
    resources,
)


def rejection(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Return why the node alone cannot take the pod, or None."""
    for judge in FILTERS:
        if (found := judge(info, node)) is not None:
            return found
    return None
