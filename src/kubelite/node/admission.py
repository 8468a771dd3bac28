"""Decides whether a node can take a pod that was bound to it; pure. Upstream's node admission has the same words."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.node.network import HostPort
from kubelite.node.pods import AnyContainer, all_containers, is_sidecar
from kubelite.node.resources import pod_requests, used_by
from kubelite.node.security import app_armor_of
from kubelite.node.sysctls import SysctlAllowList, forbidden_sysctl

OS, OS_LABEL = "linux", "kubernetes.io/os"
NO_APPARMOR = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
REJECTED = "Pod was rejected: "  # begins the message of a status, not that of the event


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
    if _shares_a_limit(pod):
        message = "pod-level resources are not supported on the node"
        return Rejection("PodLevelResourcesNotSupported", REJECTED + message)
    return None


def _shares_a_limit(pod: Pod) -> bool:
    """Return whether several containers that run at once have to share a limit, which is enforced by container."""
    resources = pod.spec.resources
    running = [*pod.spec.containers, *filter(is_sidecar, pod.spec.initContainers)]
    return resources is not None and bool(resources.limits) and len(running) > 1


def wants_apparmor(pod: Pod, container: AnyContainer) -> bool:
    """Return whether a container asks to be confined by AppArmor."""
    profile = app_armor_of(pod, container)
    return profile is not None and profile.type != "Unconfined"


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
