"""Pods and metrics for tests of autoscaling."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time
from kubelite.control.autoscaling.pod_groups import Readiness
from kubelite.control.autoscaling.replicas import Measured, Scaled
from kubelite.control.autoscaling.usage import PodMetric, Tolerances

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = {"app": "web"}
BY = Measured(Tolerances(0.1, 0.1), Readiness(), NOW)


def pod(
    name: str,
    *,
    ready: bool = True,
    phase: str = "Running",
    request: str | None = "1",
    started: float = 3600,
    changed: float | None = None,
    deleted: bool = False,
    containers: Sequence[Mapping[str, Any]] = (),
    labels: Mapping[str, str] = LABELS,
) -> Pod:
    """Return a pod that started, and whose readiness changed, so many seconds ago."""
    requests = {"cpu": request} if request else {}
    at = format_time(NOW - timedelta(seconds=started if changed is None else changed))
    one = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": dict(labels),
            **({"deletionTimestamp": format_time(NOW)} if deleted else {}),
        },
        "spec": {"containers": [*containers] or [_container("c", requests)]},
        "status": {
            "phase": phase,
            "startTime": format_time(NOW - timedelta(seconds=started)),
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": at,
                }
            ],
        },
    }
    return msgspec.convert(one, Pod)


def _container(name: str, requests: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "image": "i", "resources": {"requests": dict(requests)}}


def pods(count: int, **how: Any) -> list[Pod]:
    return [pod(f"p{number}", **how) for number in range(count)]


def metrics(*values: int) -> dict[str, PodMetric]:
    """Return metrics of the pods p0, p1 ..., taken just now over 15 s."""
    return {
        f"p{number}": PodMetric(value, NOW, timedelta(seconds=15))
        for number, value in enumerate(values)
    }


def scaled(all_pods: Sequence[Pod], replicas: int | None = None) -> Scaled:
    count = len(all_pods) if replicas is None else replicas
    return Scaled(count, count, all_pods)
