"""What of a node is kept back for the system, the node agent and the eviction thresholds: node allocatable. Pure.

Allocatable is the capacity less all three: what the scheduler may give away. The pods' control group is limited to the
capacity less the first two, so that pods are evicted before the kernel kills.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from kubelite.api.machinery.quantity import BINARY, Quantity, canonical_quantity
from kubelite.node.eviction.defaults import EVICTION_HARD
from kubelite.node.eviction.thresholds import (
    MEMORY,
    NODE_FS,
    InvalidThreshold,
    Threshold,
    parse_thresholds,
    split_pairs,
)
from kubelite.node.machine import Machine
from kubelite.node.resources import amount_of

CPU, MEMORY_RESOURCE, STORAGE, PIDS = "cpu", "memory", "ephemeral-storage", "pid"
RESERVABLE = (CPU, MEMORY_RESOURCE, STORAGE, PIDS)
_RESERVED_BY = {MEMORY: MEMORY_RESOURCE, NODE_FS: STORAGE}

Amounts = Mapping[str, int]  # cpu in thousandths, everything else in whole units


class InvalidReservation(ValueError):
    """A reservation cannot be used; `str()` has upstream's words where it has some."""


class Reservations(Struct, frozen=True):
    """What is kept back of a node."""

    system: Amounts = {}
    kube: Amounts = {}
    thresholds: tuple[Threshold, ...] = parse_thresholds(EVICTION_HARD)
    enforces_pods: bool = True  # whether the pods' control group is limited

    def for_pods(self, name: str, capacity: int) -> int:
        """Return how much of a resource all pods together may use."""
        return max(capacity - self.system.get(name, 0) - self.kube.get(name, 0), 0)

    def total(self, name: str, capacity: int) -> int:
        """Return how much of a resource is kept back."""
        reserved = self.system.get(name, 0) + self.kube.get(name, 0)
        for threshold in self.thresholds:
            if threshold.is_hard and _RESERVED_BY.get(threshold.signal) == name:
                return reserved + threshold.amount.of(capacity)
        return reserved


DEFAULT_RESERVATIONS = Reservations()


def parse_reservation(texts: Iterable[str]) -> dict[str, int]:
    """Return the amounts of a flag such as `cpu=500m,memory=1Gi`. Raises InvalidReservation."""
    try:
        pairs = split_pairs(texts, "=")
    except InvalidThreshold as error:
        raise InvalidReservation(str(error)) from None
    found = {}
    for name, written in pairs.items():
        if name not in RESERVABLE:
            raise InvalidReservation(
                f'cannot reserve "{name}" resource, expect one of {", ".join(RESERVABLE)}'
            )
        try:
            amount = amount_of(name, written)
        except ValueError as error:
            raise InvalidReservation(
                f'failed to parse quantity "{written}" for "{name}" resource: {error}'
            ) from None
        if amount < 0:
            raise InvalidReservation(
                f'resource quantity for "{name}" cannot be negative: {written}'
            )
        found[name] = amount
    return found


def capacities(machine: Machine) -> dict[str, int]:
    """Return what a machine has of each resource that can be kept back."""
    return {
        CPU: machine.cpus * 1000,
        MEMORY_RESOURCE: machine.memory_bytes,
        STORAGE: machine.disk_bytes,
    }


def amounts_of_pods(reservations: Reservations, machine: Machine) -> dict[str, int]:
    """Return what the control group of all pods is limited to; an amount that is not limited is absent."""
    limited = {CPU: reservations.for_pods(CPU, machine.cpus * 1000)}
    if not reservations.enforces_pods:
        return {CPU: machine.cpus * 1000}
    if reservations.system.get(MEMORY_RESOURCE) or reservations.kube.get(MEMORY_RESOURCE):
        limited[MEMORY_RESOURCE] = reservations.for_pods(MEMORY_RESOURCE, machine.memory_bytes)
    if machine.processes and (reservations.system.get(PIDS) or reservations.kube.get(PIDS)):
        limited[PIDS] = reservations.for_pods(PIDS, machine.processes)
    return limited


def check(reservations: Reservations, machine: Machine) -> None:
    """Raise InvalidReservation if more is kept back than the machine has."""
    problems = []
    for name, capacity in capacities(machine).items():
        total = reservations.total(name, capacity)
        if total > capacity:
            problems.append(
                f'Resource "{name}" has a reservation of {_shown(name, total)} but capacity of '
                f"{_shown(name, capacity)}. Expected capacity >= reservation."
            )
    if problems:
        raise InvalidReservation(f"invalid Node Allocatable configuration. {' '.join(problems)}")


def left_for_pods(reservations: Reservations, machine: Machine) -> dict[str, str]:
    """Return cpu, memory and storage that pods may request, in the API's canonical form."""
    left = {
        name: max(capacity - reservations.total(name, capacity), 0)
        for name, capacity in capacities(machine).items()
    }
    return {
        CPU: canonical_quantity(f"{left[CPU]}m"),
        MEMORY_RESOURCE: canonical_quantity(f"{left[MEMORY_RESOURCE] // 1024}Ki"),
        STORAGE: canonical_quantity(str(left[STORAGE])),
    }


def _shown(name: str, amount: int) -> str:
    return canonical_quantity(f"{amount}m") if name == CPU else str(Quantity(amount, BINARY))


def enforces_pods(values: Sequence[str]) -> bool:
    """Return whether `--enforce-node-allocatable` limits the pods' control group. Raises InvalidReservation."""
    names = {name.strip() for text in values for name in text.split(",")} - {""}
    for name in sorted(names - {"pods", "none"}):
        if name in {"system-reserved", "kube-reserved"} or name.endswith("-compressible"):
            raise InvalidReservation(
                f"{name} is not enforced by this node: the group of those processes is not its own"
            )
        raise InvalidReservation(
            f'option "{name}" specified for enforceNodeAllocatable, expect one of pods, none'
        )
    if "none" in names and len(names) > 1:
        raise InvalidReservation(
            'enforceNodeAllocatable may not contain additional enforcements when "none" is specified'
        )
    return "pods" in names
