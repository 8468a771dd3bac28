"""Which pods count for a metric, and what pods request."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, to_builtins

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.pod_amounts import POD_LEVEL, pod_amounts
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.times import parse_time
from kubelite.control.autoscaling.usage import PodMetric, Uncountable
from kubelite.control.pods import condition, is_ready

CPU = "cpu"


class Readiness(Struct, frozen=True):
    """How long the use of a pod that has just started is not believed."""

    # A container may burn CPU while it starts, so CPU of a pod counts only after it was ready for a whole window.
    cpu_initialization: timedelta = timedelta(minutes=5)
    # A pod that turned unready this soon after its start has never been ready.
    initial_delay: timedelta = timedelta(seconds=30)


class PodGroups(Struct, frozen=True):
    """Pods by how they count for a metric: the number of ready ones, and the names of the others."""

    ready: int
    unready: frozenset[str]  # pending, or their use is not believed yet
    missing: frozenset[str]  # without a metric
    ignored: frozenset[str]  # being deleted, or failed


def grouped(
    pods: Iterable[Pod],
    metrics: Mapping[str, PodMetric],
    resource: str,
    readiness: Readiness,
    now: datetime,
) -> PodGroups:
    """Group pods; `resource` is "" for a metric that is not of a resource."""
    ready = 0
    unready: set[str] = set()
    missing: set[str] = set()
    ignored: set[str] = set()
    for pod in pods:
        name = pod.metadata.name
        if pod.metadata.deletionTimestamp is not None or pod.status.phase == "Failed":
            ignored.add(name)
        elif pod.status.phase == "Pending":
            unready.add(name)
        elif name not in metrics:
            missing.add(name)
        elif resource == CPU and _is_starting(pod, metrics[name], readiness, now):
            unready.add(name)
        else:
            ready += 1
    return PodGroups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_starting(pod: Pod, metric: PodMetric, readiness: Readiness, now: datetime) -> bool:
    """Return whether the CPU of a pod is not believed, since it was hardly ready yet or never."""
    found = condition(pod, "Ready")
    if found is None or not pod.status.startTime:
        return True
    started = parse_time(pod.status.startTime)
    is_unready = found.status == "False"
    changed = parse_time(found.lastTransitionTime) if found.lastTransitionTime else None
    if started + readiness.cpu_initialization > now:
        if changed is None or metric.timestamp is None:
            return is_unready
        return is_unready or metric.timestamp < changed + metric.window
    return is_unready and (changed is None or started + readiness.initial_delay > changed)


def ready_count(pods: Sequence[Pod]) -> int:
    """Return how many pods run and are ready; raises Uncountable if there is no pod."""
    require_pods(pods)
    return sum(pod.status.phase == "Running" and is_ready(pod) for pod in pods)


def require_pods(pods: Sequence[Pod]) -> None:
    """Raise Uncountable if there is no pod."""
    if not pods:
        raise Uncountable("no pods returned by selector while calculating replica count")


def requests_of(pods: Iterable[Pod], container: str, resource: str) -> dict[str, int]:
    """Return what each pod requests of a resource, in thousandths, by name; `container` limits it to that container.

    Requests of the pod itself take precedence over the sum of its containers. Raises Uncountable if one is missing.
    """
    return {pod.metadata.name: _request(pod, container, resource) for pod in pods}


def _request(pod: Pod, container: str, resource: str) -> int:
    if not container and _has_pod_level_requests(pod):
        amount = pod_amounts(to_builtins(pod.spec), "requests", overhead=True).get(resource)
        if amount is None:
            raise Uncountable(
                f"missing pod-level request for {resource} in Pod {pod.metadata.name}"
            )
        return amount.milli_value()
    return _request_of_containers(pod, container, resource)


def _has_pod_level_requests(pod: Pod) -> bool:
    resources = pod.spec.resources
    requests = resources.requests if resources is not None else {}
    return any(name in POD_LEVEL or name.startswith("hugepages-") for name in requests)


def _request_of_containers(pod: Pod, container: str, resource: str) -> int:
    sidecars = (one for one in pod.spec.initContainers if one.restartPolicy == "Always")
    total = 0
    for one in (*pod.spec.containers, *sidecars):
        if container not in ("", one.name):
            continue
        text = one.resources.requests.get(resource)
        if text is None:
            raise Uncountable(
                f"missing request for {resource} in container {one.name} of Pod {pod.metadata.name}"
            )
        total += parse_quantity(text).milli_value()
        if container:
            return total
    if container:
        raise Uncountable(f"container {container} not found in Pod {pod.metadata.name}")
    return total
