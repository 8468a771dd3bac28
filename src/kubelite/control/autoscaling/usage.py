"""The use that metrics report, in thousandths, and its ratio to a target.

Integers are divided toward zero and capped as Go's are, so that the numbers in a status are those of Kubernetes.
"""

import math
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import datetime, timedelta

from msgspec import Struct

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1


class Uncountable(Exception):
    """A metric asks for no number of replicas; the message says why, in Kubernetes' words."""


class PodMetric(Struct, frozen=True):
    """The use of one pod: `value` in thousandths, measured over the `window` that ended at `timestamp`."""

    value: int
    timestamp: datetime | None = None  # None: the pod was not measured, its use is assumed
    window: timedelta = timedelta()


Metrics = MutableMapping[str, PodMetric]  # by the name of the pod


class Utilization(Struct, frozen=True):
    """The use of pods as a percentage of what they request."""

    ratio: float  # to the target
    percent: int
    average: int  # use of a pod, in thousandths


class Tolerances(Struct, frozen=True):
    """How far a ratio may be from 1 without a change, below and above it."""

    down: float
    up: float

    def includes(self, ratio: float) -> bool:
        """Return whether a ratio causes no change."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


def utilization(
    metrics: Mapping[str, PodMetric], requests: Mapping[str, int], target_percent: int
) -> Utilization:
    """Return the utilization of the pods that have both; raises Uncountable if together they request nothing."""
    known = [name for name in metrics if name in requests]
    used = sum(metrics[name].value for name in known)
    requested = sum(requests[name] for name in known)
    if requested == 0:
        raise Uncountable("no metrics returned matched known pods")
    percent = min(quotient(used * 100, requested), INT32_MAX)
    return Utilization(percent / target_percent, percent, quotient(used, len(known)))


def average_use(metrics: Mapping[str, PodMetric]) -> int:
    """Return the average of at least one pod, in thousandths."""
    return quotient(sum(metric.value for metric in metrics.values()), len(metrics))


def total_use(values: Iterable[int]) -> int:
    """Return the sum, capped at the greatest 64-bit integer."""
    return min(sum(values), INT64_MAX)


def ratio(used: int, target: int) -> float:
    """Return the quotient; for a target of 0 infinity or, if nothing is used, NaN."""
    if target:
        return used / target
    return math.copysign(math.inf, used) if used else math.nan


def rounded_up(replicas: float) -> int:
    """Return a number of replicas rounded up, capped at the greatest 32-bit integer."""
    return INT32_MAX if replicas >= INT32_MAX else math.ceil(replicas)


def quotient(dividend: int, divisor: int) -> int:
    """Return the quotient rounded toward zero."""
    size = abs(dividend) // abs(divisor)
    return size if (dividend < 0) == (divisor < 0) else -size
