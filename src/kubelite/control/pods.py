"""Predicates and orders of pods that controllers share: ready, available, terminal, the order of deletion."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from kubelite.api.kinds.core.pods import Pod, PodCondition, PodSpec, PodTemplateSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.numbers import integer
from kubelite.api.machinery.times import parse_time
from kubelite.control import conditions
from kubelite.control.ownership import controller_reference

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
PHASE_WORTH = {"Pending": 0, "Unknown": 1, "Running": 2}
ITEM_COST_BYTES = 8  # cost of an item of a list in a pod, for the offload
POD_COST_BYTES = 40  # cost of a pod in a plan, for the offload: about ten microseconds
TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


def condition(pod: Pod, condition_type: str) -> PodCondition | None:
    """Return the pod's condition of a type, or None."""
    return conditions.find(pod.status.conditions, condition_type)


def containers_and_ports(pods: Iterable[Pod], enough: int) -> int:
    """Return how many containers and container ports the pods have; counting stops at `enough`."""
    total = 0
    for pod in pods:
        for container in (*pod.spec.containers, *pod.spec.initContainers):
            total += 1 + len(container.ports)
        if total > enough:
            break
    return total


def pod_weight(spec: PodSpec) -> int:
    """Return the cost of making or comparing a pod of this spec, for the offload: the items of its lists count."""
    affinity = spec.affinity
    lists: list[Sequence[Any]] = [spec.tolerations, spec.volumes, spec.topologySpreadConstraints]
    if affinity is not None and affinity.nodeAffinity is not None:
        near = affinity.nodeAffinity
        required = near.requiredDuringSchedulingIgnoredDuringExecution
        lists.append(near.preferredDuringSchedulingIgnoredDuringExecution)
        terms = required.nodeSelectorTerms if required else []
        lists.append(terms)
        lists += (one.matchExpressions for one in terms)
    for container in (*spec.containers, *spec.initContainers):
        lists += (container.ports, container.env, container.volumeMounts)
    return ITEM_COST_BYTES * (len(lists) + sum(map(len, lists)))


def is_ready(pod: Pod) -> bool:
    """Return whether the pod's Ready condition is true."""
    return conditions.is_true(pod.status.conditions, "Ready")


def is_terminal(pod: Pod) -> bool:
    """Return whether the pod is Succeeded or Failed."""
    return pod.status.phase in TERMINAL_PHASES


def is_active(pod: Pod) -> bool:
    """Return whether the pod counts as a replica: neither terminal nor being deleted."""
    return pod.metadata.deletionTimestamp is None and not is_terminal(pod)


def is_being_deleted(pod: Pod) -> bool:
    """Return whether the pod is being deleted; its containers may have ended already."""
    return pod.metadata.deletionTimestamp is not None


def is_terminating(pod: Pod) -> bool:
    """Return whether the pod is being deleted and has containers that run."""
    return pod.metadata.deletionTimestamp is not None and not is_terminal(pod)


def seconds_until_available(pod: Pod, min_ready_seconds: int, now: datetime) -> float | None:
    """Return the seconds until a ready pod is available; 0 if it is, None if it is not ready."""
    found = condition(pod, "Ready")
    if found is None or found.status != "True":
        return None
    if min_ready_seconds == 0:
        return 0.0
    if not found.lastTransitionTime:
        return float(min_ready_seconds)
    ready_seconds = (now - parse_time(found.lastTransitionTime)).total_seconds()
    return max(0.0, min_ready_seconds - ready_seconds)


def is_available(pod: Pod, min_ready_seconds: int, now: datetime) -> bool:
    """Return whether the pod has been ready for at least `min_ready_seconds`."""
    return seconds_until_available(pod, min_ready_seconds, now) == 0


def least_missed_first(pods: Sequence[Pod], related: Iterable[Pod], now: datetime) -> list[Pod]:
    """Order pods as Kubernetes deletes them when there are too many.

    Unbound first, then pending, not ready, low pod-deletion-cost, many `related` pods on the same node, ready for a
    short time, often restarted, young. `related` are the pods of all sets of the same owner. Times are compared by
    their order of magnitude, so that the choice is not always the newest.
    """
    crowd = Counter(pod.spec.nodeName for pod in related if pod.spec.nodeName and is_active(pod))

    def worth(pod: Pod) -> tuple[Any, ...]:
        ready = condition(pod, "Ready")
        is_ready_now = ready is not None and ready.status == "True"
        restarts = max((status.restartCount for status in pod.status.containerStatuses), default=0)
        return (
            bool(pod.spec.nodeName),
            PHASE_WORTH.get(pod.status.phase, 0),
            is_ready_now,
            _deletion_cost(pod),
            -crowd[pod.spec.nodeName],
            _magnitude(ready.lastTransitionTime, now) if ready is not None and is_ready_now else 0,
            -restarts,
            _magnitude(pod.metadata.creationTimestamp, now),
            pod.metadata.uid,
        )

    return sorted(pods, key=worth)


def _deletion_cost(pod: Pod) -> int:
    return integer(pod.metadata.annotations.get(DELETION_COST, "0"), bits=32) or 0


def _magnitude(since: str, now: datetime) -> int:
    """Return the binary logarithm of an age in seconds; 0 if there is none."""
    if not since:
        return 0
    return int(max(0.0, (now - parse_time(since)).total_seconds())).bit_length()


def pod_from_template(template: PodTemplateSpec, owner: Any, *, name: str = "") -> Pod:
    """Return an owner's pod from a template; without `name` the API generates one from the owner's."""
    meta = template.metadata
    return Pod(
        metadata=ObjectMeta(
            name=name,
            generateName="" if name else f"{owner.metadata.name}-",
            namespace=owner.metadata.namespace,
            labels=meta.labels,
            annotations=meta.annotations,
            finalizers=meta.finalizers,
            ownerReferences=[controller_reference(owner)],
        ),
        spec=template.spec,
    )
