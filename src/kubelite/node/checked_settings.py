"""Finds settings of a node that cannot be used, or that this node would not honour. Pure."""

from collections.abc import Iterator
from typing import Protocol

# The one supported value of a setting of upstream's, and the others that upstream has.
POLICIES = {
    "cpu_manager_policy": ("none", ("static",)),
    "memory_manager_policy": ("None", ("Static",)),
    "topology_manager_policy": ("none", ("best-effort", "restricted", "single-numa-node")),
    "memory_swap_behavior": ("NoSwap", ("LimitedSwap",)),
}


class LifeSettings(Protocol):
    """The settings to check, of a server or an agent."""

    @property
    def shutdown_grace_period(self) -> str: ...

    @property
    def shutdown_grace_period_critical_pods(self) -> str: ...

    @property
    def shutdown_grace_period_by_pod_priority(self) -> tuple[str, ...]: ...


def problems(settings: LifeSettings) -> Iterator[tuple[str, str, str]]:
    """Yield the name and value of each setting that cannot be used, and why."""
    yield from _shutdown_problems(settings)
    for field, (only, others) in POLICIES.items():
        if (value := getattr(settings, field)) != only:
            yield (
                field,
                value,
                f"this node supports {only} alone" if value in others else f"must be {only}",
            )


def _shutdown_problems(settings: LifeSettings) -> Iterator[tuple[str, str, str]]:
    total, critical = settings.shutdown_grace_period, settings.shutdown_grace_period_critical_pods
    by_priority = settings.shutdown_grace_period_by_pod_priority
    if (total, critical, by_priority) == ("0s", "0s", ()):
        return
    from kubelite.node.shutdown.periods import periods_of, whole_seconds

    field = "shutdown_grace_period"
    for name, value in ((field, total), (f"{field}_critical_pods", critical)):
        try:
            whole_seconds(value)
        except ValueError as error:
            yield name, value, str(error)
            return
    try:
        periods_of(total, critical, by_priority)
    except ValueError as error:
        name = f"{field}_by_pod_priority" if by_priority else field
        yield name, ",".join(by_priority) or total, str(error)
