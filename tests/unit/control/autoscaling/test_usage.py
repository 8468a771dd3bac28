import math

import pytest

from kubelite.control.autoscaling.usage import (
    INT32_MAX,
    INT64_MAX,
    PodMetric,
    Tolerances,
    average_use,
    quotient,
    ratio,
    rounded_up,
    total_use,
    utilization,
)


@pytest.mark.parametrize(
    ("dividend", "divisor", "expected"), [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (-7, -2, 3)]
)
def test_quotients_are_cut_as_in_go(dividend: int, divisor: int, expected: int) -> None:
    assert quotient(dividend, divisor) == expected


def test_ratios_to_nothing() -> None:
    assert ratio(1, 0) == math.inf
    assert ratio(-1, 0) == -math.inf
    assert math.isnan(ratio(0, 0))
    assert not Tolerances(0.1, 0.1).includes(ratio(0, 0))


def test_caps() -> None:
    assert rounded_up(2.0001) == 3
    assert rounded_up(math.inf) == INT32_MAX
    assert total_use([INT64_MAX, 1]) == INT64_MAX


def test_pods_without_requests_of_theirs_do_not_count() -> None:
    metrics = {"a": PodMetric(50), "b": PodMetric(70), "stranger": PodMetric(10_000)}
    found = utilization(metrics, {"a": 100, "b": 100, "idle": 100}, 50)
    assert (found.percent, found.average, found.ratio) == (60, 60, 1.2)
    assert average_use({"a": PodMetric(1), "b": PodMetric(2)}) == 1
