"""Converts requests and limits to the kernel's units, and adds up the requests of pods. Pure."""

from collections.abc import Callable, Iterable, Mapping

from kubelite.api.kinds.core.containers import ResourceRequirements
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.pod_amounts import POD_LEVEL
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.node.pods import AnyContainer, is_critical, is_sidecar, qos_class
from kubelite.node.runtime import ContainerLimits

SHARES_PER_CPU = 1024
SHARES_MIN = 2
SHARES_MAX = 262_144
QUOTA_MIN_US = 1000
PERIOD_US = 100_000
OOM_SCORE_GUARANTEED = -997
OOM_SCORE_BEST_EFFORT = 1000
NODE_CRITICAL = "system-node-critical"
EPHEMERAL_STORAGE = "ephemeral-storage"


def milli_cpu(quantities: Mapping[str, str]) -> int:
    """Return the cpu entry in thousandths of a core, 0 when absent."""
    return parse_quantity(quantities["cpu"]).milli_value() if "cpu" in quantities else 0


def memory_bytes(quantities: Mapping[str, str]) -> int:
    """Return the memory entry in bytes, 0 when absent."""
    return parse_quantity(quantities["memory"]).value() if "memory" in quantities else 0


def limits_of(pod: Pod, container: AnyContainer, machine_memory_bytes: int) -> ContainerLimits:
    """Compute a container's kernel settings as the Kubernetes concept "Resource Management" has them."""
    whole = pod.spec.resources.limits if pod.spec.resources is not None else {}
    limits = {**whole, **container.resources.limits}
    requests = container.resources.requests
    asked = milli_cpu(requests)
    if "cpu" not in requests:
        asked = milli_cpu(container.resources.limits)
    return ContainerLimits(
        cpu_shares=shares_of(asked),
        cpu_quota_us=_quota(milli_cpu(limits)),
        cpu_period_us=PERIOD_US,
        memory_bytes=memory_bytes(limits),
        oom_score_adj=oom_score_adj(pod, container, machine_memory_bytes),
    )


def group_limits(pod: Pod) -> ContainerLimits:
    """Compute the settings of the control group that holds all containers of a pod.

    Its weight is that of the summed requests: weights of containers count within the pod only. Limits are the pod's
    own; those of containers are enforced by container, where the engine can tell which of them exceeded it.
    """
    limits = _with_overhead(pod) if pod.spec.resources is not None else {}
    return ContainerLimits(
        cpu_shares=shares_of(pod_requests(pod).get("cpu", 0)),
        cpu_quota_us=_quota(limits.get("cpu", 0)),
        cpu_period_us=PERIOD_US,
        memory_bytes=limits.get("memory", 0),
    )


def _with_overhead(pod: Pod) -> dict[str, int]:
    """Return a pod's own limits, in the units of `pod_requests`; what its runtime needs beside it is not counted in."""
    assert pod.spec.resources is not None, "the pod has limits of its own"
    total: dict[str, int] = {}
    _add(total, pod.spec.resources.limits)
    for name, text in pod.spec.overhead.items():
        if name in total:
            total[name] += amount_of(name, text)
    return total


def class_shares(pod: Pod, pods: Iterable[Pod]) -> int:
    """Return the weight of the group of a pod's QoS class, given all pods of the node; 0 if it has none.

    Guaranteed pods stand beside the groups of the other two classes, so those need the weight of all their pods.
    """
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return 0
    if quality == "BestEffort":
        return SHARES_MIN
    burstable = [one for one in pods if qos_class(one) == quality]
    return shares_of(used_by(burstable).get("cpu", 0))


