"""How many replicas a metric asks for.

The number is that of the pods that count, times the ratio of their use to the target. Pods that are missing or not
ready are assumed to be on the cautious side, and a result that turns the direction is no change at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.control.autoscaling.pod_groups import (
    PodGroups,
    Readiness,
    grouped,
    ready_count,
    requests_of,
    require_pods,
)
from kubelite.control.autoscaling.usage import (
    INT64_MAX,
    Metrics,
    PodMetric,
    Tolerances,
    Uncountable,
    average_use,
    quotient,
    ratio,
    rounded_up,
    total_use,
    utilization,
)

NONE_RECEIVED = "did not receive metrics for targeted pods (pods might be unready)"
FULL_PERCENT = (
    100  # of its request; a missing pod is assumed to use so much before pods are removed
)


class Scaled(Struct, frozen=True):
    """The target's replicas, and the pods that its selector selects."""

    spec_replicas: int
    status_replicas: int
    pods: Sequence[Pod]


class Measured(Struct, frozen=True):
    """What to weigh pods by."""

    tolerances: Tolerances
    readiness: Readiness
    now: datetime


class Answer(Struct, frozen=True):
    """The replicas that a metric asks for, and its value: in thousandths, and as a percentage if it is one."""

    replicas: int
    value: int
    percent: int | None = None


def by_utilization(
    metrics: Metrics,
    target_percent: int,
    resource: str,
    container: str,
    scaled: Scaled,
    by: Measured,
) -> Answer:
    """Return the replicas for a target utilization of what pods request; `metrics` is changed. Raises Uncountable."""
    require_pods(scaled.pods)
    groups = _counted(metrics, resource, scaled, by)
    requests = requests_of(scaled.pods, container, resource)
    found = utilization(metrics, requests, target_percent)
    assumed_percent = max(FULL_PERCENT, target_percent)
    replicas = _replicas(
        metrics,
        groups,
        found.ratio,
        lambda name: quotient(requests[name] * assumed_percent, FULL_PERCENT),
        lambda: utilization(metrics, requests, target_percent).ratio,
        scaled.spec_replicas,
        by.tolerances,
    )
    return Answer(replicas, found.average, found.percent)


def by_average(
    metrics: Metrics, target: int, resource: str, scaled: Scaled, by: Measured
) -> Answer:
    """Return the replicas for a target average of pods, in thousandths; `metrics` is changed. Raises Uncountable.

    `resource` is "" for a metric that is not of a resource.
    """
    require_pods(scaled.pods)
    groups = _counted(metrics, resource, scaled, by)
    average = average_use(metrics)
    replicas = _replicas(
        metrics,
        groups,
        ratio(average, target),
        lambda _: target,
        lambda: ratio(average_use(metrics), target),
        scaled.spec_replicas,
        by.tolerances,
    )
    return Answer(replicas, average)


def by_total(values: Iterable[int], target: int, scaled: Scaled, by: Measured) -> Answer:
    """Return the replicas for a target of a total that pods do not report themselves. Raises Uncountable.

    Without replicas the ratio alone is their number, so that a target can be scaled from zero.
    """
    used = total_use(values)
    ratio_now = ratio(used, target)
    if scaled.spec_replicas == 0:
        return Answer(rounded_up(ratio_now), used)
    if by.tolerances.includes(ratio_now):
        return Answer(scaled.spec_replicas, used)
    try:
        ready = ready_count(scaled.pods)
    except Uncountable as error:
        raise Uncountable(f"unable to calculate ready pods: {error}") from error
    return Answer(rounded_up(ratio_now * ready), used)


def by_total_per_pod(values: Iterable[int], target: int, scaled: Scaled, by: Measured) -> Answer:
    """Return the replicas for a target share of a total for each replica; the value is the share."""
    used, replicas = total_use(values), scaled.status_replicas
    wanted = replicas
    if not by.tolerances.includes(ratio(used, target * replicas)):
        wanted = rounded_up(ratio(used, target))
    if used == INT64_MAX:
        return Answer(wanted, used)
    return Answer(wanted, -(-used // max(1, replicas)))


def _counted(metrics: Metrics, resource: str, scaled: Scaled, by: Measured) -> PodGroups:
    """Remove the metrics of pods that do not count; raises Uncountable if none remains."""
    groups = grouped(scaled.pods, metrics, resource, by.readiness, by.now)
    for name in groups.ignored | groups.unready:
        metrics.pop(name, None)
    if not metrics:
        raise Uncountable(NONE_RECEIVED)
    return groups


def _replicas(
    metrics: Metrics,
    groups: PodGroups,
    ratio_now: float,
    assumed: Callable[[str], int],
    ratio_again: Callable[[], float],
    current: int,
    tolerances: Tolerances,
) -> int:
    """Return the replicas for a ratio.

    `assumed` returns the use of a missing pod if pods are to be removed; if pods are to be added it uses nothing.
    `ratio_again` returns the ratio with the pods that are put into `metrics` here.
    """
    adds_unready = bool(groups.unready) and ratio_now > 1.0
    if not adds_unready and not groups.missing:
        if tolerances.includes(ratio_now):
            return current
        return rounded_up(ratio_now * groups.ready)
    if ratio_now < 1.0:
        _assume(metrics, {name: assumed(name) for name in groups.missing})
    elif ratio_now > 1.0:
        _assume(metrics, dict.fromkeys(groups.missing, 0))
    if adds_unready:
        _assume(metrics, dict.fromkeys(groups.unready, 0))
    new_ratio = ratio_again()
    turns = (ratio_now < 1.0 < new_ratio) or (new_ratio < 1.0 < ratio_now)
    if turns or tolerances.includes(new_ratio):
        return current
    replicas = rounded_up(new_ratio * len(metrics))
    if (new_ratio < 1.0 and replicas > current) or (new_ratio > 1.0 and replicas < current):
        return current  # so many pods were assumed that the number turns the direction
    return replicas


def _assume(metrics: Metrics, values: Mapping[str, int]) -> None:
    for name, value in values.items():
        metrics[name] = PodMetric(value)
