"""Reads the flags of eviction and of what a node keeps back. Pure."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from kubelite.api.machinery.times import parse_duration
from kubelite.node.allocatable import (
    InvalidReservation,
    Reservations,
    enforces_pods,
    parse_reservation,
)
from kubelite.node.eviction.defaults import EVICTION_HARD
from kubelite.node.eviction.thresholds import (
    EvictionSettings,
    InvalidThreshold,
    Threshold,
    parse_thresholds,
)

T = TypeVar("T")


class InvalidFlag(ValueError):
    """A flag cannot be used; `str()` says why."""

    def __init__(self, field: str, value: object, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.value = ",".join(value) if isinstance(value, tuple) else value


class Flags(Protocol):
    """The settings of a node that are read here."""

    @property
    def max_pods(self) -> int: ...
    @property
    def reserved_memory(self) -> tuple[str, ...]: ...
    @property
    def system_reserved(self) -> tuple[str, ...]: ...
    @property
    def kube_reserved(self) -> tuple[str, ...]: ...
    @property
    def enforce_node_allocatable(self) -> tuple[str, ...]: ...
    @property
    def eviction_hard(self) -> tuple[str, ...]: ...
    @property
    def eviction_soft(self) -> tuple[str, ...]: ...
    @property
    def eviction_soft_grace_period(self) -> tuple[str, ...]: ...
    @property
    def eviction_minimum_reclaim(self) -> tuple[str, ...]: ...
    @property
    def eviction_max_pod_grace_period(self) -> int: ...
    @property
    def eviction_pressure_transition_period(self) -> str: ...


def check_flags(flags: Flags) -> None:
    """Raise InvalidFlag for a value that cannot be used."""
    if flags.max_pods < 0:
        raise InvalidFlag("max_pods", flags.max_pods, "must not be negative")
    if flags.reserved_memory:
        reason = "this node has no memory manager (policy None); see --system-reserved"
        raise InvalidFlag("reserved_memory", flags.reserved_memory, reason)
    eviction_settings(flags)
    reservations(flags)


def eviction_settings(flags: Flags) -> EvictionSettings:
    """Return the settings of eviction. Raises InvalidFlag."""
    text = flags.eviction_pressure_transition_period
    try:
        transition_seconds = parse_duration(text).total_seconds()
    except ValueError:
        transition_seconds = -1.0
    if transition_seconds < 0:
        raise InvalidFlag(
            "eviction_pressure_transition_period", text, "must be a duration such as 5m"
        )
    return EvictionSettings(
        _thresholds(flags), flags.eviction_max_pod_grace_period, transition_seconds
    )


def reservations(flags: Flags) -> Reservations:
    """Return what the node keeps back. Raises InvalidFlag."""
    system, kube = flags.system_reserved, flags.kube_reserved
    return Reservations(
        _read("system_reserved", system, lambda: parse_reservation(system)),
        _read("kube_reserved", kube, lambda: parse_reservation(kube)),
        _thresholds(flags),
        _enforces(flags),
    )


def _thresholds(flags: Flags) -> tuple[Threshold, ...]:
    allocatable = flags.enforce_node_allocatable
    enforces = _read("enforce_node_allocatable", allocatable, lambda: _enforces(flags))
    hard = flags.eviction_hard or EVICTION_HARD
    soft, graces = flags.eviction_soft, flags.eviction_soft_grace_period
    reclaims = flags.eviction_minimum_reclaim
    # Each flag alone first, so that the one at fault is named.
    _read("eviction_hard", hard, lambda: parse_thresholds(hard))
    _read("eviction_soft_grace_period", graces, lambda: parse_thresholds((), (), graces))
    _read("eviction_minimum_reclaim", reclaims, lambda: parse_thresholds((), (), (), reclaims))
    return _read(
        "eviction_soft",
        soft,
        lambda: parse_thresholds(hard, soft, graces, reclaims, enforces_allocatable=enforces),
    )


def _enforces(flags: Flags) -> bool:
    return enforces_pods(flags.enforce_node_allocatable or ("pods",))


def _read(field: str, value: object, read: Callable[[], T]) -> T:
    try:
        return read()
    except (InvalidThreshold, InvalidReservation) as error:
        raise InvalidFlag(field, value, str(error)) from None
