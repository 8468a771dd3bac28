from typing import Any

from kubelite.api.registry.views import EVENTS_V1, HPA_V1

V2: dict[str, Any] = {
    "kind": "HorizontalPodAutoscaler",
    "apiVersion": "autoscaling/v2",
    "metadata": {"name": "web", "annotations": {"mine": "x"}},
    "spec": {
        "scaleTargetRef": {"kind": "Deployment", "name": "web"},
        "maxReplicas": 4,
        "metrics": [
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": "rps"},
                    "target": {"type": "AverageValue", "averageValue": "5"},
                },
            },
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 60},
                },
            },
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
    },
    "status": {
        "currentReplicas": 0,
        "desiredReplicas": 2,
        "currentMetrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": 55}},
            }
        ],
        "conditions": [{"type": "AbleToScale", "status": "True"}],
    },
}


def test_what_v1_cannot_say_survives_it() -> None:
    served = HPA_V1.read(V2)
    assert served["spec"]["targetCPUUtilizationPercentage"] == 60
    assert served["status"]["currentCPUUtilizationPercentage"] == 55
    assert "metrics" not in served["spec"]
    assert HPA_V1.write(served) == V2


def test_a_broken_annotation_counts_as_absent() -> None:
    served = HPA_V1.read(V2)
    name = "autoscaling.alpha.kubernetes.io/behavior"
    served["metadata"]["annotations"][name] = "{"
    assert "behavior" not in HPA_V1.write(served)["spec"]


def test_a_plain_autoscaler_gets_no_annotations() -> None:
    served = {
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "maxReplicas": 1,
            "targetCPUUtilizationPercentage": 50,
        },
        "status": {},
    }
    stored = HPA_V1.write(served)
    assert "annotations" not in stored["metadata"]
    again = HPA_V1.read(stored)
    assert again["spec"] == served["spec"]


def test_both_forms_of_an_event_say_the_same() -> None:
    stored = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": "e"},
        "involvedObject": {"name": "p"},
        "message": "hello",
        "source": {"component": "kubelet"},
        "reportingComponent": "kubelet",
        "count": 2,
    }
    served = EVENTS_V1.read(stored)
    assert served["regarding"] == {"name": "p"}
    assert served["note"] == "hello"
    assert served["deprecatedCount"] == 2
    assert served["reportingController"] == "kubelet"
    assert EVENTS_V1.write(served) == stored


def test_what_v1_always_writes_is_written() -> None:
    served = HPA_V1.read({**V2, "status": {}})
    assert served["status"] == {"currentReplicas": 0, "desiredReplicas": 0}
    served = EVENTS_V1.read({"metadata": {"name": "a"}, "involvedObject": {"name": "x"}})
    assert served["deprecatedSource"] == {}
    assert served["regarding"] == {"name": "x"}
