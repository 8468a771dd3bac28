"""Horizontal pod autoscalers, version 2."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    Quantity,
    Time,
    list_map,
    merge_by,
)


class MetricTarget(Model):
    """MetricTarget."""

    type: Annotated[str, REQUIRED] = ""
    averageUtilization: Int32 | None = None
    averageValue: Quantity | None = None
    value: Quantity | None = None


class ContainerResourceMetricSource(Model):
    """ContainerResourceMetricSource."""

    container: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class MetricValueStatus(Model):
    """MetricValueStatus."""

    averageUtilization: Int32 | None = None
    averageValue: Quantity | None = None
    value: Quantity | None = None


class ContainerResourceMetricStatus(Model):
    """ContainerResourceMetricStatus."""

    container: Annotated[str, REQUIRED] = ""
    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    name: Annotated[str, REQUIRED] = ""


class CrossVersionObjectReference(Model):
    """CrossVersionObjectReference."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiVersion: str = ""


class MetricIdentifier(Model):
    """MetricIdentifier."""

    name: Annotated[str, REQUIRED] = ""
    selector: LabelSelector | None = None


class ExternalMetricSource(Model):
    """ExternalMetricSource."""

    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class ExternalMetricStatus(Model):
    """ExternalMetricStatus."""

    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()


class HPAScalingPolicy(Model):
    """HPAScalingPolicy."""

    periodSeconds: Annotated[Int32, REQUIRED] = 0
    type: Annotated[str, REQUIRED] = ""
    value: Annotated[Int32, REQUIRED] = 0


class HPAScalingRules(Model):
    """HPAScalingRules."""

    policies: Annotated[list[HPAScalingPolicy], ATOMIC] = []
    selectPolicy: str | None = None
    stabilizationWindowSeconds: Int32 | None = None
    tolerance: Quantity | None = None


class HorizontalPodAutoscalerBehavior(Model):
    """HorizontalPodAutoscalerBehavior."""

    scaleDown: HPAScalingRules | None = None
    scaleUp: HPAScalingRules | None = None


class ObjectMetricSource(Model):
    """ObjectMetricSource."""

    describedObject: Annotated[CrossVersionObjectReference, REQUIRED] = (
        CrossVersionObjectReference()
    )
    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class PodsMetricSource(Model):
    """PodsMetricSource."""

    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class ResourceMetricSource(Model):
    """ResourceMetricSource."""

    name: Annotated[str, REQUIRED] = ""
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class MetricSpec(Model):
    """MetricSpec."""

    type: Annotated[str, REQUIRED] = ""
    containerResource: ContainerResourceMetricSource | None = None
    external: ExternalMetricSource | None = None
    object: ObjectMetricSource | None = None
    pods: PodsMetricSource | None = None
    resource: ResourceMetricSource | None = None


class HorizontalPodAutoscalerSpec(Model):
    """HorizontalPodAutoscalerSpec."""

    maxReplicas: Annotated[Int32, REQUIRED] = 0
    scaleTargetRef: Annotated[CrossVersionObjectReference, REQUIRED] = CrossVersionObjectReference()
    behavior: HorizontalPodAutoscalerBehavior | None = None
    metrics: Annotated[list[MetricSpec], ATOMIC] = []
    minReplicas: Int32 | None = None


class HorizontalPodAutoscalerCondition(Model):
    """HorizontalPodAutoscalerCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class ObjectMetricStatus(Model):
    """ObjectMetricStatus."""

    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    describedObject: Annotated[CrossVersionObjectReference, REQUIRED] = (
        CrossVersionObjectReference()
    )
    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()


class PodsMetricStatus(Model):
    """PodsMetricStatus."""

    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()


class ResourceMetricStatus(Model):
    """ResourceMetricStatus."""

    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    name: Annotated[str, REQUIRED] = ""


class MetricStatus(Model):
    """MetricStatus."""

    type: Annotated[str, REQUIRED] = ""
    containerResource: ContainerResourceMetricStatus | None = None
    external: ExternalMetricStatus | None = None
    object: ObjectMetricStatus | None = None
    pods: PodsMetricStatus | None = None
    resource: ResourceMetricStatus | None = None


class HorizontalPodAutoscalerStatus(Model):
    """HorizontalPodAutoscalerStatus."""

    desiredReplicas: Annotated[Int32, REQUIRED] = 0
    conditions: Annotated[
        list[HorizontalPodAutoscalerCondition], list_map("type"), merge_by("type")
    ] = []
    currentMetrics: Annotated[list[MetricStatus], ATOMIC, ALWAYS] = []
    currentReplicas: Int32 = 0
    lastScaleTime: Time | None = None
    observedGeneration: Int64 | None = None


class HorizontalPodAutoscaler(Kind):
    """HorizontalPodAutoscaler."""

    gvk: ClassVar = GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscaler")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[HorizontalPodAutoscalerSpec, REQUIRED] = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()


class HorizontalPodAutoscalerList(Kind):
    """HorizontalPodAutoscalerList."""

    gvk: ClassVar = GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscalerList")

    items: Annotated[list[HorizontalPodAutoscaler], REQUIRED] = []
    metadata: ListMeta = ListMeta()
