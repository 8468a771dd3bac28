"""The pools of devices that a node can use, put together from ResourceSlices.

A driver publishes a pool in several slices, and replaces them by slices of a higher generation. A pool is incomplete
while slices of its generation are missing, and invalid if its slices contradict each other; from neither are devices
given out. Semantics, words and order of Kubernetes 1.36.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from kubelite.api.kinds.core.node_affinity import NodeSelector
from kubelite.api.kinds.resource import CounterSet, Device, ResourceSlice
from kubelite.api.machinery.node_matching import TermMatcher
from kubelite.control.scheduler.node_info import NodeInfo

PoolKey = tuple[str, str]  # driver and name
DeviceKey = tuple[str, str, str]  # driver, pool and name


class Slices(Protocol):
    """All slices, by pool."""

    def of(self, key: PoolKey) -> Sequence[ResourceSlice]:
        """Return the slices of a pool, of all generations."""
        ...


class Offer(Struct, frozen=True, eq=False):
    """A device of a pool."""

    key: DeviceKey
    device: Device
    slice: ResourceSlice
    pool: "Pool"

    @property
    def is_shared(self) -> bool:
        """Whether several claims can have it."""
        return bool(self.device.allowMultipleAllocations)


class Pool(Struct, eq=False):
    """A pool as a node sees it. `elsewhere` are the slices for other nodes, whose devices use its counters too."""

    key: PoolKey
    offers: list[Offer] = []
    counters: dict[str, CounterSet] = {}
    elsewhere: tuple[ResourceSlice, ...] = ()
    is_incomplete: bool = False
    invalid: str = ""  # why

    @property
    def name(self) -> str:
        """Driver and name, as messages have them."""
        return "/".join(self.key)


def is_divided(offer: Offer) -> bool:
    """Return whether others that use the pool may leave too little for a device that nobody else has."""
    return offer.is_shared or bool(offer.device.consumesCounters)


def pool_key(one: ResourceSlice) -> PoolKey:
    """Return the pool that a slice belongs to."""
    return one.spec.driver, one.spec.pool.name


def is_for(node: NodeInfo, name: str | None, everywhere: bool | None, selector: object) -> bool:
    """Return whether a slice or a device with these fields can be used on a node."""
    if name:
        return node.name == name
    if everywhere:
        return True
    return isinstance(selector, NodeSelector) and selects(selector, node)


def selects(selector: NodeSelector, node: NodeInfo) -> bool:
    """Return whether a node selector selects a node."""
    terms = selector.nodeSelectorTerms
    return any(TermMatcher(term).matches(node.name, node.labels) for term in terms)


def device_is_for(node: NodeInfo, device: Device) -> bool:
    """Return whether a device that says so itself can be used on a node."""
    return is_for(node, device.nodeName, device.allNodes, device.nodeSelector)


def is_relevant(one: ResourceSlice, node: NodeInfo) -> bool:
    """Return whether a slice has devices for a node, or counters, which the whole pool needs."""
    spec = one.spec
    if spec.sharedCounters:
        return True
    if spec.nodeName or spec.allNodes or spec.nodeSelector is not None:
        return is_for(node, spec.nodeName, spec.allNodes, spec.nodeSelector)
    if spec.perDeviceNodeSelection:
        return any(device_is_for(node, device) for device in spec.devices)
    return False


def gathered(relevant: Iterable[ResourceSlice], whole: Slices) -> list[Pool]:
    """Return the pools of the slices that are relevant for a node: by name, those with binding conditions last."""
    newest: dict[PoolKey, list[ResourceSlice]] = {}
    for one in relevant:
        key = pool_key(one)
        known = newest.get(key)
        if known is None or one.spec.pool.generation > known[0].spec.pool.generation:
            newest[key] = [one]
        elif one.spec.pool.generation == known[0].spec.pool.generation:
            known.append(one)
    pools = [pool for key, slices in newest.items() if (pool := _pool(key, slices, whole))]
    pools.sort(key=lambda pool: (_must_be_bound(pool), pool.key))
    return pools


def _pool(key: PoolKey, slices: list[ResourceSlice], whole: Slices) -> Pool | None:
    """Return a pool; None if its slices are obsolete, though none of the newer ones has devices for the node."""
    wanted = slices[0].spec.pool
    elsewhere: tuple[ResourceSlice, ...] = ()
    if len(slices) != wanted.resourceSliceCount:
        everything = whole.of(key)
        if any(one.spec.pool.generation > wanted.generation for one in everything):
            return None
        same = [one for one in everything if one.spec.pool.generation == wanted.generation]
        if len(same) != wanted.resourceSliceCount:
            return Pool(key, is_incomplete=True)
        names = {one.metadata.name for one in slices}
        elsewhere = tuple(one for one in same if one.metadata.name not in names)
    return _built(key, slices, elsewhere)


def _built(key: PoolKey, slices: list[ResourceSlice], elsewhere: tuple[ResourceSlice, ...]) -> Pool:
    # Drivers prefer devices by the names of their slices.
    slices.sort(key=lambda one: one.metadata.name)
    with_devices = [one for one in slices if not one.spec.sharedCounters]
    names: set[str] = set()
    for one in with_devices:
        for device in one.spec.devices:
            if device.name in names:
                return Pool(key, invalid=f"duplicate device name {device.name}")
            names.add(device.name)
    counters: dict[str, CounterSet] = {}
    for one in slices:
        for found in one.spec.sharedCounters:
            if found.name in counters:
                return Pool(key, invalid=f"duplicate counter set name {found.name}")
            counters[found.name] = found
    if problem := _unknown_counter(counters, (*slices, *elsewhere)):
        return Pool(key, invalid=problem)
    pool = Pool(key, [], counters, elsewhere)
    pool.offers = [
        Offer((*key, device.name), device, one, pool)
        for one in with_devices
        for device in one.spec.devices
    ]
    return pool


def _unknown_counter(counters: dict[str, CounterSet], slices: Iterable[ResourceSlice]) -> str:
    for one in slices:
        for device in one.spec.devices:
            for used in device.consumesCounters:
                known = counters.get(used.counterSet)
                if known is None:
                    return f"counter set {used.counterSet} not found"
                for name in used.counters:
                    if name not in known.counters:
                        return f"counter {name} not found in counter set {known.name}"
    return ""


def _must_be_bound(pool: Pool) -> bool:
    return any(offer.device.bindingConditions for offer in pool.offers)
