"""Decides when the probes of one running container ask, and what their answers mean. Pure: it knows no clock.

All times are seconds since the container's start. The rules are those of the kubelet's prober workers:

- A probe asks first after its initial delay, then once a period; one that takes longer is followed at once.
- Until the startup probe has succeeded no other probe asks; after that it asks no more.
- An outcome counts once it came as often in a row as its threshold; what lies between changes nothing. An engine that
  could not carry a probe out has said nothing.
- After a startup or liveness probe has failed it rests: the container is going to be replaced.
- Once the pod is ending only readiness is still asked for.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from kubelite.api.kinds.core.containers import Probe
from kubelite.node.observed import Health
from kubelite.node.pods import AnyContainer

ProbeType = Literal["Startup", "Liveness", "Readiness"]

DEFAULT_PERIOD_SECONDS = 10
DEFAULT_FAILURES = 3
DEFAULT_SUCCESSES = 1


class Run(Struct, frozen=True):
    """Equal outcomes in a row."""

    healthy: bool = True
    count: int = 0

    def followed_by(self, *, healthy: bool) -> "Run":
        """Return the run after one more outcome."""
        return Run(healthy, self.count + 1 if healthy == self.healthy else 1)


def decision(probe: Probe, run: Run) -> bool | None:
    """Return the verdict of a run of equal outcomes; None while it is below its threshold."""
    if run.healthy:
        threshold = probe.successThreshold or DEFAULT_SUCCESSES
    else:
        threshold = probe.failureThreshold or DEFAULT_FAILURES
    return run.healthy if run.count >= threshold else None


def next_due(probe: Probe, due: float, asked_at: float) -> float:
    """Return when the probe after the one due at `due` is due: periods do not drift, and missed ones are skipped."""
    period = probe.periodSeconds or DEFAULT_PERIOD_SECONDS
    return (due if asked_at - due < period else asked_at) + period


class ProbeSchedule:
    """The probes of one run of a container."""

    def __init__(self, container: AnyContainer, health: Health) -> None:
        """`health` is assumed before the first outcome."""
        self.health = health
        self._name = container.name
        probes: dict[ProbeType, Probe | None] = {
            "Startup": container.startupProbe,
            "Liveness": container.livenessProbe,
            "Readiness": container.readinessProbe,
        }
        self.probes = {kind: probe for kind, probe in probes.items() if probe is not None}
        self._due = {kind: float(probe.initialDelaySeconds) for kind, probe in self.probes.items()}
        self._runs = {kind: Run() for kind in self.probes}
        self._is_ending = False

    def due(self, kind: ProbeType) -> float | None:
        """Return when a probe is due, in seconds since the container's start; None while it must not run."""
        if kind not in self.probes or kind == self.health.failed_probe:
            return None
        if self._is_ending and kind != "Readiness":
            return None
        if self.health.started == (kind == "Startup"):
            return None
        return self._due[kind]

    def answered(self, kind: ProbeType, asked_at: float, healthy: bool | None) -> None:
        """Record an outcome; None if the probe could not be carried out."""
        if self.due(kind) is None:
            return  # another outcome, or the pod's end, made it void while it ran
        probe = self.probes[kind]
        self._due[kind] = next_due(probe, self._due[kind], asked_at)
        if healthy is None:
            return
        run = self._runs[kind] = self._runs[kind].followed_by(healthy=healthy)
        decided = decision(probe, run)
        if decided is not None:
            self.health = self._health_after(kind, healthy=decided)

    def _health_after(self, kind: ProbeType, *, healthy: bool) -> Health:
        if kind == "Readiness":
            return msgspec.structs.replace(self.health, ready=healthy)
        if healthy:
            return msgspec.structs.replace(self.health, started=True)
        message = f"Container {self._name} failed {kind.lower()} probe, will be restarted"
        return msgspec.structs.replace(self.health, failure=message, failed_probe=kind)

    def pod_is_ending(self) -> None:
        """Stop all probes but readiness: a container that shuts down must not be restarted for it."""
        self._is_ending = True
