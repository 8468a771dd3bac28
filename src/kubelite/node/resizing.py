"""In-place resizes: allocated and requested resources of a pod, and the conditions of a resize. Pure.

A pod keeps what it was allocated until the node has room for what it asks for (the KEP "In-place Update of Pod
Resources"). All that acts on the pod sees the allocated resources, so a pod that waits for room runs on as it is.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from kubelite.api.kinds.core.containers import Container, ResourceRequirements
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.observed import RESOURCES_LABEL, Observed
from kubelite.node.pods import all_containers, resources_text
from kubelite.node.resources import group_limits
from kubelite.node.runtime import ContainerRecord

PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"

POD = ""  # in place of a container's name: the resources of the pod itself
Allocated = Mapping[str, ResourceRequirements]  # by container name, or POD


def asked_resources(pod: Pod) -> dict[str, ResourceRequirements]:
    """Return the requested resources of a pod's containers, by name, and those of the pod itself."""
    own = {POD: pod.spec.resources} if pod.spec.resources is not None else {}
    containers = (*pod.spec.initContainers, *pod.spec.containers)
    return {**own, **{one.name: one.resources for one in containers}}


def known_resources(pod: Pod) -> dict[str, ResourceRequirements]:
    """Return the allocated resources by name, as last written to the status, else the requested ones."""
    known = asked_resources(pod)
    statuses = (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
    known.update(
        {one.name: one.resources for one in statuses if one.name in known and one.resources}
    )
    if POD in known and pod.status.resources is not None:
        known[POD] = pod.status.resources
    return known


def with_allocated(pod: Pod, allocated: Allocated) -> Pod:
    """Return the pod with its allocated resources in place of the requested ones."""
    inits = [_with(one, allocated) for one in pod.spec.initContainers]
    apps = [_with(one, allocated) for one in pod.spec.containers]
    own = allocated.get(POD, pod.spec.resources)
    if (inits, apps, own) == (pod.spec.initContainers, pod.spec.containers, pod.spec.resources):
        return pod
    spec = msgspec.structs.replace(pod.spec, initContainers=inits, containers=apps, resources=own)
    return msgspec.structs.replace(pod, spec=spec)


def _with(container: Container, allocated: Allocated) -> Container:
    resources = allocated.get(container.name)
    if resources is None or resources == container.resources:
        return container
    return msgspec.structs.replace(container, resources=resources)


def current_text(record: ContainerRecord, observed: Observed) -> str:
    """Return the resources a container really has, as JSON; "" when that is not known."""
    return observed.resized.get(record.id) or record.labels.get(RESOURCES_LABEL, "")


def is_in_progress(pod: Pod, observed: Observed) -> bool:
    """Return whether a running container, or the pod itself, does not have its allocated resources yet."""
    is_limited = pod.spec.resources is not None and observed.group_limits is not None
    if is_limited and observed.running() and observed.group_limits != group_limits(pod):
        return True
    for container in all_containers(pod):
        record = observed.newest(container.name)
        if record is not None and record.is_running:
            current = current_text(record, observed)
            if current and current != resources_text(container):
                return True
    return False


def resize_message(begin: str, pod: Pod, error: str = "") -> str:
    """Return the message of an event about a resize, with the requested resources as JSON."""
    summary: dict[str, Any] = {}
    for field in ("initContainers", "containers"):
        if containers := getattr(pod.spec, field):
            summary[field] = [
                {"name": one.name, "resources": msgspec.to_builtins(one.resources)}
                for one in containers
            ]
    summary["generation"] = pod.metadata.generation
    if error:
        summary["error"] = error
    return f"{begin}: {msgspec.json.encode(summary).decode()}"
