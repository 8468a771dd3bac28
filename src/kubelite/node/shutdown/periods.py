"""How long pods may take to end before the node shuts down, by their priority. Pure."""

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import parse_duration
from kubelite.node.pods import SYSTEM_CRITICAL_PRIORITY

_PRIORITY = re.compile(r"-?[0-9]{1,10}")
_INT32 = range(-(2**31), 2**31)


class Period(Struct, frozen=True):
    """How long the pods of a priority, up to that of the next period, may take to end."""

    priority: int
    seconds: int


def whole_seconds(text: str) -> int:
    """Return a duration in seconds; raises ValueError if it is below one, unless it is none at all."""
    seconds = parse_duration(text).total_seconds()
    if seconds and seconds < 1:
        raise ValueError("must be either zero or otherwise >= 1 sec")
    return int(seconds)


def periods_of(total: str, critical: str, by_priority: Sequence[str] = ()) -> tuple[Period, ...]:
    """Return the periods that three settings say, none if a shutdown does not wait. Raises ValueError.

    Args:
        total: The duration that all pods have together.
        critical: The part of it that critical pods have, at the end.
        by_priority: ``PRIORITY=DURATION`` each, instead of the two.
    """
    whole, last = whole_seconds(total), whole_seconds(critical)
    if by_priority:
        if whole or last:
            raise ValueError("cannot be given together with --shutdown-grace-period")
        return tuple(_period(text) for text in by_priority)
    if last > whole:
        raise ValueError(f"must be >= the part of critical pods, {critical}")
    if not whole:
        return ()
    return Period(0, whole - last), Period(SYSTEM_CRITICAL_PRIORITY, last)


def _period(text: str) -> Period:
    priority, equals, duration = text.partition("=")
    if not equals or not _PRIORITY.fullmatch(priority) or int(priority) not in _INT32:
        raise ValueError(f"{text} must be PRIORITY=DURATION")
    return Period(int(priority), whole_seconds(duration))


def grouped(periods: Sequence[Period], pods: Iterable[Pod]) -> list[tuple[Period, list[Pod]]]:
    """Return each period with its pods, in order of priority; a pod below all periods belongs to the first."""
    ordered = sorted(periods, key=lambda period: period.priority)
    groups: list[tuple[Period, list[Pod]]] = [(period, []) for period in ordered]
    for pod in pods:
        reached = [period for period in ordered if period.priority <= (pod.spec.priority or 0)]
        groups[max(len(reached) - 1, 0)][1].append(pod)
    return groups
