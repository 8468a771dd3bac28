"""Where a pod may run: affinity, taints and tolerations, spreading."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.core.node_affinity import NodeAffinity
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.kinds.model import ATOMIC, REQUIRED, Int32, Int64, Model, Time


class PodAffinityTerm(Model):
    """PodAffinityTerm."""

    topologyKey: Annotated[str, REQUIRED] = ""
    labelSelector: LabelSelector | None = None
    matchLabelKeys: Annotated[list[str], ATOMIC] = []
    mismatchLabelKeys: Annotated[list[str], ATOMIC] = []
    namespaceSelector: LabelSelector | None = None
    namespaces: Annotated[list[str], ATOMIC] = []


class WeightedPodAffinityTerm(Model):
    """WeightedPodAffinityTerm."""

    podAffinityTerm: Annotated[PodAffinityTerm, REQUIRED] = PodAffinityTerm()
    weight: Annotated[Int32, REQUIRED] = 0


class PodAffinity(Model):
    """PodAffinity."""

    preferredDuringSchedulingIgnoredDuringExecution: Annotated[
        list[WeightedPodAffinityTerm], ATOMIC
    ] = []
    requiredDuringSchedulingIgnoredDuringExecution: Annotated[list[PodAffinityTerm], ATOMIC] = []


class PodAntiAffinity(Model):
    """PodAntiAffinity."""

    preferredDuringSchedulingIgnoredDuringExecution: Annotated[
        list[WeightedPodAffinityTerm], ATOMIC
    ] = []
    requiredDuringSchedulingIgnoredDuringExecution: Annotated[list[PodAffinityTerm], ATOMIC] = []


class Affinity(Model):
    """Affinity."""

    nodeAffinity: NodeAffinity | None = None
    podAffinity: PodAffinity | None = None
    podAntiAffinity: PodAntiAffinity | None = None


class Taint(Model):
    """Taint."""

    effect: Annotated[str, REQUIRED] = ""
    key: Annotated[str, REQUIRED] = ""
    timeAdded: Time | None = None
    value: str = ""


class Toleration(Model):
    """Toleration."""

    effect: str = ""
    key: str = ""
    operator: str = ""
    tolerationSeconds: Int64 | None = None
    value: str = ""


class TopologySpreadConstraint(Model):
    """TopologySpreadConstraint."""

    maxSkew: Annotated[Int32, REQUIRED] = 0
    topologyKey: Annotated[str, REQUIRED] = ""
    whenUnsatisfiable: Annotated[str, REQUIRED] = ""
    labelSelector: LabelSelector | None = None
    matchLabelKeys: Annotated[list[str], ATOMIC] = []
    minDomains: Int32 | None = None
    nodeAffinityPolicy: str | None = None
    nodeTaintsPolicy: str | None = None
