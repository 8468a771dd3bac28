from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from unit.control.autoscaling.pods import metrics, pods

from kubelite.api.kinds.autoscaling_v2 import HorizontalPodAutoscalerBehavior as Behavior
from kubelite.control.autoscaling.history import History
from kubelite.control.autoscaling.limits import Bounds, chosen, longest_period
from kubelite.control.autoscaling.pod_groups import Readiness
from kubelite.control.autoscaling.replicas import Measured, Scaled, by_average, by_utilization
from kubelite.control.autoscaling.usage import Tolerances, Uncountable

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BY = Measured(Tolerances(0.1, 0.1), Readiness(), NOW)

policies = st.lists(
    st.builds(
        lambda type_, value, period: {"type": type_, "value": value, "periodSeconds": period},
        st.sampled_from(("Pods", "Percent")),
        st.integers(1, 200),
        st.integers(1, 120),
    ),
    min_size=1,
    max_size=3,
)
rules = st.builds(
    lambda chosen_policies, select, window: {
        "policies": chosen_policies,
        "selectPolicy": select,
        "stabilizationWindowSeconds": window,
    },
    policies,
    st.sampled_from(("Max", "Min", "Disabled")),
    st.integers(0, 120),
)
behaviors = st.none() | st.builds(
    lambda up, down: msgspec.convert({"scaleUp": up, "scaleDown": down}, Behavior), rules, rules
)
steps = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 1000)), min_size=1, max_size=30)


def _one_by_one(period: int) -> Behavior:
    rule = {
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": period}],
        "stabilizationWindowSeconds": 0,
    }
    return msgspec.convert({"scaleUp": rule, "scaleDown": rule}, Behavior)


# The second rise starts from the size at the start of its period, 2, though the size before it is 1.
@example(1, 9, _one_by_one(2), [(2, 9), (1, 1), (1, 9)])
@given(st.integers(1, 20), st.integers(0, 100), behaviors, steps)
def test_sizes_stay_within_bounds_and_policies(
    least: int, more: int, behavior: Behavior | None, asked: list[tuple[int, int]]
) -> None:
    bounds = Bounds(least, least + more, behavior)
    current, now, history = least, NOW, History(least, NOW)
    sizes = [(now, current)]
    for seconds, recommended in asked:
        now += timedelta(seconds=seconds)
        found = chosen(recommended, current, bounds, history, now)
        assert bounds.least <= found.replicas <= bounds.most
        if found.replicas != current:
            history.scaled(current, found.replicas, longest_period(behavior), now)
            current = found.replicas
        sizes.append((now, current))
    if behavior is not None:
        _assert_policies(behavior, sizes)


def _assert_policies(behavior: Behavior, sizes: list[tuple[datetime, int]]) -> None:
    """Assert for each change that it stays within what the one policy of its direction adds to, or takes from, the
    size at the start of its period.

    A change at the very start of a period is not in it, and one that went the other way within it counts back.
    """
    for (_, before), (at, after) in pairwise(sizes):
        rules, sign = (behavior.scaleUp, 1) if after > before else (behavior.scaleDown, -1)
        assert rules is not None
        if after == before:
            continue
        assert rules.selectPolicy != "Disabled"
        if len(rules.policies) == 1 and rules.policies[0].type == "Pods":
            (policy,) = rules.policies
            start = at - timedelta(seconds=policy.periodSeconds)
            (*_, first) = [sizes[0][1], *(size for then, size in sizes if then <= start)]
            assert sign * (after - first) <= policy.value


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=8),
    st.integers(1, 200),
    st.lists(st.integers(0, 5000), min_size=8, max_size=8),
)
def test_more_load_never_asks_for_less(used: list[int], target: int, extra: list[int]) -> None:
    more = [one + added for one, added in zip(used, extra, strict=False)]
    all_pods = pods(len(used))
    scaled = Scaled(len(used), len(used), all_pods)

    def wanted(values: list[int]) -> tuple[int, int]:
        return (
            by_utilization(metrics(*values), target, "cpu", "", scaled, BY).replicas,
            by_average(metrics(*values), target, "", scaled, BY).replicas,
        )

    less_wanted, more_wanted = wanted(used), wanted(more)
    assert less_wanted[0] <= more_wanted[0]
    assert less_wanted[1] <= more_wanted[1]


@given(
    st.lists(st.sampled_from(("ready", "cold", "pending", "failed")), min_size=1, max_size=8),
    st.lists(st.integers(0, 5000) | st.none(), min_size=8, max_size=8),
    st.integers(1, 200),
)
def test_pods_are_added_only_above_the_target(
    states: list[str], used: list[int | None], target: int
) -> None:
    how: dict[str, dict[str, Any]] = {
        "ready": {},
        "cold": {"ready": False, "started": 20.0},
        "pending": {"phase": "Pending"},
        "failed": {"phase": "Failed"},
    }
    all_pods = [
        msgspec.structs.replace(
            one, metadata=msgspec.structs.replace(one.metadata, name=f"p{number}")
        )
        for number, state in enumerate(states)
        for one in pods(1, **how[state])
    ]
    found = {
        name: one
        for name, one in metrics(*(value or 0 for value in used)).items()
        if used[int(name[1:])] is not None
    }
    scaled = Scaled(len(all_pods), len(all_pods), all_pods)
    try:
        answer = by_utilization(found, target, "cpu", "", scaled, BY)
    except Uncountable:
        return  # no pod is left whose use counts
    assert answer.replicas >= 0
    if answer.replicas > len(all_pods):
        assert answer.percent is not None
        assert answer.percent > target
