"""Decides whether a node can take a pod that was bound to it; pure. Upstream's node admission has the same words."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.node.network import HostPort
from kubelite.node.resources import pod_requests, used_by


class Rejection(Struct, frozen=True):
    """Why the node refuses a pod."""

    reason: str
    message: str


def host_ports(pod: Pod) -> list[HostPort]:
    """Return the node ports a pod occupies."""
    containers = [*pod.spec.initContainers, *pod.spec.containers]
    return [
        HostPort(port.hostPort, port.containerPort, port.protocol or "TCP", port.hostIP)
        for container in containers
        for port in container.ports
        if port.hostPort
    ]


def rejection(
    pod: Pod, others: Iterable[Pod], allocatable: Mapping[str, str], labels: Mapping[str, str]
) -> Rejection | None:
    """Return why `pod` does not fit beside the `others` that run already, or None."""
    others = list(others)
    allowed_pods = int(allocatable.get("pods", "110"))
    if len(others) >= allowed_pods:
        return _insufficient("pods", 1, len(others), allowed_pods)
    used = used_by(others)
    for name, amount in sorted(pod_requests(pod).items()):
        if amount <= 0:
            continue
        available = _amount(name, allocatable.get(name, "0"))
        if used.get(name, 0) + amount > available:
            return _insufficient(name, amount, used.get(name, 0), available)
    taken = [port for other in others for port in host_ports(other)]
    if any(_collides(port, other) for port in host_ports(pod) for other in taken):
        return Rejection(
            "NodePorts",
            "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the "
            "requested pod ports",
        )
    if any(labels.get(key) != value for key, value in pod.spec.nodeSelector.items()):
        return Rejection(
            "NodeAffinity",
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match"
            " Pod's node affinity/selector",
        )
    return None


def _amount(name: str, written: str) -> int:
    quantity = parse_quantity(written)
    return quantity.milli_value() if name == "cpu" else quantity.value()


def _insufficient(name: str, requested: int, used: int, capacity: int) -> Rejection:
    return Rejection(
        f"OutOf{name}",
        f"Pod was rejected: Node didn't have enough resource: {name}, requested: {requested}, "
        f"used: {used}, capacity: {capacity}",
    )


def _collides(port: HostPort, other: HostPort) -> bool:
    if (port.host_port, port.protocol) != (other.host_port, other.protocol):
        return False
    anywhere = {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    return port.host_ip == other.host_ip or bool({port.host_ip, other.host_ip} & anywhere)
