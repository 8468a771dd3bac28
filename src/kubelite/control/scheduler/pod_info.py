"""What the scheduler needs to know of a pod, worked out once."""

from collections.abc import Sequence

import msgspec

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.scheduling import (
    PodAffinityTerm,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from kubelite.api.kinds.meta import LabelSelector, LabelSelectorRequirement
from kubelite.api.machinery.pod_claims import claim_names
from kubelite.control.ownership import controller_of
from kubelite.control.scheduler.requests import pod_requests
from kubelite.control.selection import matcher

HostPort = tuple[str, str, int]  # address, protocol, port


class Term:
    """A pod affinity term, ready to match."""

    __slots__ = (
        "all_namespaces",
        "matches",
        "namespace_matches",
        "namespaces",
        "topology",
        "weight",
    )

    def __init__(self, pod: Pod, term: PodAffinityTerm, weight: int = 0) -> None:
        self.topology = term.topologyKey
        self.weight = weight
        self.matches = matcher(_with_label_keys(pod, term))
        selector = term.namespaceSelector
        self.all_namespaces = selector is not None and selector == LabelSelector()
        self.namespace_matches = None if selector is None else matcher(selector)
        own = not term.namespaces and selector is None
        self.namespaces = frozenset([pod.metadata.namespace] if own else term.namespaces)


def _with_label_keys(pod: Pod, term: PodAffinityTerm) -> LabelSelector | None:
    """Add the requirements that matchLabelKeys and mismatchLabelKeys say of the pod's own labels."""
    selector = term.labelSelector
    if selector is None or not (term.matchLabelKeys or term.mismatchLabelKeys):
        return selector
    extra = [
        LabelSelectorRequirement(key=key, operator=operator, values=[pod.metadata.labels[key]])
        for operator, keys in (("In", term.matchLabelKeys), ("NotIn", term.mismatchLabelKeys))
        for key in keys
        if key in pod.metadata.labels
    ]
    return msgspec.structs.replace(selector, matchExpressions=[*selector.matchExpressions, *extra])


class PodInfo:
    """A pod with all that filters and scores ask for."""

    __slots__ = (
        "affinity",
        "anti_affinity",
        "claims",
        "constraints",
        "cpu_assumed",
        "images",
        "key",
        "labels",
        "memory_assumed",
        "namespace",
        "own_claims",
        "owner",
        "pod",
        "ports",
        "preferred",
        "priority",
        "requests",
        "signature",
        "tolerations",
        "uid",
    )

    def __init__(self, pod: Pod) -> None:
        spec = pod.spec
        self.pod = pod
        self.uid = pod.metadata.uid
        self.key = (pod.metadata.namespace, pod.metadata.name)
        self.namespace = pod.metadata.namespace
        self.labels = pod.metadata.labels
        self.priority = spec.priority or 0
        self.requests = pod_requests(pod)
        assumed = pod_requests(pod, assume=True)
        self.cpu_assumed = assumed.get("cpu", 0)
        self.memory_assumed = assumed.get("memory", 0)
        self.ports = tuple(_host_ports(pod))
        self.tolerations: Sequence[Toleration] = spec.tolerations
        owner = controller_of(pod.metadata)
        self.owner = owner.uid if owner else ""
        self.images = tuple(container.image for container in spec.containers)
        self.claims = tuple(name for name, _ in claim_names(pod))
        self.own_claims = frozenset(name for name, is_own in claim_names(pod) if is_own)
        self.constraints: Sequence[TopologySpreadConstraint] = spec.topologySpreadConstraints
        self.affinity: tuple[Term, ...] = ()
        self.anti_affinity: tuple[Term, ...] = ()
        self.preferred: tuple[Term, ...] = ()
        if spec.affinity is not None:
            self._read_affinity(pod)
        self.signature = self._signature()

    @property
    def has_affinity(self) -> bool:
        """Whether the pod has any term about other pods."""
        return bool(self.affinity or self.anti_affinity or self.preferred)

    def _read_affinity(self, pod: Pod) -> None:
        affinity = pod.spec.affinity
        assert affinity is not None
        preferred: list[Term] = []
        if affinity.podAffinity is not None:
            near = affinity.podAffinity
            self.affinity = tuple(
                Term(pod, one) for one in near.requiredDuringSchedulingIgnoredDuringExecution
            )
            preferred += _weighted(pod, near.preferredDuringSchedulingIgnoredDuringExecution, 1)
        if affinity.podAntiAffinity is not None:
            far = affinity.podAntiAffinity
            self.anti_affinity = tuple(
                Term(pod, one) for one in far.requiredDuringSchedulingIgnoredDuringExecution
            )
            preferred += _weighted(pod, far.preferredDuringSchedulingIgnoredDuringExecution, -1)
        self.preferred = tuple(preferred)

    def _signature(self) -> bytes | None:
        """Return what is equal for pods that every node treats alike; None if nodes do not judge the pod alone."""
        if self.has_affinity or self.constraints or self.claims:
            return None
        spec = self.pod.spec
        node_affinity = spec.affinity.nodeAffinity if spec.affinity else None
        return msgspec.msgpack.encode(
            (
                sorted(self.requests.items()),
                self.cpu_assumed,
                self.memory_assumed,
                self.ports,
                spec.nodeSelector,
                node_affinity,
                self.tolerations,
                self.images,
                self.owner,
                self.priority,
                self.namespace,
                self.labels,
            )
        )


def _weighted(pod: Pod, terms: Sequence[WeightedPodAffinityTerm], sign: int) -> list[Term]:
    return [Term(pod, one.podAffinityTerm, sign * one.weight) for one in terms]


def _host_ports(pod: Pod) -> list[HostPort]:
    sidecars = [one for one in pod.spec.initContainers if one.restartPolicy == "Always"]
    return [
        (port.hostIP or "0.0.0.0", port.protocol or "TCP", port.hostPort)  # noqa: S104 - the wildcard a pod asks for
        for container in (*pod.spec.containers, *sidecars)
        for port in container.ports
        if port.hostPort
    ]
