"""Where a pod may run: affinity, taints and tolerations, spreading."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.core.node_affinity import NodeAffinity
from kubelite.api.kinds.enums import (
    NODE_INCLUSION_POLICIES,
    TAINT_EFFECTS,
    TOLERATION_OPERATORS,
    UNSATISFIABLE_ACTIONS,
)
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.kinds.model import ATOMIC, REQUIRED, Int32, Int64, Model, Time


class PodAffinityTerm(Model):
    """Pods to be near to or far from, and what near means."""

    topologyKey: Annotated[str, REQUIRED] = ""
    labelSelector: LabelSelector | None = None
    matchLabelKeys: Annotated[list[str], ATOMIC] = []
    mismatchLabelKeys: Annotated[list[str], ATOMIC] = []
    namespaceSelector: LabelSelector | None = None
    namespaces: Annotated[list[str], ATOMIC] = []


class WeightedPodAffinityTerm(Model):
    """A term that is only preferred, and by how much."""

    podAffinityTerm: Annotated[PodAffinityTerm, REQUIRED] = PodAffinityTerm()
    weight: Annotated[Int32, REQUIRED] = 0


class PodAffinity(Model):
    """Pods to be near to."""

    preferredDuringSchedulingIgnoredDuringExecution: Annotated[
        list[WeightedPodAffinityTerm], ATOMIC
    ] = []
    requiredDuringSchedulingIgnoredDuringExecution: Annotated[list[PodAffinityTerm], ATOMIC] = []


class PodAntiAffinity(Model):
    """Pods to be far from."""

    preferredDuringSchedulingIgnoredDuringExecution: Annotated[
        list[WeightedPodAffinityTerm], ATOMIC
    ] = []
    requiredDuringSchedulingIgnoredDuringExecution: Annotated[list[PodAffinityTerm], ATOMIC] = []


class Affinity(Model):
    """Nodes and pods to be near to or far from."""

    nodeAffinity: NodeAffinity | None = None
    podAffinity: PodAffinity | None = None
    podAntiAffinity: PodAntiAffinity | None = None


class Taint(Model):
    """Keeps pods away from a node unless they tolerate it."""

    effect: Annotated[str, REQUIRED, TAINT_EFFECTS] = ""
    key: Annotated[str, REQUIRED] = ""
    timeAdded: Time | None = None
    value: str = ""


class Toleration(Model):
    """Lets a pod onto, or stay on, a node in spite of a taint."""

    effect: Annotated[str, TAINT_EFFECTS] = ""
    key: str = ""
    operator: Annotated[str, TOLERATION_OPERATORS] = ""
    tolerationSeconds: Int64 | None = None
    value: str = ""


class TopologySpreadConstraint(Model):
    """How evenly pods are to be spread over zones, nodes or other domains."""

    maxSkew: Annotated[Int32, REQUIRED] = 0
    topologyKey: Annotated[str, REQUIRED] = ""
    whenUnsatisfiable: Annotated[str, REQUIRED, UNSATISFIABLE_ACTIONS] = ""
    labelSelector: LabelSelector | None = None
    matchLabelKeys: Annotated[list[str], ATOMIC] = []
    minDomains: Int32 | None = None
    nodeAffinityPolicy: Annotated[str | None, NODE_INCLUSION_POLICIES] = None
    nodeTaintsPolicy: Annotated[str | None, NODE_INCLUSION_POLICIES] = None
