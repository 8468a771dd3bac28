"""The limits between what metrics ask for and the size that is set: minimum, maximum, stabilization, policies."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from kubelite.api.kinds.autoscaling_v2 import (
    HorizontalPodAutoscalerBehavior,
    HPAScalingPolicy,
    HPAScalingRules,
)
from kubelite.control.autoscaling.history import History

PERIOD = timedelta(seconds=15)  # of the limit that an autoscaler without behavior has
FACTOR, AT_LEAST = 2, 4  # ... which may double the pods within it, or have 4
DOWN_WINDOW = timedelta(minutes=5)

READY = ("ReadyForNewScale", "recommended size matches current size")
UP_STABILIZED = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)
DOWN_STABILIZED = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_FAST_UP = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
)
TOO_FAST_DOWN = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)
Why = tuple[str, str]  # reason and message of a condition


class Bounds(Struct, frozen=True):
    """Within what a size is chosen."""

    least: int
    most: int
    behavior: HorizontalPodAutoscalerBehavior | None = None


class Chosen(Struct, frozen=True):
    """A size within the limits, and what the conditions say of it."""

    replicas: int
    able: Why  # of AbleToScale
    limited: bool
    limit: Why  # of ScalingLimited


def chosen(
    recommended: int, current: int, bounds: Bounds, history: History, now: datetime
) -> Chosen:
    """Return the size to set. The recommendation is remembered, the change of size is not."""
    stable, able = _stabilized(recommended, current, bounds.behavior, history, now)
    history.recommend(recommended, now)
    if bounds.behavior is None:
        replicas, limit = _within_default(stable, current, bounds, history, now)
    else:
        replicas, limit = _within_policies(stable, current, bounds, history, now)
    return Chosen(replicas, able, replicas != stable, limit)


def longest_period(behavior: HorizontalPodAutoscalerBehavior | None) -> timedelta:
    """Return the longest time for which a change of size counts."""
    if behavior is None:
        return PERIOD
    rules = (behavior.scaleUp, behavior.scaleDown)
    periods = [_period(policy) for one in rules if one for policy in one.policies]
    return max([PERIOD, *periods])


def _stabilized(
    recommended: int,
    current: int,
    behavior: HorizontalPodAutoscalerBehavior | None,
    history: History,
    now: datetime,
) -> tuple[int, Why]:
    """Return the size between the recent recommendations that is nearest to the current one, and the reason."""
    if behavior is None:
        most = history.most(DOWN_WINDOW, now, recommended)
        return most, READY if most == recommended else DOWN_STABILIZED
    up_window = _window(behavior.scaleUp, timedelta())
    down_window = _window(behavior.scaleDown, DOWN_WINDOW)
    up = history.least(up_window, now, recommended)
    down = history.most(down_window, now, recommended)
    stable = min(max(current, up), down)
    if stable == recommended:
        return stable, READY
    return stable, UP_STABILIZED if recommended >= current else DOWN_STABILIZED


def _within_default(
    wanted: int, current: int, bounds: Bounds, history: History, now: datetime
) -> tuple[int, Why]:
    # Upstream limits each turn, and makes one every 15 s. Here a change causes a turn at once, so time is counted.
    start = min(current, history.start_of(PERIOD, current, now))
    limit = max(FACTOR * start, AT_LEAST, current)
    most, why = (limit, TOO_FAST_UP) if bounds.most > limit else (bounds.most, TOO_MANY)
    if wanted < bounds.least:
        return bounds.least, TOO_FEW
    if wanted > most:
        return most, why
    return wanted, WITHIN


def _within_policies(
    wanted: int, current: int, bounds: Bounds, history: History, now: datetime
) -> tuple[int, Why]:
    assert bounds.behavior is not None, "without it the default limit holds"
    if wanted > current:
        limit = max(current, _up_limit(bounds.behavior.scaleUp, current, history, now))
        most, why = (limit, TOO_FAST_UP) if bounds.most > limit else (bounds.most, TOO_MANY)
        if wanted > most:
            return most, why
    elif wanted < current:
        limit = min(current, _down_limit(bounds.behavior.scaleDown, current, history, now))
        least, why = (limit, TOO_FAST_DOWN) if bounds.least < limit else (bounds.least, TOO_FEW)
        if wanted < least:
            return least, why
    return wanted, WITHIN


def _up_limit(rules: HPAScalingRules | None, current: int, history: History, now: datetime) -> int:
    if _is_disabled(rules):
        return current
    sizes = []
    for policy in _policies(rules):
        start = history.start_of(_period(policy), current, now)
        if policy.type == "Pods":
            sizes.append(start + policy.value)
        else:
            # Rounded up, as otherwise few pods could never become more.
            sizes.append(math.ceil(Decimal(start) * (100 + policy.value) / 100))
    if not sizes:
        return current
    return min(sizes) if _takes_least(rules) else max(sizes)


def _down_limit(
    rules: HPAScalingRules | None, current: int, history: History, now: datetime
) -> int:
    if _is_disabled(rules):
        return current
    sizes = []
    for policy in _policies(rules):
        start = history.start_of(_period(policy), current, now)
        if policy.type == "Pods":
            sizes.append(start - policy.value)
        else:
            sizes.append(int(Decimal(start) * (100 - policy.value) / 100))
    if not sizes:
        return current
    return max(sizes) if _takes_least(rules) else min(sizes)


def _policies(rules: HPAScalingRules | None) -> Sequence[HPAScalingPolicy]:
    return rules.policies if rules is not None else ()


def _is_disabled(rules: HPAScalingRules | None) -> bool:
    return rules is not None and rules.selectPolicy == "Disabled"


def _takes_least(rules: HPAScalingRules | None) -> bool:
    return rules is not None and rules.selectPolicy == "Min"


def _window(rules: HPAScalingRules | None, default: timedelta) -> timedelta:
    if rules is None or rules.stabilizationWindowSeconds is None:
        return default
    return timedelta(seconds=rules.stabilizationWindowSeconds)


def _period(policy: HPAScalingPolicy) -> timedelta:
    return timedelta(seconds=policy.periodSeconds)
