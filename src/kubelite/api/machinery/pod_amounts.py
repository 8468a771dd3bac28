"""What a pod asks for in all: containers together, or the largest init container, plus overhead."""

from collections.abc import Mapping
from typing import Any

from kubelite.api.machinery.quantity import Quantity, parse_quantity

Amounts = dict[str, Quantity]
POD_LEVEL = ("cpu", "memory")  # and huge pages: what a pod may ask for as a whole


def amounts(texts: Mapping[str, Any] | None) -> Amounts:
    """Read a list of resources."""
    return {name: parse_quantity(str(text)) for name, text in (texts or {}).items()}


def added(one: Amounts, other: Amounts) -> Amounts:
    """Add two lists."""
    total = dict(one)
    for name, amount in other.items():
        total[name] = total[name] + amount if name in total else amount
    return total


def larger(one: Amounts, other: Amounts) -> Amounts:
    """Take the larger amount of each resource."""
    most = dict(one)
    for name, amount in other.items():
        if name not in most or most[name] < amount:
            most[name] = amount
    return most


def pod_amounts(pod: Mapping[str, Any], field: str, *, overhead: bool = False) -> Amounts:
    """Return a pod's effective ``requests`` or ``limits`` (KEP-753: sidecars add up, init containers take turns)."""
    total: Amounts = {}
    for container in pod.get("containers") or []:
        total = added(total, _of(container, field))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in pod.get("initContainers") or []:
        own = _of(container, field)
        if container.get("restartPolicy") == "Always":
            total = added(total, own)
            sidecars = added(sidecars, own)
            starting = larger(starting, sidecars)
        else:
            starting = larger(starting, added(own, sidecars))
    total = larger(total, starting)
    whole = amounts((pod.get("resources") or {}).get(field))
    total |= {
        name: q for name, q in whole.items() if name in POD_LEVEL or name.startswith("hugepages-")
    }
    if overhead and pod.get("overhead"):
        extra = amounts(pod["overhead"])
        if field == "limits":
            extra = {name: amount for name, amount in extra.items() if name in total}
        total = added(total, extra)
    return total


def _of(container: Mapping[str, Any], field: str) -> Amounts:
    return amounts((container.get("resources") or {}).get(field))
