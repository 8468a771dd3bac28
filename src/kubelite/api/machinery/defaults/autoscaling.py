"""Defaults of horizontal pod autoscalers, in both versions."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]

CPU_UTILIZATION_PERCENT = 80
PERIOD_SECONDS = 15


def default_autoscaler(autoscaler: Fields) -> None:
    """Set the defaults of a v1 autoscaler."""
    autoscaler["spec"].setdefault("minReplicas", 1)


def default_autoscaler_v2(autoscaler: Fields) -> None:
    """Set the defaults of a v2 autoscaler: without metrics it scales by CPU utilization."""
    spec = autoscaler["spec"]
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": CPU_UTILIZATION_PERCENT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if (behavior := spec.get("behavior")) is not None:
        behavior["scaleUp"] = {**_scale_up(), **behavior.get("scaleUp", {})}
        behavior["scaleDown"] = {**_scale_down(), **behavior.get("scaleDown", {})}


def _scale_up() -> Fields:
    return {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [_policy("Pods", 4), _policy("Percent", 100)],
    }


def _scale_down() -> Fields:
    return {"selectPolicy": "Max", "policies": [_policy("Percent", 100)]}


def _policy(type_: str, value: int) -> Fields:
    return {"type": type_, "value": value, "periodSeconds": PERIOD_SECONDS}
