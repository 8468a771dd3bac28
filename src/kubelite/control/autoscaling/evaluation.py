"""Evaluates one metric of an autoscaler: reads it, and computes the replicas that it asks for."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from msgspec import Struct

from kubelite.api.client.protocol import ServedResource
from kubelite.api.errors import APIError
from kubelite.api.kinds.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    ExternalMetricSource,
    ExternalMetricStatus,
    MetricIdentifier,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ObjectMetricSource,
    ObjectMetricStatus,
    PodsMetricSource,
    PodsMetricStatus,
    ResourceMetricStatus,
)
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.machinery.quantity import BINARY, DECIMAL, Quantity, parse_quantity
from kubelite.api.machinery.selectors import label_selector
from kubelite.control.autoscaling.proposals import Failure, Proposal, failed, shown_selector
from kubelite.control.autoscaling.replicas import (
    Answer,
    Measured,
    Scaled,
    by_average,
    by_total,
    by_total_per_pod,
    by_utilization,
)
from kubelite.control.autoscaling.source import MetricsSource
from kubelite.control.autoscaling.targets import TargetUnknown, resource_of
from kubelite.control.autoscaling.usage import Metrics, Uncountable
from kubelite.control.pods import POD_COST_BYTES
from kubelite.offload import Offload

NO_VALUE = "neither a value target nor an average value target was set"
NO_UTILIZATION = "neither an average utilization target nor an average value (usage) target was set"


class Evaluation(Struct, frozen=True):
    """What the metrics of one autoscaler are evaluated with."""

    source: MetricsSource
    offload: Offload
    namespace: str
    selector: str  # of the target's pods
    scaled: Scaled
    by: Measured
    served: Sequence[ServedResource]
    custom_version: str  # of custom.metrics.k8s.io; "" if it is not served

    async def of(self, spec: MetricSpec) -> Proposal | Failure:
        """Return what a metric asks for, or why it asks for nothing."""
        try:
            if spec.type == "Resource" and spec.resource is not None:
                return await self._resource(spec.resource.name, "", spec.resource.target)
            if spec.type == "ContainerResource" and spec.containerResource is not None:
                one = spec.containerResource
                return await self._resource(one.name, one.container, one.target)
            if spec.type == "Pods" and spec.pods is not None:
                return await self._pods(spec.pods)
            if spec.type == "Object" and spec.object is not None:
                return await self._object(spec, spec.object)
            if spec.type == "External" and spec.external is not None:
                return await self._external(spec, spec.external)
        except (Uncountable, APIError) as error:  # APIError: the metric's own selector is invalid
            return failed(spec, str(error))
        message = f'unknown metric source type "{spec.type}"'  # validation lets none pass
        return Failure("InvalidMetricSourceType", message, message)

    async def _computed(self, compute: Callable[[], Answer]) -> Answer:
        """Compute; off the loop if there are many pods."""
        return await self.offload.run(len(self.scaled.pods) * POD_COST_BYTES, compute)

    async def _resource(self, resource: str, container: str, target: MetricTarget) -> Proposal:
        average, percent = target.averageValue, target.averageUtilization
        if average is None and percent is None:
            raise Uncountable(f"invalid resource metric source: {NO_UTILIZATION}")
        what = "utilization" if average is None else "usage"
        try:
            metrics = await self._resource_metrics(resource, container)
            if average is not None:
                wanted = milli(average)
                answer = await self._computed(
                    lambda: by_average(metrics, wanted, resource, self.scaled, self.by)
                )
            else:
                share = percent or 1
                answer = await self._computed(
                    lambda: by_utilization(
                        metrics, share, resource, container, self.scaled, self.by
                    )
                )
        except Uncountable as error:
            raise Uncountable(f"failed to get {resource} {what}: {error}") from error
        value = MetricValueStatus(
            averageUtilization=answer.percent, averageValue=shown(answer.value, resource)
        )
        name = f"{resource} resource"
        if average is None:
            within = " container" if container else ""
            name = f"{resource}{within} resource utilization (percentage of request)"
        status = MetricStatus(
            type="Resource", resource=ResourceMetricStatus(name=resource, current=value)
        )
        if container:
            status = MetricStatus(
                type="ContainerResource",
                containerResource=ContainerResourceMetricStatus(
                    container=container, name=resource, current=value
                ),
            )
        return Proposal(answer.replicas, name, status)

    async def _resource_metrics(self, resource: str, container: str) -> Metrics:
        try:
            return await self.source.of_pods(self.namespace, self.selector, resource, container)
        except Uncountable as error:
            raise Uncountable(f"unable to get metrics for resource {resource}: {error}") from error

    async def _pods(self, source: PodsMetricSource) -> Proposal:
        name = source.metric.name
        try:
            metrics = await self.source.custom_of_pods(
                self.custom_version,
                self.namespace,
                self.selector,
                name,
                selector_text(source.metric.selector),
            )
        except Uncountable as error:
            raise Uncountable(f"unable to get metric {name}: {error}") from error
        target = milli(source.target.averageValue or "0")
        answer = await self._computed(lambda: by_average(metrics, target, "", self.scaled, self.by))
        value = MetricValueStatus(averageValue=shown(answer.value))
        status = PodsMetricStatus(metric=source.metric, current=value)
        return Proposal(
            answer.replicas, f"pods metric {name}", MetricStatus(type="Pods", pods=status)
        )

    async def _object(self, spec: MetricSpec, source: ObjectMetricSource) -> Proposal | Failure:
        target, metric = source.target, source.metric
        is_total = target.type == "Value" and target.value is not None
        if not is_total and (target.type != "AverageValue" or target.averageValue is None):
            raise Uncountable(f"invalid object metric source: {NO_VALUE}")
        try:
            used = await self._object_metric(source)
            answer = await self._total([used], target, is_total=is_total)
        except Uncountable as error:
            if is_total:
                raise
            outer = f"failed to get {metric.name} object metric: {error}"
            return failed(spec, outer, str(error))
        kind = source.describedObject.kind
        name = f"{kind} metric {metric.name}" if is_total else _external_name(metric)
        status = ObjectMetricStatus(
            describedObject=source.describedObject,
            metric=metric,
            current=_value(answer, is_total=is_total),
        )
        return Proposal(answer.replicas, name, MetricStatus(type="Object", object=status))

    async def _object_metric(self, source: ObjectMetricSource) -> int:
        about, metric = source.describedObject, source.metric
        try:
            resource = resource_of(about, self.served)
            qualified = f"{resource.resource}.{resource.group}".rstrip(".")
            return await self.source.custom_of_object(
                self.custom_version,
                self.namespace,
                qualified,
                about.name,
                metric.name,
                selector_text(metric.selector),
            )
        except (TargetUnknown, Uncountable) as error:
            place = f"{about.kind} {self.namespace}/{about.name}"
            raise Uncountable(f"unable to get metric {metric.name}: {error} on {place}") from error

    async def _external(self, spec: MetricSpec, source: ExternalMetricSource) -> Proposal | Failure:
        target, metric = source.target, source.metric
        if target.averageValue is None and target.value is None:
            raise Uncountable(f"invalid external metric source: {NO_VALUE}")
        is_total = target.averageValue is None
        try:
            values = await self._external_metric(metric)
            answer = await self._total(values, target, is_total=is_total)
        except Uncountable as error:
            outer = f"failed to get {metric.name} external metric: {error}"
            if is_total:
                outer = f"failed to get external metric {metric.name}: {error}"
            return failed(spec, outer, str(error))
        status = ExternalMetricStatus(metric=metric, current=_value(answer, is_total=is_total))
        return Proposal(
            answer.replicas, _external_name(metric), MetricStatus(type="External", external=status)
        )

    async def _external_metric(self, metric: MetricIdentifier) -> Sequence[int]:
        try:
            selector = selector_text(metric.selector)
            return await self.source.external(self.namespace, metric.name, selector)
        except Uncountable as error:
            name = f"{self.namespace}/{metric.name}/{shown_selector(metric.selector)}"
            raise Uncountable(f"unable to get external metric {name}: {error}") from error

    async def _total(
        self, values: Sequence[int], target: MetricTarget, *, is_total: bool
    ) -> Answer:
        wanted = milli((target.value if is_total else target.averageValue) or "0")
        compute = by_total if is_total else by_total_per_pod
        return await self._computed(lambda: compute(values, wanted, self.scaled, self.by))


def selector_text(selector: LabelSelector | None) -> str:
    """Return a selector as the text of a parameter; raises BadRequest."""
    return str(label_selector(selector)) if selector is not None else ""


def milli(text: str) -> int:
    """Return a stored quantity in thousandths."""
    return parse_quantity(text).milli_value()


def shown(thousandths: int, resource: str = "") -> str:
    """Return a value as the text of a status; memory in binary units, as the metrics of pods."""
    written = BINARY if resource == "memory" else DECIMAL
    return str(Quantity(Decimal(thousandths).scaleb(-3), written))


def _value(answer: Answer, *, is_total: bool) -> MetricValueStatus:
    if is_total:
        return MetricValueStatus(value=shown(answer.value))
    return MetricValueStatus(averageValue=shown(answer.value))


def _external_name(metric: MetricIdentifier) -> str:
    # Upstream calls an average of an object's metric external, too.
    return f"external metric {metric.name}({shown_selector(metric.selector)})"
