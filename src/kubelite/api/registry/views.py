"""Conversions between a storage version and the other versions and groups that serve its objects.

An autoscaling/v1 autoscaler has a field for the CPU target only. Annotations carry the rest of the stored v2 object, so
a read and write through v1 loses nothing. events.k8s.io names the fields of core events differently.
"""

from typing import Any

import msgspec

from kubelite.api.kinds import autoscaling_v1, events_v1
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.registry.conversion import Struct

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"

# core -> events.k8s.io
_EVENT_FIELDS = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_STORED_EVENT_FIELDS = {served: stored for stored, served in _EVENT_FIELDS.items()}


class EventsV1(Struct):
    """events.k8s.io/v1 Events over core Events."""

    def read(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Rename the fields to those of events.k8s.io."""
        served = {_EVENT_FIELDS.get(name, name): value for name, value in stored.items()}
        return _complete(events_v1.Event, {**served, "apiVersion": "events.k8s.io/v1"})

    def write(self, served: dict[str, Any]) -> dict[str, Any]:
        """Rename the fields to those of core events."""
        stored = {_STORED_EVENT_FIELDS.get(name, name): value for name, value in served.items()}
        return {**stored, "apiVersion": "v1"}


class HorizontalPodAutoscalerV1(Struct):
    """autoscaling/v1 over autoscaling/v2."""

    def read(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Convert to v1: the CPU target becomes a number, the rest annotations."""
        spec, status = dict(stored.get("spec") or {}), dict(stored.get("status") or {})
        others = []
        for metric in spec.pop("metrics", None) or ():
            target = _cpu_target(metric)
            if target is None or "targetCPUUtilizationPercentage" in spec:
                others.append(metric)
            else:
                spec["targetCPUUtilizationPercentage"] = target
        current = status.pop("currentMetrics", None)
        for metric in current or ():
            value = _cpu_value(metric)
            if value is not None:
                status["currentCPUUtilizationPercentage"] = value
        hidden = {
            _METRICS: others,
            _BEHAVIOR: spec.pop("behavior", None),
            _CURRENT_METRICS: current,
            _CONDITIONS: status.pop("conditions", None),
        }
        metadata = dict(stored["metadata"])
        notes = {name: value for name, value in hidden.items() if value}
        if notes:
            encoded = {name: msgspec.json.encode(value).decode() for name, value in notes.items()}
            metadata["annotations"] = {**metadata.get("annotations", {}), **encoded}
        served = {
            **stored,
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }
        return _complete(autoscaling_v1.HorizontalPodAutoscaler, served)

    def write(self, served: dict[str, Any]) -> dict[str, Any]:
        """Convert to v2: the CPU target and the annotations become metrics, behavior and conditions."""
        metadata = dict(served["metadata"])
        annotations = dict(metadata.get("annotations") or {})
        spec, status = dict(served.get("spec") or {}), dict(served.get("status") or {})
        metrics = _decoded(annotations.pop(_METRICS, "")) or []
        target = spec.pop("targetCPUUtilizationPercentage", None)
        status.pop("currentCPUUtilizationPercentage", None)
        if target is not None:
            metrics.append(_cpu_metric(target))
        for fields, name, value in (
            (spec, "metrics", metrics),
            (spec, "behavior", _decoded(annotations.pop(_BEHAVIOR, ""))),
            (status, "currentMetrics", _decoded(annotations.pop(_CURRENT_METRICS, ""))),
            (status, "conditions", _decoded(annotations.pop(_CONDITIONS, ""))),
        ):
            if value:
                fields[name] = value
        metadata.pop("annotations", None)
        if annotations:
            metadata["annotations"] = annotations
        return {
            **served,
            "apiVersion": "autoscaling/v2",
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }


def _complete(kind: type[Kind], served: dict[str, Any]) -> dict[str, Any]:
    """Add the fields that the served version always has, and drop those it does not have."""
    structure(compile_struct(kind), served)
    return served


def _is_cpu(metric: dict[str, Any]) -> bool:
    return metric.get("type") == "Resource" and metric.get("resource", {}).get("name") == "cpu"


def _cpu_target(metric: dict[str, Any]) -> int | None:
    if not _is_cpu(metric):
        return None
    target: int | None = metric["resource"].get("target", {}).get("averageUtilization")
    return target


def _cpu_value(metric: dict[str, Any]) -> int | None:
    if not _is_cpu(metric):
        return None
    value: int | None = metric["resource"].get("current", {}).get("averageUtilization")
    return value


def _cpu_metric(target: int) -> dict[str, Any]:
    return {
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": target},
        },
    }


def _decoded(text: str) -> Any:
    """Decode an annotation; None if it is absent or not valid JSON, which Kubernetes ignores, too."""
    try:
        return msgspec.json.decode(text.encode()) if text else None
    except msgspec.DecodeError:
        return None


EVENTS_V1 = EventsV1()
HPA_V1 = HorizontalPodAutoscalerV1()