def shares_of(asked_milli: int) -> int:
    """Return the kernel's CPU weight for a request in thousandths of a core."""
    return min(max(asked_milli * SHARES_PER_CPU // 1000, SHARES_MIN), SHARES_MAX)


def _quota(allowed_milli: int) -> int:
    """Return the microseconds of a period for a limit in thousandths of a core; 0: no limit."""
    return max(allowed_milli * PERIOD_US // 1000, QUOTA_MIN_US) if allowed_milli else 0


def oom_score_adj(pod: Pod, container: AnyContainer, machine_memory_bytes: int) -> int:
    """Return the oom_score_adj of a container: the lower, the more of the node's memory it requests.

    App containers depend on a sidecar, so it counts as requesting no less than the least of them.
    """
    if pod.spec.priorityClassName == NODE_CRITICAL and is_critical(pod):
        return OOM_SCORE_GUARANTEED
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return OOM_SCORE_GUARANTEED
    if quality == "BestEffort" or machine_memory_bytes <= 0:
        return OOM_SCORE_BEST_EFFORT
    asked = memory_bytes(container.resources.requests)
    if container in pod.spec.initContainers and is_sidecar(container):
        least = min(
            (memory_bytes(one.resources.requests) for one in pod.spec.containers), default=0
        )
        asked = max(asked, least)
    score = 1000 - 1000 * (asked + _unassigned_memory(pod)) // machine_memory_bytes
    return min(max(score, 1000 + OOM_SCORE_GUARANTEED), OOM_SCORE_BEST_EFFORT - 1)


def _unassigned_memory(pod: Pod) -> int:
    """Return a container's share of the bytes that the pod requests beyond the sum of its containers."""
    if pod.spec.resources is None:
        return 0
    containers = [*pod.spec.containers, *filter(is_sidecar, pod.spec.initContainers)]
    assigned = sum(memory_bytes(one.resources.requests) for one in containers)
    left = memory_bytes(pod.spec.resources.requests) - assigned
    return max(left, 0) // max(len(containers), 1)


def pod_requests(pod: Pod) -> dict[str, int]:
    """Return the effective requests of a pod: cpu in millicores, everything else in whole units."""
    total = _of_containers(pod, lambda resources: resources.requests)
    if pod.spec.resources is not None:
        # Of other resources, such as devices and ephemeral storage, a pod has none of its own.
        whole = {
            name: amount_of(name, text)
            for name, text in pod.spec.resources.requests.items()
            if name in POD_LEVEL or name.startswith("hugepages-")
        }
        total.update(whole)
    _add(total, pod.spec.overhead)
    return total


def storage_limit(pod: Pod) -> int | None:
    """Return the bytes of ephemeral storage that the containers of a pod may have together; None: no limit."""
    total = _of_containers(pod, lambda resources: resources.limits)
    return total.get(EPHEMERAL_STORAGE)


def memory_limit(pod: Pod) -> int:
    """Return the bytes that all containers of a pod may have together; 0 if one of them, and the pod, has no limit."""
    if pod.spec.resources is not None and "memory" in pod.spec.resources.limits:
        return memory_bytes(pod.spec.resources.limits)
    containers = [*pod.spec.containers, *pod.spec.initContainers]
    if not all("memory" in container.resources.limits for container in containers):
        return 0
    return _of_containers(pod, lambda resources: resources.limits).get("memory", 0)


def _of_containers(
    pod: Pod, quantities: Callable[[ResourceRequirements], Mapping[str, str]]
) -> dict[str, int]:
    """Add up what runs at once: app containers and sidecars, or an init container with the sidecars before it."""
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in pod.spec.initContainers:
        step = dict(sidecars)
        _add(step, quantities(container.resources))
        if is_sidecar(container):
            sidecars = step
        for name, amount in step.items():
            peak[name] = max(peak.get(name, 0), amount)
    total = dict(sidecars)
    for container in pod.spec.containers:
        _add(total, quantities(container.resources))
    for name, amount in peak.items():
        total[name] = max(total.get(name, 0), amount)
    return total


def _add(total: dict[str, int], quantities: Mapping[str, str]) -> None:
    for name, written in quantities.items():
        total[name] = total.get(name, 0) + amount_of(name, written)


def amount_of(name: str, written: str) -> int:
    """Return a quantity of a resource: cpu in thousandths, everything else in whole units."""
    quantity = parse_quantity(written)
    return quantity.milli_value() if name == "cpu" else quantity.value()


def used_by(pods: Iterable[Pod]) -> dict[str, int]:
    """Return the summed requests of pods, in the units of `pod_requests`."""
    total: dict[str, int] = {}
    for pod in pods:
        for name, amount in pod_requests(pod).items():
            total[name] = total.get(name, 0) + amount
    return total


def cgroup_parent(pod: Pod, root: str = "/kubelite") -> str:
    """Return the control group of a pod's containers; all of kubelite's live under its own root."""
    quality = qos_class(pod)
    middle = "" if quality == "Guaranteed" else f"/{quality.lower()}"
    return f"{root}{middle}/pod{pod.metadata.uid}"
