"""Which pods stand behind a service, and at which ports: shared by endpoints and endpoint slices."""

from collections.abc import Iterable, Sequence

from kubelite.api.client.protocol import Mirror
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service, ServicePort
from kubelite.control.pods import is_ready, is_terminal
from kubelite.control.runtime import Key
from kubelite.control.selection import equality_matcher


def is_selecting(service: Service) -> bool:
    """Tell whether the service's endpoints follow from a selector."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def selected_pods(service: Service, pods: Mirror[Pod]) -> list[Pod]:
    """Return the pods with an address that the service selects."""
    matches = equality_matcher(service.spec.selector)
    return [
        pod
        for pod in pods.list(service.metadata.namespace)
        if pod.status.podIPs and not is_terminal(pod) and matches(pod.metadata.labels)
    ]


def selecting_services(pod: Pod, services: Mirror[Service]) -> Iterable[Key]:
    """Return the keys of the services that select a pod."""
    labels = pod.metadata.labels
    return tuple(
        Key(service.metadata.namespace, service.metadata.name)
        for service in services.list(pod.metadata.namespace)
        if service.spec.selector and service.spec.selector.items() <= labels.items()
    )


def matters(before: Pod | None, after: Pod | None) -> bool:
    """Tell whether a change of a pod can change endpoints."""
    if before is None or after is None:
        known = after or before
        return known is not None and bool(known.status.podIPs)
    return _facts(before) != _facts(after)


def _facts(pod: Pod) -> tuple[object, ...]:
    return (
        pod.metadata.labels,
        pod.status.podIPs,
        pod.metadata.deletionTimestamp,
        is_ready(pod),
        is_terminal(pod),
        pod.spec.nodeName,
    )


def target_port(pod: Pod, port: ServicePort) -> int | None:
    """Return the number of the pod's port that a service port leads to; None if the pod names no such port."""
    target = port.targetPort
    if isinstance(target, int):
        return target or port.port
    if not target:
        return port.port
    if target.isdecimal():
        return int(target)
    sidecars = [one for one in pod.spec.initContainers if one.restartPolicy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        for declared in container.ports:
            if declared.name == target and declared.protocol == port.protocol:
                return declared.containerPort
    return None


def hostname_of(pod: Pod, service: Service) -> str:
    """Return the name by which a headless service's DNS knows the pod, or nothing."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else ""


def families(service: Service) -> Sequence[str]:
    """Return the address types of the service: ``IPv4``, ``IPv6``."""
    if service.spec.ipFamilies:
        return service.spec.ipFamilies
    address = service.spec.clusterIP
    if address and address != "None":
        return ("IPv6",) if ":" in address else ("IPv4",)
    return ("IPv4", "IPv6")


def addresses_of(pod: Pod, family: str) -> list[str]:
    """Return the pod's addresses of a family."""
    return [one.ip for one in pod.status.podIPs if (":" in one.ip) == (family == "IPv6")]
