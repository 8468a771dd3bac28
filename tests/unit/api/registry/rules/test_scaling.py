"""Rules of autoscalers and disruption budgets."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import scaling

AUTOSCALER = {
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 80},
                },
            }
        ],
    }
}


def test_good_ones_pass() -> None:
    assert lines(scaling.autoscaler(AUTOSCALER)) == []
    assert lines(scaling.budget({"spec": {"minAvailable": "50%"}})) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "spec.maxReplicas",
            0,
            "spec.maxReplicas: Required value: must be set and greater than 0",
        ),
        (
            "spec.minReplicas",
            9,
            "spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`",
        ),
        ("spec.scaleTargetRef.name", None, "spec.scaleTargetRef.name: Required value"),
        (
            "spec.metrics.0.resource.target.averageUtilization",
            None,
            (
                "spec.metrics[0].resource.target.averageUtilization: Required value: "
                "must set either a target raw value or a target utilization"
            ),
        ),
        (
            "spec.metrics.0.type",
            "Pods",
            (
                "spec.metrics[0].pods: Required value: "
                "must populate information for the given metric source"
            ),
        ),
        (
            "spec.metrics.0",
            {
                "type": "External",
                "external": {
                    "metric": {"name": "../../secrets"},
                    "target": {"type": "Value", "value": "1"},
                },
            },
            (
                'spec.metrics[0].external.metric.name: Invalid value: "../../secrets": '
                "may not contain '/'"
            ),
        ),
        (
            "spec.behavior",
            {
                "scaleUp": {
                    "tolerance": "-100m",
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}],
                }
            },
            (
                'spec.behavior.scaleUp.tolerance: Invalid value: "-100m": '
                "must be greater than or equal to 0"
            ),
        ),
        (
            "spec.behavior",
            {"scaleUp": {"policies": []}},
            "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
        ),
    ],
)
def test_wrong_autoscalers_are_named(path: str, value: Any, line: str) -> None:
    assert line in lines(scaling.autoscaler(changed(AUTOSCALER, path, value)))


def test_budgets_tell_one_bound() -> None:
    (line,) = lines(scaling.budget({"spec": {"minAvailable": 1, "maxUnavailable": 1}}))
    assert line.endswith("minAvailable and maxUnavailable cannot be both set")
    assert lines(scaling.budget({"spec": {"minAvailable": "101%"}})) == [
        'spec.minAvailable: Invalid value: "101%": must not be greater than 100%'
    ]
