"""The words of evictions, those of upstream. Pure."""

from collections.abc import Sequence

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.quantity import BINARY, Quantity, canonical_quantity, parse_quantity
from kubelite.node.eviction.observations import ContainerFootprint, Observations, PodFootprint
from kubelite.node.eviction.thresholds import Threshold

TERMINATION_BY_KUBELET = "TerminationByKubelet"  # reason of the condition DisruptionTarget
MEMORY, STORAGE = "memory", "ephemeral-storage"


def node_condition_message(conditions: Sequence[str]) -> str:
    """Return why a node under pressure refuses a pod."""
    return f"The node had condition: [{' '.join(conditions)}]. "


def empty_dir_message(volume: str, limit: str) -> str:
    """Return why a pod whose emptyDir is too large is evicted."""
    return f'Usage of EmptyDir volume "{volume}" exceeds the limit "{limit}". '


def pod_storage_message(limit: str) -> str:
    """Return why a pod that has too much on disk is evicted."""
    return f"Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "


def container_storage_message(container: str, limit: str) -> str:
    """Return why a pod with a container that has too much on disk is evicted."""
    return f'Container {container} exceeded its local ephemeral storage limit "{limit}". '


def eviction_message(
    resource: str,
    pod: Pod,
    footprint: PodFootprint | None,
    due: Sequence[Threshold],
    observations: Observations,
) -> tuple[str, dict[str, str]]:
    """Return why a pod is evicted for a resource, and the annotations of the event."""
    message = f"The node was low on resource: {resource}. " + _met(resource, due, observations)
    if footprint is None:
        return message, {}
    annotations: dict[str, str] = {}
    whole = pod.spec.resources.requests if pod.spec.resources is not None else {}
    if resource == MEMORY and MEMORY in whole:
        used = _bytes(footprint.memory_bytes)
        message += _larger(f"Pod {pod.metadata.name}", used, whole[MEMORY], resource)
        annotations |= {"offending_pod": pod.metadata.name, "offending_pod_usage": used}
    offending = list(_offending(resource, pod, footprint))
    for name, used, asked in offending:
        message += _larger(f"Container {name}", used, asked, resource)
    return message, annotations | {
        "offending_containers": ",".join(name for name, _, _ in offending),
        "offending_containers_usage": ",".join(used for _, used, _ in offending),
        "starved_resource": resource,
    }


def _met(resource: str, due: Sequence[Threshold], observations: Observations) -> str:
    for threshold in due:
        observed = observations.get(threshold.signal)
        if threshold.resource == resource and observed is not None:
            quantity = threshold.amount.shown(observed.capacity)
            return f"Threshold quantity: {quantity}, available: {observed.shown()}. "
    return ""


def _larger(subject: str, used: str, asked: str, resource: str) -> str:
    asked = canonical_quantity(asked)
    return f"{subject} was using {used}, request is {asked}, has larger consumption of {resource}. "


def _offending(resource: str, pod: Pod, footprint: PodFootprint) -> list[tuple[str, str, str]]:
    """Return name, usage and request of the containers that use more than they request."""
    requests = {
        one.name: one.resources.requests for one in (*pod.spec.containers, *pod.spec.initContainers)
    }
    found = []
    for container in footprint.containers:
        used = _usage(resource, container)
        if used is None or container.name not in requests:
            continue
        asked = requests[container.name].get(resource, "0")
        if used > parse_quantity(asked).value():
            found.append((container.name, _bytes(used), asked))
    return found


def _usage(resource: str, container: ContainerFootprint) -> int | None:
    if resource == MEMORY:
        return container.memory_bytes
    if resource == STORAGE and container.root is not None and container.logs is not None:
        return container.root.bytes + container.logs.bytes
    return None


def _bytes(amount: int) -> str:
    return str(Quantity(amount, BINARY))
