from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.autoscaling_v2 import MetricSpec, MetricStatus
from kubelite.api.kinds.meta import LabelSelector
from kubelite.control.autoscaling.proposals import (
    Failure,
    Proposal,
    failed,
    shown_selector,
    verdict,
)

WRONG = Failure("FailedGetPodsMetric", "why", "failed to get pods metric value: why")


def proposal(replicas: int) -> Proposal:
    return Proposal(replicas, f"m{replicas}", MetricStatus(type="Pods"))


@pytest.mark.parametrize(
    ("answers", "replicas", "metric"),
    [
        ([proposal(3), proposal(5), proposal(4)], 5, "m5"),
        ([proposal(0), proposal(0)], 0, "m0"),
        ([WRONG, proposal(6)], 6, "m6"),
        ([proposal(4), WRONG], 4, "m4"),
        ([proposal(3), WRONG], None, ""),
        ([WRONG], None, ""),
        ([], None, ""),
    ],
)
def test_verdicts(answers: list[Any], replicas: int | None, metric: str) -> None:
    found = verdict(answers, 4)
    assert (found.replicas, found.metric) == (replicas, metric)
    assert len(found.statuses) == len(answers)
    if WRONG in answers:
        assert found.failure == WRONG
        count = f"1 invalid out of {len(answers)}"
        assert found.error == (
            f"invalid metrics ({count}), first error is: failed to get pods metric value: why"
        )


@pytest.mark.parametrize(
    ("spec", "summary"),
    [
        ({"type": "Resource", "resource": {"name": "cpu"}}, "failed to get cpu resource metric"),
        (
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c"}},
            "failed to get c container metric",
        ),
        ({"type": "Object"}, "failed to get object metric"),
        ({"type": "Pods"}, "failed to get pods metric"),
        (
            {"type": "External", "external": {"metric": {"name": "q"}}},
            "failed to get q external metric",
        ),
    ],
)
def test_failures_are_named_by_their_metric(spec: dict[str, Any], summary: str) -> None:
    found = failed(msgspec.convert(spec, MetricSpec), "outer", "inner")
    assert (found.message, found.summary) == ("inner", f"{summary} value: outer")


def test_selectors_are_shown_as_go_shows_them() -> None:
    assert shown_selector(None) == "nil"
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [{"key": "k", "operator": "In", "values": ["x", "y"]}],
    }
    assert shown_selector(msgspec.convert(selector, LabelSelector)) == (
        "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:"
        "[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[x y],},},}"
    )
