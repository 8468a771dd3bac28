"""Decides when a node is under pressure and which thresholds drive evictions: pure steps of a small state.

A threshold counts once it is met, and for as long as its minimum reclaim is not reached. It drives evictions after its
grace period. A condition stays for the transition period after it was last observed, so that it does not flap. Times
are seconds of a clock that never jumps.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from kubelite.node.eviction.observations import Observations
from kubelite.node.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    CONDITIONS,
    MEMORY,
    Threshold,
)


class Pressure(Struct, frozen=True):
    """The state between two steps."""

    first_met: Mapping[Threshold, float] = {}  # since when each threshold is met without a break
    last_observed: Mapping[str, float] = {}  # when each condition was last observed
    due: tuple[Threshold, ...] = ()  # whose grace period is over; those for memory first
    conditions: tuple[str, ...] = ()  # of the node, sorted


def step(
    before: Pressure,
    thresholds: Sequence[Threshold],
    observations: Observations,
    now: float,
    transition_seconds: float,
) -> Pressure:
    """Return the next state for what is observed now."""
    met = met_of(thresholds, observations)
    unresolved = met_of(before.due, observations, with_reclaim=True)
    met += [threshold for threshold in unresolved if threshold not in met]
    first_met = {threshold: before.first_met.get(threshold, now) for threshold in met}
    observed = {CONDITIONS[threshold.signal]: now for threshold in met}
    last_observed = {**before.last_observed, **observed}
    lasting = {
        condition: at
        for condition, at in last_observed.items()
        if condition in observed or now - at < transition_seconds
    }
    due = [one for one, since in first_met.items() if now - since >= one.grace_seconds]
    return Pressure(first_met, lasting, tuple(sorted(due, key=_urgency)), tuple(sorted(lasting)))


def met_of(
    thresholds: Iterable[Threshold], observations: Observations, *, with_reclaim: bool = False
) -> list[Threshold]:
    """Return the thresholds that are met, with their minimum reclaim on top if asked."""
    met = []
    for threshold in thresholds:
        observed = observations.get(threshold.signal)
        if observed is None:
            continue
        amount = threshold.amount.of(observed.capacity)
        if with_reclaim and threshold.minimum_reclaim is not None:
            amount += threshold.minimum_reclaim.of(observed.capacity)
        if amount > observed.available:
            met.append(threshold)
    return met


def next_deadline(pressure: Pressure, now: float) -> float | None:
    """Return in how many seconds the next grace period ends, or None."""
    left = [
        since + threshold.grace_seconds - now
        for threshold, since in pressure.first_met.items()
        if threshold not in pressure.due
    ]
    return max(min(left), 0.0) if left else None


def _urgency(threshold: Threshold) -> bool:
    return threshold.signal not in (MEMORY, ALLOCATABLE_MEMORY)
