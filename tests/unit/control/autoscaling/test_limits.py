from datetime import timedelta
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.autoscaling_v2 import HorizontalPodAutoscalerBehavior as Behavior
from kubelite.control.autoscaling.history import History
from kubelite.control.autoscaling.limits import Bounds, chosen, longest_period
from unit.control.autoscaling.pods import NOW


def rules(*policies: tuple[str, int, int], select: str = "Max", window: int = 0) -> dict[str, Any]:
    return {
        "stabilizationWindowSeconds": window,
        "selectPolicy": select,
        "policies": [
            {"type": type_, "value": value, "periodSeconds": period}
            for type_, value, period in policies
        ],
    }


def behavior(up: dict[str, Any] | None = None, down: dict[str, Any] | None = None) -> Behavior:
    whole = {
        "scaleUp": up or rules(("Pods", 4, 15), ("Percent", 100, 15)),
        "scaleDown": down or rules(("Percent", 100, 15), window=300),
    }
    return msgspec.convert(whole, Behavior)


def size(
    recommended: int,
    current: int,
    bounds: Bounds,
    history: History | None = None,
    after: float = 0,
) -> tuple[int, str]:
    now = NOW + timedelta(seconds=after)
    known = history or History(0, NOW - timedelta(hours=2))
    found = chosen(recommended, current, bounds, known, now)
    assert found.limited == (found.limit[0] != "DesiredWithinRange")
    return found.replicas, found.limit[0]


@pytest.mark.parametrize(
    ("recommended", "current", "bounds", "expected"),
    [
        (5, 3, Bounds(1, 10), (5, "DesiredWithinRange")),
        (0, 3, Bounds(2, 10), (2, "TooFewReplicas")),
        (50, 9, Bounds(1, 10), (10, "TooManyReplicas")),
        (50, 3, Bounds(1, 100), (6, "ScaleUpLimit")),
        (50, 1, Bounds(1, 100), (4, "ScaleUpLimit")),
        (50, 10, Bounds(1, 100, behavior(rules(("Pods", 3, 60)))), (13, "ScaleUpLimit")),
        (50, 10, Bounds(1, 12, behavior(rules(("Pods", 3, 60)))), (12, "TooManyReplicas")),
        (50, 3, Bounds(1, 99, behavior(rules(("Percent", 10, 60)))), (4, "ScaleUpLimit")),
        (50, 10, Bounds(1, 99, behavior()), (20, "ScaleUpLimit")),
        (50, 2, Bounds(1, 99, behavior()), (6, "ScaleUpLimit")),
        (1, 10, Bounds(1, 99, behavior(None, rules(("Pods", 3, 60)))), (7, "ScaleDownLimit")),
        (1, 10, Bounds(8, 99, behavior(None, rules(("Pods", 3, 60)))), (8, "TooFewReplicas")),
        (1, 10, Bounds(1, 99, behavior(None, rules(("Percent", 25, 60)))), (7, "ScaleDownLimit")),
        (1, 10, Bounds(1, 99, behavior(None, rules(select="Disabled"))), (10, "ScaleDownLimit")),
        (50, 10, Bounds(1, 99, behavior(rules(select="Disabled"))), (10, "ScaleUpLimit")),
    ],
)
def test_limits(recommended: int, current: int, bounds: Bounds, expected: tuple[int, str]) -> None:
    assert size(recommended, current, bounds) == expected


@pytest.mark.parametrize(("select", "up", "down"), [("Max", 20, 5), ("Min", 13, 7)])
def test_of_several_policies_one_is_selected(select: str, up: int, down: int) -> None:
    bounds = Bounds(
        1,
        99,
        behavior(
            rules(("Pods", 3, 60), ("Percent", 100, 60), select=select),
            rules(("Pods", 3, 60), ("Percent", 50, 60), select=select),
        ),
    )
    assert size(50, 10, bounds)[0] == up
    assert size(1, 10, bounds)[0] == down


def test_changes_within_the_period_count() -> None:
    bounds = Bounds(1, 99, behavior(rules(("Pods", 3, 60))))
    history = History(10, NOW)
    history.scaled(10, 12, longest_period(bounds.behavior), NOW)
    assert size(50, 12, bounds, history, after=30) == (13, "ScaleUpLimit")
    history.scaled(12, 13, longest_period(bounds.behavior), NOW + timedelta(seconds=30))
    assert size(50, 13, bounds, history, after=59) == (13, "ScaleUpLimit")
    assert size(50, 13, bounds, history, after=61) == (15, "ScaleUpLimit")
    assert size(50, 13, bounds, history, after=91) == (16, "ScaleUpLimit")


def test_removed_pods_may_come_back() -> None:
    bounds = Bounds(1, 99, behavior(rules(("Pods", 3, 60))))
    history = History(10, NOW)
    history.scaled(10, 6, longest_period(bounds.behavior), NOW)
    assert size(50, 6, bounds, history, after=30)[0] == 13


def test_without_behavior_a_change_counts_for_one_period() -> None:
    bounds, history = Bounds(1, 99), History(3, NOW)
    assert size(50, 3, bounds, history)[0] == 6
    history.scaled(3, 6, longest_period(None), NOW)
    assert size(50, 6, bounds, history, after=2) == (6, "ScaleUpLimit")
    assert size(50, 6, bounds, history, after=16) == (12, "ScaleUpLimit")


def test_removal_waits_for_the_highest_recommendation_to_pass() -> None:
    for bounds in (Bounds(1, 99), Bounds(1, 99, behavior())):
        history = History(10, NOW)
        found = chosen(2, 10, bounds, history, NOW + timedelta(seconds=15))
        assert (found.replicas, found.able[0]) == (10, "ScaleDownStabilized")
        found = chosen(4, 10, bounds, history, NOW + timedelta(seconds=200))
        assert found.replicas == 10
        found = chosen(2, 10, bounds, history, NOW + timedelta(seconds=301))
        assert (found.replicas, found.able[0]) == (4, "ScaleDownStabilized")
        found = chosen(2, 4, bounds, history, NOW + timedelta(seconds=501))
        assert (found.replicas, found.able[0]) == (2, "ReadyForNewScale")


def test_addition_waits_for_the_lowest_recommendation_to_pass() -> None:
    bounds = Bounds(1, 99, behavior(rules(("Percent", 900, 15), window=60)))
    history = History(10, NOW)
    found = chosen(20, 10, bounds, history, NOW + timedelta(seconds=30))
    assert (found.replicas, found.able[0]) == (10, "ScaleUpStabilized")
    assert chosen(30, 10, bounds, history, NOW + timedelta(seconds=61)).replicas == 20


def test_memory_does_not_grow_with_the_number_of_evaluations() -> None:
    history, now = History(1, NOW), NOW
    for tick in range(12_000):
        now = NOW + timedelta(seconds=tick / 2)
        history.recommend(tick % 7, now)
        history.scaled(1, 2, timedelta(seconds=1800), now)
    assert len(history.recommendations) <= 3600 // 5 + 2
    assert len(history._added) <= 1802
    assert history.most(timedelta(seconds=60), now, 0) == 6
