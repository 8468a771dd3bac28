"""Horizontal pod autoscalers, version 2."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    NilList,
    Quantity,
    Time,
    list_map,
    merge_by,
)


class MetricTarget(Model):
    """The value a metric is steered to: a total, an average, or a share of what is requested."""

    type: Annotated[str, REQUIRED] = ""
    averageUtilization: Int32 | None = None
    averageValue: Quantity | None = None
    value: Quantity | None = None


class ContainerResourceMetricSource(Model):
    """Scale on one container's use of a resource."""

    container: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class MetricValueStatus(Model):
    """What a metric was last measured at."""

    averageUtilization: Int32 | None = None
    averageValue: Quantity | None = None
    value: Quantity | None = None


class ContainerResourceMetricStatus(Model):
    """What one container's use of a resource was last measured at."""

    container: Annotated[str, REQUIRED] = ""
    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    name: Annotated[str, REQUIRED] = ""


class CrossVersionObjectReference(Model):
    """An object by kind and name, whatever version it is read in."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiVersion: str = ""


class MetricIdentifier(Model):
    """A metric by name, perhaps narrowed by labels."""

    name: Annotated[str, REQUIRED] = ""
    selector: LabelSelector | None = None


class ExternalMetricSource(Model):
    """Scale on a metric from outside the cluster."""

    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class ExternalMetricStatus(Model):
    """What a metric from outside was last measured at."""

    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()


class HPAScalingPolicy(Model):
    """A limit to change: so many pods, or percent of them, in so many seconds."""

    periodSeconds: Annotated[Int32, REQUIRED] = 0
    type: Annotated[str, REQUIRED] = ""
    value: Annotated[Int32, REQUIRED] = 0


class HPAScalingRules(Model):
    """How fast and how eagerly to scale in one direction."""

    policies: Annotated[list[HPAScalingPolicy], ATOMIC] = []
    selectPolicy: str | None = None
    stabilizationWindowSeconds: Int32 | None = None
    tolerance: Quantity | None = None


class HorizontalPodAutoscalerBehavior(Model):
    """How to scale up and how to scale down."""

    scaleDown: HPAScalingRules | None = None
    scaleUp: HPAScalingRules | None = None


class ObjectMetricSource(Model):
    """Scale on a metric that describes another object."""

    describedObject: Annotated[CrossVersionObjectReference, REQUIRED] = (
        CrossVersionObjectReference()
    )
    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class PodsMetricSource(Model):
    """Scale on the average of a metric over the pods."""

    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class ResourceMetricSource(Model):
    """Scale on the pods' use of a resource that they request."""

    name: Annotated[str, REQUIRED] = ""
    target: Annotated[MetricTarget, REQUIRED] = MetricTarget()


class MetricSpec(Model):
    """One metric to scale on; the largest answer of all wins."""

    type: Annotated[str, REQUIRED] = ""
    containerResource: ContainerResourceMetricSource | None = None
    external: ExternalMetricSource | None = None
    object: ObjectMetricSource | None = None
    pods: PodsMetricSource | None = None
    resource: ResourceMetricSource | None = None


class HorizontalPodAutoscalerSpec(Model):
    """What is wanted of a horizontal pod autoscaler."""

    maxReplicas: Annotated[Int32, REQUIRED] = 0
    scaleTargetRef: Annotated[CrossVersionObjectReference, REQUIRED] = CrossVersionObjectReference()
    behavior: HorizontalPodAutoscalerBehavior | None = None
    metrics: Annotated[list[MetricSpec], ATOMIC] = []
    minReplicas: Int32 | None = None


class HorizontalPodAutoscalerCondition(Model):
    """One aspect of a horizontal pod autoscaler's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class ObjectMetricStatus(Model):
    """What another object's metric was last measured at."""

    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    describedObject: Annotated[CrossVersionObjectReference, REQUIRED] = (
        CrossVersionObjectReference()
    )
    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()


class PodsMetricStatus(Model):
    """What a metric was last measured at, averaged over the pods."""

    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    metric: Annotated[MetricIdentifier, REQUIRED] = MetricIdentifier()


class ResourceMetricStatus(Model):
    """What the pods' use of a resource was last measured at."""

    current: Annotated[MetricValueStatus, REQUIRED] = MetricValueStatus()
    name: Annotated[str, REQUIRED] = ""


class MetricStatus(Model):
    """What one of the metrics was last measured at."""

    type: Annotated[str, REQUIRED] = ""
    containerResource: ContainerResourceMetricStatus | None = None
    external: ExternalMetricStatus | None = None
    object: ObjectMetricStatus | None = None
    pods: PodsMetricStatus | None = None
    resource: ResourceMetricStatus | None = None


class HorizontalPodAutoscalerStatus(Model):
    """What was last observed of a horizontal pod autoscaler."""

    desiredReplicas: Annotated[Int32, REQUIRED] = 0
    conditions: Annotated[
        list[HorizontalPodAutoscalerCondition], list_map("type"), merge_by("type")
    ] = []
    currentMetrics: Annotated[NilList[MetricStatus], ATOMIC] = []
    currentReplicas: Int32 = 0
    lastScaleTime: Time | None = None
    observedGeneration: Int64 | None = None


class HorizontalPodAutoscaler(Kind):
    """Changes the number of a workload's pods by what it measures on them."""

    gvk: ClassVar = GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscaler")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[HorizontalPodAutoscalerSpec, REQUIRED] = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()


class HorizontalPodAutoscalerList(Kind):
    """A list of horizontal pod autoscalers."""

    gvk: ClassVar = GroupVersionKind("autoscaling", "v2", "HorizontalPodAutoscalerList")

    items: Annotated[list[HorizontalPodAutoscaler], REQUIRED] = []
    metadata: ListMeta = ListMeta()
