"""What a pod's spec says, in the node's words. All pure."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.kinds.core.containers import Container, EphemeralContainer, VolumeMount
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.node.static_pods import is_static

DEFAULT_GRACE_SECONDS = 30
QOS_CLASSES = frozenset({"Guaranteed", "Burstable", "BestEffort"})

SYSTEM_CRITICAL_PRIORITY = 2_000_000_000

AnyContainer = Container | EphemeralContainer


def pod_key(pod: Pod) -> str:
    """Name a pod as ``namespace/name``."""
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def is_sidecar(container: AnyContainer) -> bool:
    """Whether an init container runs for as long as the pod does."""
    return container.restartPolicy == "Always"


def all_containers(pod: Pod) -> Iterator[AnyContainer]:
    """Yield init, app and ephemeral containers, in order of start."""
    yield from pod.spec.initContainers
    yield from pod.spec.containers
    yield from pod.spec.ephemeralContainers


def find_container(pod: Pod, name: str) -> AnyContainer | None:
    """Return a container of any type by its name."""
    return next((container for container in all_containers(pod) if container.name == name), None)


class WantedImage(Struct, frozen=True):
    """An image that must be on the node before a container is created."""

    key: str  # under which its state is kept: the container's name, or ``volume/NAME``
    reference: str
    policy: str  # Always, IfNotPresent or Never
    container: AnyContainer | None = None  # None: of a volume, which several containers may mount


def image_of(container: AnyContainer) -> WantedImage:
    """Return a container's own image."""
    policy = container.imagePullPolicy or "IfNotPresent"
    return WantedImage(container.name, container.image, policy, container)


def image_volume_key(volume_name: str) -> str:
    """Return the key of the image of a volume; no container's name has a slash."""
    return f"volume/{volume_name}"


def image_volume_of(key: str) -> str:
    """Return the name of the volume that a key is of; "" for a container's."""
    return key.removeprefix("volume/") if key.startswith("volume/") else ""


def wanted_images(pod: Pod, container: AnyContainer) -> list[WantedImage]:
    """Return a container's image and those of the image volumes that it mounts."""
    mounted = {mount.name for mount in container.volumeMounts}
    volumes = [
        WantedImage(
            image_volume_key(volume.name),
            volume.image.reference,
            volume.image.pullPolicy or "IfNotPresent",
        )
        for volume in pod.spec.volumes
        if volume.image is not None and volume.name in mounted
    ]
    return [image_of(container), *volumes]


def is_recursively_read_only(mount: VolumeMount) -> bool:
    """Return whether a mount is for reading with all that is mounted below it, on a node that can do so."""
    return mount.readOnly and mount.recursiveReadOnly in {"Enabled", "IfPossible"}


def grace_seconds(pod: Pod) -> int:
    """Return the grace period of a pod in seconds: that of its deletion, else that of its spec."""
    if pod.metadata.deletionGracePeriodSeconds is not None:
        return pod.metadata.deletionGracePeriodSeconds
    if pod.spec.terminationGracePeriodSeconds is not None:
        return pod.spec.terminationGracePeriodSeconds
    return DEFAULT_GRACE_SECONDS


def is_terminal(pod: Pod) -> bool:
    """Whether the pod has ended for good, by its recorded phase."""
    return pod.status.phase in {"Succeeded", "Failed"}


def is_critical(pod: Pod) -> bool:
    """Return whether the node keeps the pod even under pressure: a static one, or one of the system's priorities.

    Only the system's priority classes have such a priority. A mirror pod is as critical as what it shows, but is not
    run, and its annotations prove nothing, since others may write them too.
    """
    return is_static(pod) or (pod.spec.priority or 0) >= SYSTEM_CRITICAL_PRIORITY


def spec_hash(container: AnyContainer) -> str:
    """Return a hash that changes when a running container has to be replaced; only its image can change."""
    return hashlib.blake2s(
        f"{container.name}\0{container.image}".encode(), digest_size=4
    ).hexdigest()


def should_restart(pod: Pod, container: AnyContainer, exit_code: int, *, is_init: bool) -> bool:
    """Decide whether an exited container is started again (restart rules, its own policy, the pod's)."""
    for rule in container.restartPolicyRules:
        codes = rule.exitCodes
        if codes is not None and (exit_code in codes.values) == (codes.operator == "In"):
            return rule.action == "Restart"
    policy = container.restartPolicy or pod.spec.restartPolicy or "Always"
    if policy == "Never":
        return False
    if policy == "OnFailure" or (is_init and not is_sidecar(container)):
        return exit_code != 0
    return True


def resources_text(container: AnyContainer) -> str:
    """Return a container's resources as canonical JSON, to compare and to keep in a label."""
    return msgspec.json.encode(container.resources, order="deterministic").decode()


def reference_to(pod: Pod, container: AnyContainer | None = None) -> ObjectReference:
    """Refer to a pod, or to one of its containers, in an event."""
    path = ""
    if container is not None:
        place = "containers"
        if isinstance(container, EphemeralContainer):
            place = "ephemeralContainers"
        elif container in pod.spec.initContainers:
            place = "initContainers"
        path = f"spec.{place}{{{container.name}}}"
    return ObjectReference(
        apiVersion="v1",
        kind="Pod",
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        resourceVersion=pod.metadata.resourceVersion,
        fieldPath=path,
    )


def qos_class(pod: Pod) -> str:
    """Return Guaranteed, Burstable or BestEffort (the Kubernetes concept "Pod Quality of Service Classes")."""
    if pod.status.qosClass in QOS_CLASSES:  # it becomes part of a path
        return pod.status.qosClass
    containers = [*pod.spec.containers, *pod.spec.initContainers]
    resources = [c.resources for c in containers]
    if pod.spec.resources is not None:
        resources = [pod.spec.resources]
    if not any(_compute(r.requests) or _compute(r.limits) for r in resources):
        return "BestEffort"
    for resource in resources:
        limits = _compute(resource.limits)
        requests = {**limits, **_compute(resource.requests)}
        if set(limits) != {"cpu", "memory"} or requests != limits:
            return "Burstable"
    return "Guaranteed"


def _compute(quantities: Mapping[str, str]) -> dict[str, str]:
    return {
        name: quantity
        for name, quantity in quantities.items()
        if name in {"cpu", "memory"} and quantity not in {"", "0"}
    }


def as_dict(value: Any) -> dict[str, Any]:
    """Turn a typed part of an object into its JSON dict."""
    fields: dict[str, Any] = msgspec.to_builtins(value)
    return fields
