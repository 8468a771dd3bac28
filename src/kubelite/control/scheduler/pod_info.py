"""What the scheduler needs to know of a pod, worked out once."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.scheduling import (
    PodAffinityTerm,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from kubelite.api.kinds.meta import LabelSelector, LabelSelectorRequirement
from kubelite.api.machinery.extended_resources import may_be_devices
from kubelite.api.machinery.node_matching import TermMatcher
from kubelite.api.machinery.pod_claims import claim_names
from kubelite.api.machinery.tolerations import Taint, Tolerations
from kubelite.control.ownership import controller_of
from kubelite.control.pods import pod_weight
from kubelite.control.scheduler.requests import pod_requests
from kubelite.control.selection import Matcher, matcher

TERM_COST_BYTES = 12  # what the offload counts for a term: about four microseconds
NO_TAINT: Taint = ("", "", "")
HostPort = tuple[str, str, int]  # address, protocol, port


class Term:
    """A pod affinity term; what it asks of labels is compiled when it is first asked."""

    __slots__ = (
        "_matches",
        "_namespace_matches",
        "_pod",
        "_term",
        "all_namespaces",
        "namespaces",
        "topology",
        "weight",
    )

    def __init__(self, pod: Pod, term: PodAffinityTerm, weight: int = 0) -> None:
        self.topology = term.topologyKey
        self.weight = weight
        self._pod, self._term = pod, term
        self._matches: Matcher | None = None
        self._namespace_matches: Matcher | None = None
        selector = term.namespaceSelector
        self.all_namespaces = selector is not None and selector == LabelSelector()
        own = not term.namespaces and selector is None
        self.namespaces = frozenset([pod.metadata.namespace] if own else term.namespaces)

    @property
    def selects_namespaces(self) -> bool:
        """Whether it speaks of namespaces by their labels."""
        return self._term.namespaceSelector is not None

    @property
    def weight_of_selectors(self) -> int:
        """How many requirements and values its selectors have, and one for itself."""
        selectors = (self._term.labelSelector, self._term.namespaceSelector)
        return 1 + sum(
            len(one.matchLabels) + sum(1 + len(each.values) for each in one.matchExpressions)
            for one in selectors
            if one is not None
        )

    def prepare(self) -> None:
        """Compile the selectors."""
        self.matches({})
        if self.selects_namespaces:
            self.namespace_matches({})

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether a pod's labels are meant."""
        if self._matches is None:
            self._matches = matcher(_with_label_keys(self._pod, self._term))
        return self._matches(labels)

    def namespace_matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether a namespace of these labels is meant."""
        if self._namespace_matches is None:
            self._namespace_matches = matcher(self._term.namespaceSelector)
        return self._namespace_matches(labels)


def _with_label_keys(pod: Pod, term: PodAffinityTerm) -> LabelSelector | None:
    """Add the requirements that matchLabelKeys and mismatchLabelKeys say of the pod's own labels."""
    selector = term.labelSelector
    if selector is None or not (term.matchLabelKeys or term.mismatchLabelKeys):
        return selector
    # The API merges the keys when a pod is created. Its labels may change later, and what was merged stands.
    merged = {requirement.key for requirement in selector.matchExpressions}
    extra = [
        LabelSelectorRequirement(key=key, operator=operator, values=[pod.metadata.labels[key]])
        for operator, keys in (("In", term.matchLabelKeys), ("NotIn", term.mismatchLabelKeys))
        for key in keys
        if key in pod.metadata.labels and key not in merged
    ]
    return msgspec.structs.replace(selector, matchExpressions=[*selector.matchExpressions, *extra])


