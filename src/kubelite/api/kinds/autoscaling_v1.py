"""Horizontal pod autoscalers, version 1, and Scale."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import REQUIRED, GroupVersionKind, Int32, Int64, Kind, Model, Time


class CrossVersionObjectReference(Model):
    """An object by kind and name, whatever version it is read in."""

    map_type: ClassVar = "atomic"

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiVersion: str = ""


class HorizontalPodAutoscalerSpec(Model):
    """What is wanted of a horizontal pod autoscaler."""

    maxReplicas: Annotated[Int32, REQUIRED] = 0
    scaleTargetRef: Annotated[CrossVersionObjectReference, REQUIRED] = CrossVersionObjectReference()
    minReplicas: Int32 | None = None
    targetCPUUtilizationPercentage: Int32 | None = None


class HorizontalPodAutoscalerStatus(Model):
    """What was last observed of a horizontal pod autoscaler."""

    currentReplicas: Annotated[Int32, REQUIRED] = 0
    desiredReplicas: Annotated[Int32, REQUIRED] = 0
    currentCPUUtilizationPercentage: Int32 | None = None
    lastScaleTime: Time | None = None
    observedGeneration: Int64 | None = None


class HorizontalPodAutoscaler(Kind):
    """Changes the number of a workload's pods by what it measures on them."""

    gvk: ClassVar = GroupVersionKind("autoscaling", "v1", "HorizontalPodAutoscaler")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[HorizontalPodAutoscalerSpec, REQUIRED] = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()


class HorizontalPodAutoscalerList(Kind):
    """A list of horizontal pod autoscalers."""

    gvk: ClassVar = GroupVersionKind("autoscaling", "v1", "HorizontalPodAutoscalerList")

    items: Annotated[list[HorizontalPodAutoscaler], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ScaleSpec(Model):
    """What is wanted of a scale."""

    replicas: Int32 = 0


class ScaleStatus(Model):
    """What was last observed of a scale."""

    replicas: Annotated[Int32, REQUIRED] = 0
    selector: str = ""


class Scale(Kind):
    """The number of replicas of a workload, wanted and present."""

    gvk: ClassVar = GroupVersionKind("autoscaling", "v1", "Scale")

    metadata: ObjectMeta = ObjectMeta()
    spec: ScaleSpec = ScaleSpec()
    status: ScaleStatus = ScaleStatus()
