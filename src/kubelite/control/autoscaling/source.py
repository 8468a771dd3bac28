"""Reads metrics through the API, whatever serves them there. What another server sends may have any form."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from kubelite.api.client.protocol import Client, Object
from kubelite.api.errors import APIError, NotFound
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.times import parse_duration, parse_time
from kubelite.control.autoscaling.usage import INT64_MAX, Metrics, PodMetric, Uncountable
from kubelite.limits import AUTOSCALER_METRICS

RESOURCE_GROUP, RESOURCE_VERSION = "metrics.k8s.io", "v1beta1"
CUSTOM_GROUP = "custom.metrics.k8s.io"
EXTERNAL_GROUP, EXTERNAL_VERSION = "external.metrics.k8s.io", "v1beta1"
DEFAULT_WINDOW_SECONDS = 60  # of a custom metric that does not say its own

T = TypeVar("T")


class _Name(Struct, frozen=True):
    name: str = ""


class _Container(Struct, frozen=True):
    name: str = ""
    usage: dict[str, str] = {}


class _PodMetrics(Struct, frozen=True):
    metadata: _Name = _Name()
    timestamp: str | None = None
    window: str = "0s"
    containers: list[_Container] = []


class _CustomValue(Struct, frozen=True, rename="camel"):
    value: str
    described_object: _Name = _Name()
    timestamp: str | None = None
    window_seconds: int | None = None


class _CustomValues(Struct, frozen=True):
    items: list[_CustomValue] = []


class _ExternalValue(Struct, frozen=True):
    value: str


class MetricsSource:
    """The three APIs of metrics; all calls raise Uncountable."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def of_pods(
        self, namespace: str, selector: str, resource: str, container: str
    ) -> Metrics:
        """Return the use of a resource by pods or, if `container` is not "", by that container of each."""
        pods = self._client.resource(RESOURCE_GROUP, RESOURCE_VERSION, "pods")
        try:
            items = await pods.list(namespace, label_selector=selector)
            found = _converted(items, list[_PodMetrics])
        except (APIError, ValueError) as error:
            raise _unread("resource", error, "get pods.metrics.k8s.io") from error
        if not found:
            raise Uncountable("no metrics returned from resource metrics API")
        metrics = {}
        for one in found:
            value = _use(one, resource, container)
            if value is not None:
                metrics[one.metadata.name] = _metric(value, one)
        return metrics

    async def custom_of_pods(
        self, version: str, namespace: str, selector: str, metric: str, metric_selector: str
    ) -> Metrics:
        """Return a custom metric of each selected pod."""
        parameters = {"labelSelector": selector, "metricLabelSelector": metric_selector}
        values = await self._custom(version, namespace, "pods", "*", metric, parameters)
        if not values:
            raise Uncountable("no metrics returned from custom metrics API")
        return {
            one.described_object.name: PodMetric(
                _milli(one.value), _date(one.timestamp), _window(one.window_seconds)
            )
            for one in values
        }

    async def custom_of_object(
        self,
        version: str,
        namespace: str,
        resource: str,
        name: str,
        metric: str,
        metric_selector: str,
    ) -> int:
        """Return a custom metric of one object; `resource` is ``deployments.apps`` for a Deployment."""
        parameters = {"metricLabelSelector": metric_selector}
        if resource == "namespaces":  # only its own, whatever the reference says
            values = await self._custom(version, namespace, "metrics", metric, "", parameters)
        else:
            values = await self._custom(version, namespace, resource, name, metric, parameters)
        if len(values) != 1:
            raise Uncountable(
                "unable to fetch metrics from custom metrics API: the custom metrics API server "
                f"returned {len(values)} results when we asked for exactly one"
            )
        return _milli(values[0].value)

    async def external(self, namespace: str, metric: str, selector: str) -> Sequence[int]:
        """Return the values of an external metric."""
        values = self._client.resource(EXTERNAL_GROUP, EXTERNAL_VERSION, metric)
        try:
            items = await values.list(namespace, label_selector=selector)
            found = _converted(items, list[_ExternalValue])
        except (APIError, ValueError) as error:
            raise _unread("external", error, f"get {metric}.{EXTERNAL_GROUP}") from error
        if not found:
            raise Uncountable("no metrics returned from external metrics API")
        return [_milli(one.value) for one in found]

    async def _custom(
        self,
        version: str,
        namespace: str,
        resource: str,
        name: str,
        metric: str,
        parameters: Mapping[str, str],
    ) -> Sequence[_CustomValue]:
        if not version:
            raise Uncountable(
                "unable to fetch metrics from custom metrics API: "
                "no known available metric versions found"
            )
        values = self._client.resource(CUSTOM_GROUP, version, resource)
        given = {key: text for key, text in parameters.items() if text}
        try:
            answer: Object = await values.get(name, namespace, subresource=metric, parameters=given)
            return _converted(answer, _CustomValues).items
        except (APIError, ValueError) as error:
            raise _unread("custom", error, f"get {resource}.{CUSTOM_GROUP}") from error


def _converted(value: Any, type_: type[T]) -> T:
    """Return a value as a type; raises ValueError."""
    if isinstance(value, list) and len(value) > AUTOSCALER_METRICS.value:
        AUTOSCALER_METRICS.reached()
        raise ValueError(f"more than {AUTOSCALER_METRICS.value} metrics were returned")
    return msgspec.convert(value, type_)


def _unread(api: str, error: Exception, asked: str) -> Uncountable:
    reason = error.message if isinstance(error, APIError) else str(error)
    if isinstance(error, NotFound) and not error.name:
        reason = f"{reason} ({asked})"  # as client-go words the absence of a whole API
    return Uncountable(f"unable to fetch metrics from {api} metrics API: {reason}")


def _use(pod: _PodMetrics, resource: str, container: str) -> int | None:
    """Return the use in thousandths; None if it is not known for all containers that count."""
    counted = [one for one in pod.containers if container in ("", one.name)]
    texts = [one.usage.get(resource) for one in counted[: 1 if container else None]]
    if not texts or None in texts:
        return None
    return sum(_milli(text) for text in texts if text is not None)


def _milli(text: str) -> int:
    """Return a quantity in thousandths, within 64 bits. Raises Uncountable."""
    try:
        return max(-INT64_MAX, min(parse_quantity(text).milli_value(), INT64_MAX))
    except ValueError as error:
        raise Uncountable(f"unable to parse the quantity of a metric: {error}") from error


def _metric(value: int, pod: _PodMetrics) -> PodMetric:
    try:
        window = parse_duration(pod.window)
    except ValueError:
        window = timedelta()
    return PodMetric(value, _date(pod.timestamp), window)


def _date(timestamp: str | None) -> datetime | None:
    try:
        return parse_time(timestamp) if timestamp else None
    except ValueError:
        return None


def _window(seconds: int | None) -> timedelta:
    given = DEFAULT_WINDOW_SECONDS if seconds is None else seconds
    return timedelta(seconds=max(0, min(given, 10**9)))
