"""Amounts of resources: rounding, and what a whole pod asks for when only its containers say."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from typing import Any

from kubelite.api.machinery.quantity import Quantity, parse_quantity

Amounts = dict[str, Quantity]
_MILLI = Decimal("0.001")


def round_up_to_milli(resources: dict[str, str]) -> None:
    """Round amounts finer than a thousandth up to one."""
    for name, amount in resources.items():
        if amount[-1:] in "nu":
            quantity = parse_quantity(amount)
            rounded = quantity.amount.quantize(_MILLI, ROUND_CEILING)
            resources[name] = str(Quantity(rounded, quantity.format))


def default_pod_resources(spec: dict[str, Any]) -> None:
    """Fill in the pod-level resources from the containers' and the limits."""
    own = spec["resources"]
    limits, requests = dict(own.get("limits", {})), dict(own.get("requests", {}))
    if limits or requests:
        for name, amount in _of_containers(spec, "limits").items():
            if name.startswith("hugepages-") and name not in requests:
                limits.setdefault(name, str(amount))
    if limits:
        for name, amount in _of_containers(spec, "requests").items():
            if name in {"cpu", "memory"}:
                requests.setdefault(name, str(amount))
        for name, limit in limits.items():
            if name in {"cpu", "memory"} or name.startswith("hugepages-"):
                requests.setdefault(name, limit)
    for field, amounts in (("limits", limits), ("requests", requests)):
        if amounts:
            own[field] = amounts


def _of_containers(spec: dict[str, Any], field: str) -> Amounts:
    """Sum up containers and sidecars; an init container that needs more at its turn sets the mark."""
    total = _sum({}, (_amounts(container, field) for container in spec["containers"]))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers", ()):
        amounts = _sum(sidecars, [_amounts(container, field)])
        if container.get("restartPolicy") == "Always":
            total = _sum(total, [_amounts(container, field)])
            sidecars = amounts
        peak = _maximum(peak, amounts)
    return _maximum(total, peak)


def _amounts(container: dict[str, Any], field: str) -> Amounts:
    written = container.get("resources", {}).get(field, {})
    return {name: parse_quantity(amount) for name, amount in written.items()}


def _sum(start: Amounts, parts: Iterable[Amounts]) -> Amounts:
    total = dict(start)
    for part in parts:
        for name, amount in part.items():
            total[name] = total[name] + amount if name in total else amount
    return total


def _maximum(left: Amounts, right: Amounts) -> Amounts:
    largest = dict(left)
    for name, amount in right.items():
        if name not in largest or largest[name] < amount:
            largest[name] = amount
    return largest
