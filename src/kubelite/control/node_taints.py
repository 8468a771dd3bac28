"""Which taints a node should have for its conditions, and when a NoExecute taint evicts a pod."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from kubelite.api.kinds.core.nodes import Node, NodeCondition
from kubelite.api.kinds.core.scheduling import Taint, Toleration
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.api.machinery.tolerations import tolerates
from kubelite.control import conditions
from kubelite.control.deadlines import shifted

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *PRESSURES.values()})


def node_condition(node: Node, condition_type: str) -> NodeCondition | None:
    """Return the node's condition of a type, or None."""
    return conditions.find(node.status.conditions, condition_type)


def is_node_ready(node: Node) -> bool:
    """Return whether the node's Ready condition is true."""
    return conditions.is_true(node.status.conditions, "Ready")


def wanted_taints(node: Node, *, evicting: bool, now: datetime) -> list[Taint]:
    """Return the taints a node should have: ours by its conditions, all others unchanged.

    `evicting` is False while no node is ready: the control plane is then likely the cause, so no pod is evicted.
    """
    wanted: set[tuple[str, str]] = set()
    ready = node_condition(node, "Ready")
    if ready is None or ready.status != "True":
        key = UNREACHABLE if ready is not None and ready.status == "Unknown" else NOT_READY
        wanted.add((key, "NoSchedule"))
        if evicting:
            wanted.add((key, "NoExecute"))
    for condition_type, key in PRESSURES.items():
        found = node_condition(node, condition_type)
        if found is not None and found.status == "True":
            wanted.add((key, "NoSchedule"))
    if node.spec.unschedulable:
        wanted.add((UNSCHEDULABLE, "NoSchedule"))
    kept = [
        taint
        for taint in node.spec.taints
        if taint.key not in OURS or (taint.key, taint.effect) in wanted
    ]
    present = {(taint.key, taint.effect) for taint in kept}
    date = format_time(now)
    return kept + [
        Taint(key=key, effect=effect, timeAdded=date) for key, effect in sorted(wanted - present)
    ]


def leave_at(
    taints: Iterable[Taint], tolerations: Sequence[Toleration], now: datetime
) -> datetime | None:
    """Return when the node's NoExecute taints evict a pod; None if it may stay."""
    deadline: datetime | None = None
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        matching = [
            one for one in tolerations if tolerates(one, (taint.key, taint.value, taint.effect))
        ]
        if not matching:
            return now
        limited = [one.tolerationSeconds for one in matching if one.tolerationSeconds is not None]
        if not limited:
            continue
        since = parse_time(taint.timeAdded) if taint.timeAdded else now
        until = shifted(since, max(0, min(limited)))
        deadline = until if deadline is None else min(deadline, until)
    return deadline
