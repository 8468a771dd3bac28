"""Columns of all kinds."""

from datetime import UTC, datetime
from typing import Any

import pytest
from complete_objects import samples
from fakes.rows import ROWS

from kubelite.api.machinery.columns.custom import CREATED_AT, custom_layout

LAYOUTS = {(gvk.group, gvk.kind): row.layout for gvk, row in ROWS.items()}
NOW = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
BORN = {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}


def cells(group: str, kind: str, **fields: Any) -> list[Any]:
    """Return the cells of an object of that kind."""
    metadata = {**BORN, **fields.pop("metadata", {})}
    return LAYOUTS[group, kind].cells({"kind": kind, "metadata": metadata, **fields}, NOW)


@pytest.mark.parametrize(("group", "kind"), sorted(LAYOUTS))
def test_every_layout_fills_its_columns_even_for_an_empty_object(group: str, kind: str) -> None:
    layout = LAYOUTS[group, kind]
    assert len(layout.cells({}, NOW)) == len(layout.columns)
    assert len(cells(group, kind, spec={}, status={})) == len(layout.columns)


def test_every_layout_reads_a_full_object() -> None:
    for _, full, _ in samples():
        group = full.get("apiVersion", "v1").rpartition("/")[0]
        layout = LAYOUTS.get((group, full.get("kind", "")), CREATED_AT)
        filled = layout.cells(full, NOW)
        assert len(filled) == len(layout.columns)
        assert all(cell is None or isinstance(cell, str | int | bool) for cell in filled), full


def status(name: str, ready: bool = True, **more: Any) -> dict[str, Any]:
    """Make a container status."""
    return {"name": name, "ready": ready, **more}


RUNNING: dict[str, Any] = {"running": {}}
SPEC = {"containers": [{"name": "a"}, {"name": "b"}]}
READY = [{"type": "Ready", "status": "True"}]


@pytest.mark.parametrize(
    ("pod", "shown"),
    [
        ({"status": {"phase": "Pending"}}, ["0/2", "Pending", "0"]),
        (
            {
                "status": {
                    "phase": "Running",
                    "containerStatuses": [
                        status("a", state=RUNNING),
                        status(
                            "b",
                            False,
                            state={"waiting": {"reason": "CrashLoopBackOff"}},
                            restartCount=3,
                            lastState={"terminated": {"finishedAt": "2026-01-01T00:04:30Z"}},
                        ),
                    ],
                }
            },
            ["1/2", "CrashLoopBackOff", "3 (30s ago)"],
        ),
        (
            {
                "status": {
                    "phase": "Running",
                    "conditions": READY,
                    "containerStatuses": [
                        status("a", False, state={"terminated": {"reason": "Completed"}}),
                        status("b", state=RUNNING),
                    ],
                }
            },
            ["1/2", "Running", "0"],
        ),
        (
            {
                "metadata": {"deletionTimestamp": "2026-01-01T00:05:00Z"},
                "status": {"phase": "Running", "containerStatuses": [status("a", state=RUNNING)]},
            },
            ["1/2", "Terminating", "0"],
        ),
        (
            {
                "spec": {**SPEC, "initContainers": [{"name": "i"}, {"name": "j"}]},
                "status": {
                    "phase": "Pending",
                    "initContainerStatuses": [
                        status("i", state={"terminated": {"exitCode": 0}}),
                        status("j", False, state=RUNNING),
                    ],
                },
            },
            ["0/2", "Init:1/2", "0"],
        ),
        (
            {
                "spec": {**SPEC, "initContainers": [{"name": "i"}]},
                "status": {
                    "phase": "Pending",
                    "initContainerStatuses": [
                        status("i", False, state={"terminated": {"exitCode": 1, "reason": "Error"}})
                    ],
                },
            },
            ["0/2", "Init:Error", "0"],
        ),
        (
            {
                "status": {
                    "phase": "Pending",
                    "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}],
                }
            },
            ["0/2", "SchedulingGated", "0"],
        ),
    ],
)
def test_pods(pod: dict[str, Any], shown: list[str]) -> None:
    assert cells("", "Pod", **{"spec": SPEC, **pod})[1:4] == shown


def test_workloads() -> None:
    made = cells(
        "apps",
        "Deployment",
        spec={
            "replicas": 3,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
        status={"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2},
    )
    assert made == ["x", "2/3", 3, 2, "5m", "c", "i", "a=b"]
    job = cells(
        "batch",
        "Job",
        spec={"completions": 2},
        status={"succeeded": 1, "startTime": "2026-01-01T00:04:00Z"},
    )
    assert job[:5] == ["x", "Running", "1/2", "60s", "5m"]


def test_services() -> None:
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30000}, {"port": 53, "protocol": "UDP"}]
    made = cells(
        "", "Service", spec={"type": "NodePort", "clusterIPs": ["10.0.0.1"], "ports": ports}
    )
    assert made == ["x", "NodePort", "10.0.0.1", "<none>", "80:30000/TCP,53/UDP", "5m", "<none>"]
    assert cells("", "Service", spec={"type": "LoadBalancer"})[3] == "<pending>"
    subsets = [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)], "ports": [{"port": 1}]}]
    shown = cells("", "Endpoints", subsets=subsets)[1]
    assert shown == "10.0.0.0:1,10.0.0.1:1,10.0.0.2:1 + 2 more..."


def test_nodes() -> None:
    made = cells(
        "",
        "Node",
        metadata={"labels": {"node-role.kubernetes.io/control-plane": ""}},
        spec={"unschedulable": True},
        status={
            "conditions": [{"type": "Ready", "status": "False"}],
            "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0",
                "kernelVersion": "6",
                "architecture": "amd64",
            },
        },
    )
    assert made[1:6] == ["NotReady,SchedulingDisabled", "control-plane", "5m", "v1.36.0", "1.2.3.4"]
    assert made[8] == "6 (amd64)"


def test_autoscalers() -> None:
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}
    seen = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}
    made = cells(
        "autoscaling",
        "HorizontalPodAutoscaler",
        spec={
            "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "minReplicas": 1,
            "maxReplicas": 9,
            "metrics": [metric],
        },
        status={"currentReplicas": 2, "currentMetrics": [seen]},
    )
    assert made == ["x", "Deployment/d", "cpu: 7%/80%", "1", 9, 2, "5m"]


def test_kinds_without_columns_show_their_creation() -> None:
    assert cells("", "LimitRange") == ["x", "2026-01-01T00:00:00Z"]


def test_custom_columns() -> None:
    layout = custom_layout(
        [
            {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
            {"name": "Born", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
        ]
    )
    assert layout.cells({"metadata": BORN, "spec": {"replicas": 3}}, NOW) == ["x", 3, "5m", None]
    assert layout.columns[3].priority == 1
    assert custom_layout([]).cells({"metadata": BORN}, NOW) == ["x", "5m"]


def test_a_column_shows_the_first_of_several_values() -> None:
    layout = custom_layout([{"name": "All", "type": "string", "jsonPath": ".l[*].name"}])
    thing = {"metadata": BORN, "l": [{"name": "a"}, {"name": "b"}]}
    assert layout.cells(thing, NOW) == ["x", "a"]