class PodInfo:
    """A pod with all that filters and scores ask for; what only they ask for is worked out when they do."""

    __slots__ = (
        "_node_terms",
        "_signature",
        "_tolerations",
        "affinity",
        "anti_affinity",
        "claims",
        "constraints",
        "cpu_assumed",
        "device_classes",
        "device_resources",
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
        self.device_resources = tuple(
            name
            for name, wanted in self.requests.items()
            if "/" in name and wanted > 0 and may_be_devices(name)
        )
        self.device_classes: Mapping[str, str] = {}  # those that serve them, as last looked up
        assumed = pod_requests(pod, assume=True)
        self.cpu_assumed = assumed.get("cpu", 0)
        self.memory_assumed = assumed.get("memory", 0)
        self.ports = tuple(dict.fromkeys(_host_ports(pod)))
        self._tolerations: Tolerations | None = None
        self._node_terms: _NodeTerms | None = None
        self._signature: bytes | None = None
        owner = controller_of(pod.metadata)
        self.owner = owner.uid if owner else ""
        self.images = tuple(_full_name(container.image) for container in spec.containers)
        self.claims = tuple(dict.fromkeys(name for name, _ in claim_names(pod)))
        self.own_claims = frozenset(name for name, is_own in claim_names(pod) if is_own)
        self.constraints: Sequence[TopologySpreadConstraint] = spec.topologySpreadConstraints
        self.affinity: tuple[Term, ...] = ()
        self.anti_affinity: tuple[Term, ...] = ()
        self.preferred: tuple[Term, ...] = ()
        if spec.affinity is not None:
            self._read_affinity(pod)

    @property
    def cost_bytes(self) -> int:
        """What `prepare` costs, for the offload."""
        spec = self.pod.spec
        return pod_weight(spec) + TERM_COST_BYTES * (
            sum(one.weight_of_selectors for one in self.terms) + len(spec.topologySpreadConstraints)
        )

    def prepare(self) -> None:
        """Work out what the first decision about the pod would have to, which is long for a pod of many terms."""
        assert self._terms is not None
        self.tolerates(NO_TAINT)
        for term in self.terms:
            term.prepare()
        for one in self.constraints:
            matcher(one.labelSelector)
        assert self.signature is None or self.signature

    def tolerates(self, taint: Taint) -> bool:
        """Return whether any of the pod's tolerations covers the taint."""
        if self._tolerations is None:
            self._tolerations = Tolerations(self.pod.spec.tolerations)
        return self._tolerations.cover(taint)

    def selects_node(self, name: str, labels: Mapping[str, str]) -> bool:
        """Return whether the pod's node selector and required node affinity select a node."""
        pairs = self.pod.spec.nodeSelector
        if pairs and not pairs.items() <= labels.items():
            return False
        required = self._terms.required
        return required is None or any(one.matches(name, labels) for one in required)

    def node_preference(self, name: str, labels: Mapping[str, str]) -> int:
        """Return the weights of the preferred node affinity terms that hold for a node."""
        return sum(weight for weight, one in self._terms.preferred if one.matches(name, labels))

    @property
    def node_steps(self) -> int:
        """How many steps it takes to judge one node for this pod."""
        terms = self._terms
        about_nodes = len(terms.required or ()) + len(terms.preferred)
        return 2 + about_nodes + (len(self.requests) + len(self.ports) + len(self.images)) // 4

    @property
    def _terms(self) -> "_NodeTerms":
        if self._node_terms is None:
            self._node_terms = _NodeTerms(self.pod)
        return self._node_terms

    @property
    def has_affinity(self) -> bool:
        """Whether the pod has any term about other pods."""
        return bool(self.affinity or self.anti_affinity or self.preferred)

    @property
    def terms(self) -> tuple[Term, ...]:
        """All terms about other pods."""
        return (*self.affinity, *self.anti_affinity, *self.preferred)

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

    @property
    def signature(self) -> bytes | None:
        """What is equal for pods that every node treats alike, a digest; None if nodes do not judge the pod alone."""
        if self.has_affinity or self.constraints or self.claims or self.pod.spec.resourceClaims:
            return None
        if self.device_classes:
            return None
        if self._signature is None:
            self._signature = self._digest()
        return self._signature

    def _digest(self) -> bytes:
        spec = self.pod.spec
        node_affinity = spec.affinity.nodeAffinity if spec.affinity else None
        encoded = msgspec.msgpack.encode(
            (
                sorted(self.requests.items()),
                self.cpu_assumed,
                self.memory_assumed,
                self.ports,
                spec.nodeSelector,
                node_affinity,
                spec.tolerations,
                self.images,
                self.owner,
                self.priority,
                self.namespace,
                self.labels,
            )
        )
        return blake2b(encoded, digest_size=16).digest()


class _NodeTerms:
    """The node affinity of a pod, compiled."""

    __slots__ = ("preferred", "required")

    def __init__(self, pod: Pod) -> None:
        self.required: tuple[TermMatcher, ...] | None = None  # None: any node
        self.preferred: tuple[tuple[int, TermMatcher], ...] = ()
        affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
        if affinity is None:
            return
        required = affinity.requiredDuringSchedulingIgnoredDuringExecution
        if required is not None:
            self.required = tuple(TermMatcher(one) for one in required.nodeSelectorTerms)
        preferred = affinity.preferredDuringSchedulingIgnoredDuringExecution
        self.preferred = tuple((one.weight, TermMatcher(one.preference)) for one in preferred)


def _full_name(image: str) -> str:
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


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
