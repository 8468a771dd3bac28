"""The conditions of a Node for what it runs out of, and the events of their changes, in upstream's words. Pure."""

from collections.abc import Sequence

from kubelite.api.kinds.core.nodes import NodeCondition
from kubelite.node.eviction.thresholds import DISK_PRESSURE, MEMORY_PRESSURE, PROCESS_PRESSURE

# By condition: reason and message while it holds, reason and message while it does not.
_WORDS = {
    MEMORY_PRESSURE: (
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ),
    DISK_PRESSURE: (
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ),
    PROCESS_PRESSURE: (
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ),
}


def pressure_conditions(holding: Sequence[str]) -> list[NodeCondition]:
    """Return the three conditions; those named in `holding` are true."""
    return [_condition(name, name in holding) for name in _WORDS]


def _condition(name: str, holds: bool) -> NodeCondition:
    reason, message = _WORDS[name][0 if holds else 1]
    return NodeCondition(
        type=name, status="True" if holds else "False", reason=reason, message=message
    )


def changes(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return the reasons of the events for the conditions that began or ended."""
    return [
        _WORDS[name][0 if name in after else 1][0].replace("Kubelet", "Node", 1)
        for name in _WORDS
        if (name in before) != (name in after)
    ]
