from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kubelite.api.kinds.core.containers import ResourceRequirements
from kubelite.control.autoscaling.pod_groups import Readiness, grouped, requests_of
from kubelite.control.autoscaling.usage import PodMetric, Uncountable
from unit.control.autoscaling.pods import NOW, pod

METRIC = PodMetric(100, NOW, timedelta(seconds=30))


def group_of(resource: str = "cpu", *, measured: bool = True, **how: Any) -> str:
    """Return how one pod counts."""
    metrics = {"p": METRIC} if measured else {}
    groups = grouped([pod("p", **how)], metrics, resource, Readiness(), NOW)
    for name in ("unready", "missing", "ignored"):
        if getattr(groups, name):
            assert groups.ready == 0
            return name
    assert groups.ready == 1
    return "ready"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, "ready"),
        ({"measured": False}, "missing"),
        ({"phase": "Pending", "measured": False}, "unready"),
        ({"phase": "Failed"}, "ignored"),
        ({"deleted": True}, "ignored"),
        # Within five minutes of its start a pod counts once it was ready for a whole window.
        ({"started": 60, "changed": 20}, "unready"),
        ({"started": 60, "changed": 40}, "ready"),
        ({"started": 60, "changed": 40, "ready": False}, "unready"),
        # Later it counts also while it is not ready, if it ever was.
        ({"started": 400, "changed": 10, "ready": False}, "ready"),
        ({"started": 400, "changed": 380, "ready": False}, "unready"),
        ({"started": 400, "changed": 10}, "ready"),
        # The use of memory does not come from starting.
        ({"started": 60, "ready": False, "resource": "memory"}, "ready"),
        ({"started": 60, "ready": False, "resource": ""}, "ready"),
    ],
)
def test_how_a_pod_counts(how: dict[str, Any], expected: str) -> None:
    assert group_of(**how) == expected


def containers(*requests: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": f"c{number}", "resources": {"requests": each}}
        for number, each in enumerate(requests)
    ]


def test_requests() -> None:
    one = pod("p", containers=containers({"cpu": "100m"}, {"cpu": "1"}))
    assert requests_of([one], "", "cpu") == {"p": 1100}
    assert requests_of([one], "c1", "cpu") == {"p": 1000}
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "10m"}}}
    starting = {"name": "i", "resources": {"requests": {"cpu": "5"}}}
    spec = msgspec.convert(
        {**msgspec.to_builtins(one.spec), "initContainers": [sidecar, starting]}, type(one.spec)
    )
    assert requests_of([replace(one, spec=spec)], "", "cpu") == {"p": 1110}
    assert requests_of([replace(one, spec=spec)], "s", "cpu") == {"p": 10}


def test_requests_of_the_pod_itself_come_first() -> None:
    one = pod("p", containers=containers({"cpu": "100m"}, {}))
    whole = replace(one.spec, resources=ResourceRequirements(requests={"cpu": "2"}))
    assert requests_of([replace(one, spec=whole)], "", "cpu") == {"p": 2000}
    assert requests_of([replace(one, spec=whole)], "c0", "cpu") == {"p": 100}
    with pytest.raises(Uncountable, match="missing pod-level request for memory in Pod p"):
        requests_of([replace(one, spec=whole)], "", "memory")


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ("", "missing request for cpu in container c1 of Pod p"),
        ("c1", "missing request for cpu in container c1 of Pod p"),
        ("x", "container x not found in Pod p"),
    ],
)
def test_missing_requests(container: str, message: str) -> None:
    one = pod("p", containers=containers({"cpu": "100m"}, {"memory": "1"}))
    with pytest.raises(Uncountable, match=message):
        requests_of([one], container, "cpu")
