"""Amounts of resources: rounding, and pod-level requests derived from the containers'."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Any

from kubelite.api.machinery.pod_amounts import is_sidecar, together
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
    """Set pod-level requests from the containers' and the pod-level limits, and limits of huge pages."""
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
    """Return the peak `field` (requests or limits) of the containers."""
    return together(
        (_amounts(each, field) for each in spec["containers"]),
        ((_amounts(each, field), is_sidecar(each)) for each in spec.get("initContainers", ())),
    )


def _amounts(container: dict[str, Any], field: str) -> Amounts:
    written = container.get("resources", {}).get(field, {})
    return {name: parse_quantity(amount) for name, amount in written.items()}
