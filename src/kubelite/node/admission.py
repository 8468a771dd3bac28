"""Decides whether a node can take a pod that was bound to it; pure. Upstream's node admission has the same words."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.extended_resources import claimed_resources, is_extended
from kubelite.api.machinery.node_matching import suits_node
from kubelite.api.machinery.tolerations import Tolerations
from kubelite.node.live_node import NodeView
from kubelite.node.network import HostPort
from kubelite.node.observed import Pending
from kubelite.node.pods import AnyContainer, all_containers
from kubelite.node.resources import amount_of, pod_requests, used_by
from kubelite.node.security import app_armor_of
from kubelite.node.sysctls import SysctlAllowList, forbidden_sysctl

OS, OS_LABEL = "linux", "kubernetes.io/os"
NO_APPARMOR = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
REJECTED = "Pod was rejected: "  # begins the message of a status, not that of the event


class Rejection(Struct, frozen=True):
    """Why the node refuses a pod."""

    reason: str
    message: str


class Shortage(Struct, frozen=True):
    """A resource that does not suffice for a pod, in the units of `resources.amount_of`."""

    name: str
    requested: int
    used: int
    capacity: int

    @property
    def missing(self) -> int:
        """How much has to be freed."""
        return self.requested + self.used - self.capacity


def host_ports(pod: Pod) -> list[HostPort]:
    """Return the node ports a pod occupies."""
    containers = [*pod.spec.initContainers, *pod.spec.containers]
    return [
        HostPort(port.hostPort, port.containerPort, port.protocol or "TCP", port.hostIP)
        for container in containers
        for port in container.ports
        if port.hostPort
    ]


def unsupported(pod: Pod, sysctls: SysctlAllowList, *, enforces_apparmor: bool) -> Rejection | None:
    """Return why the node will never run `pod` as it asks to be isolated, or None."""
    if forbidden := forbidden_sysctl(pod, sysctls):
        return Rejection("SysctlForbidden", REJECTED + forbidden)
    if pod.metadata.labels.get(OS_LABEL, OS) != OS:
        message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        return Rejection("PodOSSelectorNodeLabelDoesNotMatch", REJECTED + message)
    if pod.spec.os is not None and pod.spec.os.name != OS:
        message = "Failed to admit pod as the OS field doesn't match node OS"
        return Rejection("PodOSNotSupported", REJECTED + message)
    context = pod.spec.securityContext
    # Engines merge in the groups that the image's /etc/group gives its user.
    if context is not None and context.supplementalGroupsPolicy == "Strict":
        message = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return Rejection("SupplementalGroupsPolicyNotSupported", REJECTED + message)
    if not enforces_apparmor and any(wants_apparmor(pod, one) for one in all_containers(pod)):
        return Rejection("AppArmor", REJECTED + NO_APPARMOR)
    return None


def unexpected(message: str) -> Rejection:
    """Return the rejection of a pod for which something failed that the scheduler had made sure of."""
    return Rejection("UnexpectedAdmissionError", REJECTED + message)


def wants_apparmor(pod: Pod, container: AnyContainer) -> bool:
    """Return whether a container asks to be confined by AppArmor."""
    profile = app_armor_of(pod, container)
    return profile is not None and profile.type != "Unconfined"


def rejection(pod: Pod, others: Sequence[Pod], node: NodeView) -> Rejection | None:
    """Return why `pod` does not fit beside the `others` that run already, or None."""
    return _lacks(pod, others, node) or unsuited(pod, others, node)


def unsuited(pod: Pod, others: Sequence[Pod], node: NodeView) -> Rejection | None:
    """Return why `pod` cannot be on the node however much room there is, or None."""
    taken = [port for other in others for port in host_ports(other)]
    if any(_collides(port, other) for port in host_ports(pod) for other in taken):
        return _failed("NodePorts", "node(s) didn't have free ports for the requested pod ports")
    if not suits_node(pod.spec, node.name, node.labels):
        return _failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    tolerations = Tolerations(pod.spec.tolerations)
    for taint in node.taints:
        if taint[2] == "NoExecute" and not tolerations.cover(taint):
            return _failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")
    return None


def _lacks(pod: Pod, others: Sequence[Pod], node: NodeView) -> Rejection | None:
    """Return which resource the node has too little of for `pod`, or None."""
    for lack in shortages(pod, others, node):
        return _insufficient(lack.name, lack.requested, lack.used, lack.capacity)
    return None


def shortages(pod: Pod, others: Sequence[Pod], node: NodeView) -> Iterator[Shortage]:
    """Yield each resource that the node has too little of for `pod` beside the `others`."""
    allowed_pods = int(node.allocatable.get("pods", "110"))
    if len(others) >= allowed_pods:
        yield Shortage("pods", 1, len(others), allowed_pods)
    used = used_by(others)
    claimed = claimed_resources(pod)
    for name, amount in sorted(pod_requests(pod).items()):
        if name in claimed:
            continue
        # An extended resource that the node does not know may be the cluster's: the scheduler has accounted for it.
        if amount <= 0 or (is_extended(name) and name not in node.allocatable):
            continue
        available = amount_of(name, node.allocatable.get(name, "0"))
        if used.get(name, 0) + amount > available:
            yield Shortage(name, amount, used.get(name, 0), available)


def resize_refusal(pod: Pod, others: Sequence[Pod], node: NodeView) -> Pending | None:
    """Return why a running pod cannot be given the resources that it asks for now, or None."""
    lacking = _lacks(pod, others, node)
    if lacking is None or lacking.reason == "OutOfpods":
        return None
    return Pending("Deferred", lacking.message.removeprefix(REJECTED))


def _failed(predicate: str, reason: str) -> Rejection:
    return Rejection(predicate, f"{REJECTED}Predicate {predicate} failed: {reason}")


def _insufficient(name: str, requested: int, used: int, capacity: int) -> Rejection:
    message = f"Node didn't have enough resource: {name}, requested: {requested}, "
    return Rejection(f"OutOf{name}", f"{REJECTED}{message}used: {used}, capacity: {capacity}")


def _collides(port: HostPort, other: HostPort) -> bool:
    if (port.host_port, port.protocol) != (other.host_port, other.protocol):
        return False
    anywhere = {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    return port.host_ip == other.host_ip or bool({port.host_ip, other.host_ip} & anywhere)
