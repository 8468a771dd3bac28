"""Hints of Services that ask for topology-aware routing: zones get endpoints by their shares of the nodes' CPUs. Pure.

Source: the topology cache of Kubernetes. A zone may be loaded 20 % more than its share; where that cannot be, there are
no hints. Endpoints keep the hint they have while it fits, so that a change moves few of them.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.discovery import Endpoint, EndpointHints, ForZone
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.control.conditions import is_true

ZONE = "topology.kubernetes.io/zone"
ANNOTATIONS = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
EXCLUDED = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
OVERLOAD = 0.2

NO_ZONE = "One or more endpoints do not have a zone specified"
NO_NODES = (
    "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
)
FEW_ENDPOINTS = "Insufficient number of endpoints"
OVERLOADED = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"


class HintsDisabled(Exception):
    """No endpoint gets a hint; the message says why."""


class Allocation(Struct, frozen=True):
    """How many endpoints a zone gets."""

    minimum: int
    maximum: int
    desired: float


def asks_for_hints(annotations: Mapping[str, str]) -> bool:
    """Return whether a Service asks for topology-aware hints; the older annotation wins."""
    given = next((annotations[name] for name in ANNOTATIONS if name in annotations), "")
    return given in ("Auto", "auto")


def cpu_shares(nodes: Iterable[Node]) -> dict[str, float]:
    """Return the share of each zone in the CPUs of the ready nodes; empty if it is not known, or of one zone only."""
    by_zone: Counter[str] = Counter()
    for node in nodes:
        labels = node.metadata.labels
        if any(name in labels for name in EXCLUDED) or not is_true(node.status.conditions, "Ready"):
            continue
        zone, cpu = labels.get(ZONE, ""), _millis(node)
        if not zone or not cpu:
            return {}
        by_zone[zone] += cpu
    total = by_zone.total()
    return {zone: cpu / total for zone, cpu in by_zone.items()} if len(by_zone) > 1 else {}


def _millis(node: Node) -> int:
    return parse_quantity(node.status.allocatable.get("cpu", "0")).milli_value()


def allocations(shares: Mapping[str, float], count: int) -> dict[str, Allocation]:
    """Return what each zone gets of `count` endpoints. Raises HintsDisabled."""
    if not shares:
        raise HintsDisabled(NO_NODES)
    about = f"({count} endpoints, {len(shares)} zones)"
    if len(shares) > count:
        raise HintsDisabled(f"{FEW_ENDPOINTS} {about}")
    least = {zone: math.ceil(share * count / (1 + OVERLOAD)) for zone, share in shares.items()}
    spare = count - sum(least.values())
    if spare < 0:
        raise HintsDisabled(f"{OVERLOADED} {about}")
    return {
        zone: Allocation(minimum, minimum + spare, max(shares[zone] * count, float(minimum)))
        for zone, minimum in least.items()
    }


def hinted(
    endpoints: Sequence[Endpoint], shares: Mapping[str, float], before: Sequence[str]
) -> list[Endpoint]:
    """Return endpoints with their hints; `before` has the zone that each is a hint for now, or "".

    Raises HintsDisabled.
    """
    ready = [index for index, one in enumerate(endpoints) if one.conditions.ready]
    wanted = allocations(shares, len(ready))
    if not all(endpoints[index].zone for index in ready):
        raise HintsDisabled(NO_ZONE)
    chosen: dict[int, str] = {}
    counts: Counter[str] = Counter()
    for index in ready:
        zone = before[index]
        if zone in wanted and counts[zone] < wanted[zone].maximum:
            chosen[index] = zone
            counts[zone] += 1
    free = [index for index in ready if index not in chosen]
    for index in free:
        chosen[index] = endpoints[index].zone or ""
        counts[chosen[index]] += 1
    moves = _moves(wanted, counts)
    giving, receiving = Counter(one for one, _ in moves), [zone for _, zone in moves]
    for index in free:
        zone = chosen[index]
        if giving[zone] and receiving:
            giving[zone] -= 1
            chosen[index] = receiving.pop(0)
    return [
        replace(one, hints=_hint(chosen[index]) if index in chosen else None)
        for index, one in enumerate(endpoints)
    ]


def _hint(zone: str) -> EndpointHints:
    return EndpointHints(forZones=[ForZone(name=zone)])


def _moves(wanted: Mapping[str, Allocation], counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return from which zone to which other one endpoints are moved, one pair for each."""
    surplus = {zone: counts.get(zone, 0) - one.desired for zone, one in wanted.items()}
    return list(_pairs(surplus))


def _pairs(surplus: dict[str, float]) -> Iterator[tuple[str, str]]:
    while True:
        giver = max(surplus, key=lambda zone: (surplus[zone], zone))
        taker = min(surplus, key=lambda zone: (surplus[zone], zone))
        give, take = surplus[giver], -surplus[taker]
        if give < 0.5 or take < 0.5 or (give < 1 and take < 1):
            return
        surplus[giver] -= 1
        surplus[taker] += 1
        yield giver, taker
