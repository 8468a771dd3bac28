"""The resource requests of a pod as integers: cpu in millicores, all others in their unit (bytes, pieces)."""

from collections.abc import Mapping
from functools import lru_cache

from kubelite.api.kinds.core.containers import Container
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.quantity import parse_quantity

Amounts = dict[str, int]

# What scoring assumes for a container without requests, so that such pods spread too.
ASSUMED_CPU_MILLI = 100
ASSUMED_MEMORY_BYTES = 200 * 1024 * 1024


@lru_cache(maxsize=8192)
def amount(resource: str, quantity: str) -> int:
    """Return a quantity as a whole number, rounded up."""
    parsed = parse_quantity(quantity)
    return parsed.milli_value() if resource == "cpu" else parsed.value()


def amounts(quantities: Mapping[str, str]) -> Amounts:
    """Return all quantities as whole numbers."""
    return {name: amount(name, quantity) for name, quantity in quantities.items()}


def add(total: Amounts, more: Mapping[str, int]) -> None:
    """Add `more` to `total` in place."""
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def raise_to(total: Amounts, floor: Mapping[str, int]) -> None:
    """Make each of `total` at least that of `floor`, in place."""
    for name, value in floor.items():
        if value > total.get(name, 0):
            total[name] = value


def pod_requests(pod: Pod, *, assume: bool = False) -> Amounts:
    """Return what must be allocatable on a node for the pod to run there.

    Init containers run one after the other, beside the sidecars started before them, so the largest of them counts if
    it is more than all that runs later; overhead comes on top; requests at pod level replace the sums. With `assume`,
    containers that ask for no cpu or memory count with assumed amounts.
    """
    running: Amounts = {}
    for container in pod.spec.containers:
        add(running, _container(container, assume))
    peak: Amounts = {}
    sidecars: Amounts = {}
    for container in pod.spec.initContainers:
        asked = _container(container, assume)
        if container.restartPolicy == "Always":
            add(running, asked)
            add(sidecars, asked)
            raise_to(peak, sidecars)
        else:
            together = dict(sidecars)
            add(together, asked)
            raise_to(peak, together)
    raise_to(running, peak)
    if pod.spec.resources is not None:
        running.update(amounts(pod.spec.resources.requests))
    add(running, amounts(pod.spec.overhead))
    return running


def _container(container: Container, assume: bool) -> Amounts:
    asked = amounts(container.resources.requests)
    if assume:
        asked.setdefault("cpu", ASSUMED_CPU_MILLI)
        asked.setdefault("memory", ASSUMED_MEMORY_BYTES)
    return asked
