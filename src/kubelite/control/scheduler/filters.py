"""Filters nodes for a pod by the node alone; reasons are worded as in FailedScheduling events.

`FILTERS` run in order until the first that rejects the node. A reason is resolvable if other pods leaving the
node could help; preemption considers only those nodes.
"""

from collections.abc import Callable, Sequence

from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo

UNSCHEDULABLE_TAINT = ("node.kubernetes.io/unschedulable", "", "NoSchedule")
HARD_EFFECTS = frozenset({"NoSchedule", "NoExecute"})


class Rejection:
    """The filter that rejects a node for a pod, with its reasons."""

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


def unschedulable(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Keep pods off cordoned nodes."""
    assert node.node is not None
    if node.node.spec.unschedulable and not info.tolerates(UNSCHEDULABLE_TAINT):
        return NODE_UNSCHEDULABLE
    return None


def node_name(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Take only the node the pod names, if it names one."""
    wanted = info.pod.spec.nodeName
    return NODE_NAME if wanted and wanted != node.name else None


def taints(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Keep pods off nodes with taints that they do not tolerate."""
    for taint in node.taints:
        if taint[2] in HARD_EFFECTS and not info.tolerates(taint):
            return TAINTED
    return None


def node_affinity(info: PodInfo, node: NodeInfo) -> Rejection | None:
    """Take only nodes that the pod's node selector and required node affinity select."""
    return None if info.selects_node(node.name, node.labels) else NODE_AFFINITY


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
        if not total and name in info.device_classes:
            continue  # devices of the class have to serve it
        if wanted > 0 and wanted > total - requested.get(name, 0):
            short.append(f"Insufficient {name}")
            # Preemption cannot free what even the empty node lacks.
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
