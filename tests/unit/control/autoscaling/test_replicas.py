from collections.abc import Sequence

import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.control.autoscaling.replicas import (
    Answer,
    Measured,
    Scaled,
    by_average,
    by_total,
    by_total_per_pod,
    by_utilization,
)
from kubelite.control.autoscaling.usage import INT32_MAX, INT64_MAX, Tolerances, Uncountable
from unit.control.autoscaling.pods import BY, metrics, pod, pods, scaled


def wanted(all_pods: Sequence[Pod], target: int, *used: int, by: Measured = BY) -> Answer:
    return by_utilization(metrics(*used), target, "cpu", "", scaled(all_pods), by)


@pytest.mark.parametrize(
    ("all_pods", "target", "used", "replicas", "percent"),
    [
        (pods(3), 30, (300, 500, 700), 5, 50),  # 50 % of a target of 30 %
        (pods(5), 100, (100, 300, 500, 250, 250), 2, 28),
        (pods(3), 100, (1010, 1030, 1020), 3, 102),  # within the tolerance
        (pods(3), 100, (890, 890, 890), 3, 89),  # 0.89 is just outside, yet rounds up
        (pods(4), 100, (880, 880, 880, 800), 4, 86),
        (pods(10), 100, tuple([500] * 10), 5, 50),
    ],
)
def test_utilization_of_ready_pods(
    all_pods: Sequence[Pod], target: int, used: tuple[int, ...], replicas: int, percent: int
) -> None:
    answer = wanted(all_pods, target, *used)
    assert (answer.replicas, answer.percent) == (replicas, percent)


def test_unready_pods_do_not_lower_the_use_but_damp_what_is_added() -> None:
    # As many as 50 % of three ready ones would need; the unready one is assumed to use nothing when pods are added.
    cold = [*pods(3), pod("p3", ready=False, started=60)]
    assert wanted(cold, 30, 400, 500, 700).replicas == 6
    assert wanted(pods(3), 30, 400, 500, 700).replicas == 6
    # With metrics it counts no more than without.
    assert wanted(cold, 30, 400, 500, 700, 900).replicas == 6
    # Too hot for one, but not for two.
    two = [pod("p0"), pod("p1", phase="Pending")]
    assert wanted(two, 100, 1500).replicas == 2


def test_unready_pods_are_left_out_when_pods_are_removed() -> None:
    two = [*pods(4), pod("p4", ready=False, started=60)]
    assert wanted(two, 100, 400, 400, 400, 400, 3000).replicas == 2


def test_missing_pods_are_assumed_idle_when_adding_and_busy_when_removing() -> None:
    assert wanted(pods(4), 50, 1000, 1000).replicas == 4
    assert wanted(pods(3), 50, 1000, 1000).replicas == 4
    assert wanted(pods(4), 100, 300, 300).replicas == 3  # (0.3 + 0.3 + 1 + 1) / 4
    # A target above 100 % is what a missing pod is assumed to use.
    assert wanted(pods(2), 200, 1000).replicas == 2


def test_what_is_assumed_never_turns_the_direction() -> None:
    assert wanted(pods(5), 100, 1200).replicas == 5
    assert wanted(pods(5), 100, 600).replicas == 5
    many = scaled(pods(5), 2)  # more pods than replicas, as in a rollout
    assert by_utilization(metrics(500, 500), 100, "cpu", "", many, BY).replicas == 2


@pytest.mark.parametrize("how", [{"deleted": True}, {"phase": "Failed"}])
def test_pods_that_end_do_not_count(how: dict[str, object]) -> None:
    ending = [*pods(2), pod("p2", **how)]  # type: ignore[arg-type]  # one of its keywords
    assert wanted(ending, 50, 1000, 1000, 5000).replicas == 4


def test_tolerances_differ_by_direction() -> None:
    by = Measured(Tolerances(down=0.5, up=0.01), BY.readiness, BY.now)
    assert wanted(pods(10), 100, *[600] * 10, by=by).replicas == 10
    assert wanted(pods(10), 100, *[1020] * 10, by=by).replicas == 11


@pytest.mark.parametrize(
    ("all_pods", "used", "message"),
    [
        ([], (100,), "no pods returned by selector while calculating replica count"),
        (pods(1, ready=False, started=10), (100,), "did not receive metrics for targeted pods"),
        (pods(1), (), "did not receive metrics for targeted pods (pods might be unready)"),
        (pods(1, request=None), (100,), "missing request for cpu in container c of Pod p0"),
        (pods(1, request="0"), (100,), "no metrics returned matched known pods"),
    ],
)
def test_why_there_is_no_answer(
    all_pods: Sequence[Pod], used: tuple[int, ...], message: str
) -> None:
    with pytest.raises(Uncountable) as raised:
        wanted(all_pods, 100, *used)
    assert message in str(raised.value)


def test_averages() -> None:
    assert by_average(metrics(20000, 10000, 30000), 15000, "", scaled(pods(3)), BY).replicas == 4
    answer = by_average(metrics(12000, 12000, 12000, 12000, 12000), 20000, "", scaled(pods(5)), BY)
    assert answer == Answer(3, 12000)
    # A missing pod is assumed at the target when pods are removed, at 0 when they are added.
    assert by_average(metrics(500, 500, 500), 1000, "", scaled(pods(4)), BY).replicas == 3
    assert by_average(metrics(3000, 3000, 3000), 1000, "", scaled(pods(4)), BY).replicas == 9
    # A custom metric does not mind that a pod is cold.
    cold = pods(2, ready=False, started=1)
    assert by_average(metrics(3000, 3000), 1000, "", scaled(cold), BY).replicas == 6


def test_totals() -> None:
    three = scaled(pods(3))
    assert by_total([20000], 15000, three, BY) == Answer(4, 20000)
    assert by_total([5000, 3600], 8000, three, BY) == Answer(3, 8600)
    assert by_total([3000], 9000, three, BY).replicas == 1
    assert by_total([5000], 2000, Scaled(0, 0, ()), BY).replicas == 3  # from zero
    unready = scaled([*pods(2), pod("p2", ready=False)])
    assert by_total([20000], 10000, unready, BY).replicas == 4
    with pytest.raises(Uncountable, match="unable to calculate ready pods: no pods returned"):
        by_total([20000], 10000, Scaled(3, 3, ()), BY)


def test_totals_per_pod() -> None:
    assert by_total_per_pod([8600], 2150, Scaled(3, 3, ()), BY) == Answer(4, 2867)
    assert by_total_per_pod([8600], 2867, Scaled(3, 3, ()), BY).replicas == 3
    assert by_total_per_pod([1000], 500, Scaled(3, 0, ()), BY) == Answer(2, 1000)


def test_huge_values_are_capped() -> None:
    huge = [INT64_MAX, INT64_MAX]
    assert by_total(huge, 1, scaled(pods(3)), BY) == Answer(INT32_MAX, INT64_MAX)
    assert by_total_per_pod(huge, 1, Scaled(3, 3, ()), BY) == Answer(INT32_MAX, INT64_MAX)
    used = metrics(INT64_MAX)
    answer = by_utilization(used, 1, "cpu", "", scaled(pods(1, request="1m")), BY)
    assert answer.replicas <= INT32_MAX
    assert answer.percent == INT32_MAX
