"""A pod's total requests and limits: the sum of its containers or the largest init container, plus overhead."""

from collections.abc import Iterable, Mapping
from typing import Any

from kubelite.api.machinery.quantity import Quantity, parse_quantity

Amounts = dict[str, Quantity]
POD_LEVEL = ("cpu", "memory")  # with huge pages, the resources that a pod may request as a whole


def amounts(texts: Mapping[str, Any] | None) -> Amounts:
    """Parse a map of resources to quantities."""
    return {name: parse_quantity(str(text)) for name, text in (texts or {}).items()}


def add(total: Amounts, more: Amounts) -> None:
    """Add to a total in place, since a pod may have thousands of containers, each with resources of its own."""
    for name, amount in more.items():
        total[name] = total[name] + amount if name in total else amount


def raise_to(most: Amounts, others: Amounts) -> None:
    """Raise each resource to the larger amount in place."""
    for name, amount in others.items():
        if name not in most or most[name] < amount:
            most[name] = amount


def together(containers: Iterable[Amounts], starting: Iterable[tuple[Amounts, bool]]) -> Amounts:
    """Return the peak request of a pod's containers; the flag marks an init container as a sidecar (KEP-753).

    Sidecars add up. Other init containers run one by one, each beside the sidecars that started before it.
    """
    total: Amounts = {}
    for own in containers:
        add(total, own)
    sidecars: Amounts = {}
    peak: Amounts = {}
    for own, stays in starting:
        if stays:
            add(total, own)
            add(sidecars, own)
        else:
            beside = {name: sidecars[name] for name in own if name in sidecars}
            add(beside, own)
            raise_to(peak, beside)
    raise_to(total, peak)
    return total


def is_sidecar(container: Mapping[str, Any]) -> bool:
    """Return whether an init container is a sidecar."""
    return container.get("restartPolicy") == "Always"


def pod_amounts(pod: Mapping[str, Any], field: str, *, overhead: bool = False) -> Amounts:
    """Return a pod's effective ``requests`` or ``limits``."""
    total = together(
        (_of(each, field) for each in pod.get("containers") or []),
        ((_of(each, field), is_sidecar(each)) for each in pod.get("initContainers") or []),
    )
    whole = amounts((pod.get("resources") or {}).get(field))
    total |= {
        name: q for name, q in whole.items() if name in POD_LEVEL or name.startswith("hugepages-")
    }
    if overhead and pod.get("overhead"):
        extra = amounts(pod["overhead"])
        if field == "limits":
            extra = {name: amount for name, amount in extra.items() if name in total}
        add(total, extra)
    return total


def _of(container: Mapping[str, Any], field: str) -> Amounts:
    return amounts((container.get("resources") or {}).get(field))
