"""The pods and target ports behind a service: shared by the controllers of Endpoints and EndpointSlices."""

from collections.abc import Mapping, Sequence

from kubelite.api.client.protocol import Mirror
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.core.services import Service, ServicePort
from kubelite.control.pods import containers_and_ports, is_ready, is_terminal
from kubelite.control.runtime import Context
from kubelite.control.selection import MATCH_COST_BYTES, equality_matcher
from kubelite.control.selector_index import SelectorIndex
from kubelite.limits import INLINE_WORK
from kubelite.offload import Offload

# Cost of an endpoint without ports, for the offload: about ten microseconds.
ENDPOINT_COST_BYTES = 40

Ports = tuple[tuple[str, str, int, str], ...]  # name, protocol, port, application protocol


def is_selecting(service: Service) -> bool:
    """Return whether the service has a selector, from which its endpoints follow."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


async def selected_pods(offload: Offload, service: Service, pods: Mirror[Pod]) -> list[Pod]:
    """Return the pods that the service selects and that have an address."""
    matches = equality_matcher(service.spec.selector)
    candidates = pods.list(service.metadata.namespace)
    return await offload.run(
        len(candidates) * MATCH_COST_BYTES,
        lambda: [
            pod
            for pod in candidates
            if pod.status.podIPs and matches(pod.metadata.labels) and not is_terminal(pod)
        ],
    )


def service_selectors(context: Context) -> SelectorIndex[Service]:
    """Return the index of the services that select pods."""
    index: SelectorIndex[Service] = SelectorIndex(lambda one: one.spec.selector or None)
    context.follow(Service, index.changed)
    return index


def matters(before: Pod | None, after: Pod | None) -> bool:
    """Return whether a change of a pod can change endpoints."""
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


class TargetPorts:
    """Resolves the target ports of a service, once for all pods that declare the named ports alike."""

    def __init__(self, service: Service) -> None:
        self._ports = service.spec.ports
        targets = ((port.targetPort, port.protocol) for port in self._ports)
        # The named target ports, each once.
        self._names = tuple(
            dict.fromkeys((name, protocol) for name, protocol in targets if _is_name(name))
        )
        self._known: dict[tuple[int | None, ...], tuple[tuple[ServicePort, int], ...]] = {}

    def of(self, pod: Pod) -> tuple[tuple[ServicePort, int], ...]:
        """Return the service ports that resolve in the pod, each with the number of the pod's port."""
        numbers: tuple[int | None, ...] = ()
        if self._names:
            declared = _declared(pod)
            numbers = tuple(declared.get(name) for name in self._names)
        found = self._known.get(numbers)
        if found is None:
            by_name = dict(zip(self._names, numbers, strict=True))
            pairs = ((port, _number(port, by_name)) for port in self._ports)
            found = self._known[numbers] = tuple(
                (port, number) for port, number in pairs if number is not None
            )
        return found


def served_ports(targets: TargetPorts, pod: Pod) -> Ports:
    """Return the ports that a pod serves, sorted, as the key by which Endpoints and EndpointSlices group pods."""
    return tuple(
        sorted(
            (port.name, port.protocol or "TCP", number, port.appProtocol or "")
            for port, number in targets.of(pod)
        )
    )


def pod_reference(pod: Pod) -> ObjectReference:
    """Return the `targetRef` of a pod's endpoint."""
    metadata = pod.metadata
    return ObjectReference(
        kind="Pod", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid
    )


def _is_name(target: int | str | None) -> bool:
    return isinstance(target, str) and bool(target) and not target.isdecimal()


def _declared(pod: Pod) -> dict[tuple[int | str | None, str], int]:
    """Return the numbers of a pod's container ports by name and protocol; the first of equal ones counts."""
    sidecars = [one for one in pod.spec.initContainers if one.restartPolicy == "Always"]
    declared: dict[tuple[int | str | None, str], int] = {}
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            declared.setdefault((port.name, port.protocol), port.containerPort)
    return declared


def _number(
    port: ServicePort, by_name: Mapping[tuple[int | str | None, str], int | None]
) -> int | None:
    target = port.targetPort
    if _is_name(target):
        return by_name[target, port.protocol]
    return int(target or 0) or port.port


def endpoints_cost_bytes(service: Service, pods: Sequence[Pod]) -> int:
    """Return the cost of computing the endpoints of a service, for the offload."""
    ports = len(service.spec.ports)
    return len(pods) * (ENDPOINT_COST_BYTES + ports) + 2 * containers_and_ports(
        pods, INLINE_WORK.value
    )


def hostname_of(pod: Pod, service: Service) -> str:
    """Return the host name of the pod in a headless service's DNS records; "" for none."""
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
