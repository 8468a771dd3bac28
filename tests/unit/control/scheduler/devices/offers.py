"""Builders of slices, classes and claims, and one allocation on a node."""

from collections.abc import Sequence
from typing import Any

import msgspec

from kubelite.api.kinds.resource import (
    AllocationResult,
    DeviceClass,
    ResourceClaim,
    ResourceSlice,
)
from kubelite.api.machinery import device_selectors
from kubelite.control.scheduler.devices.allocator import Allocator
from kubelite.control.scheduler.devices.allocator import Selecting as SelectingProtocol
from kubelite.control.scheduler.devices.pools import (
    Offer,
    PoolKey,
    gathered,
    is_relevant,
    pool_key,
)
from kubelite.control.scheduler.devices.protocol import AllocationFailed
from kubelite.control.scheduler.devices.requests import Asked
from kubelite.control.scheduler.devices.results import allocation
from kubelite.control.scheduler.devices.usage import Usage
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.steps import at_once
from unit.control.scheduler.pods import make_node

DRIVER = "gpu.example.com"


def make_device(name: str, **fields: Any) -> dict[str, Any]:
    """Return a device; texts and numbers of `attributes` stand for themselves."""
    attributes = {
        key: value if isinstance(value, dict) else {_kind(value): value}
        for key, value in fields.pop("attributes", {}).items()
    }
    capacity = {
        key: value if isinstance(value, dict) else {"value": value}
        for key, value in fields.pop("capacity", {}).items()
    }
    return {"name": name, "attributes": attributes, "capacity": capacity, **fields}


def _kind(value: object) -> str:
    return {bool: "bool", int: "int", str: "string"}[type(value)]


def make_slice(name: str, *devices: dict[str, Any], **spec: Any) -> ResourceSlice:
    pool = {"name": "pool", "generation": 1, "resourceSliceCount": 1, **spec.pop("pool", {})}
    place = {"nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection", "sharedCounters"}
    if not place & spec.keys():
        spec["nodeName"] = "n0"
    body = {"driver": DRIVER, "pool": pool, "devices": list(devices), **spec}
    return msgspec.convert({"metadata": {"name": name, "uid": name}, "spec": body}, ResourceSlice)


def make_class(name: str = "gpu", *expressions: str, **spec: Any) -> DeviceClass:
    selectors = [{"cel": {"expression": one}} for one in expressions]
    return msgspec.convert(
        {"metadata": {"name": name}, "spec": {"selectors": selectors, **spec}}, DeviceClass
    )


def wanted(*expressions: str, count: int = 1, **fields: Any) -> dict[str, Any]:
    """Return what stands in `exactly`, or beside the name of an alternative."""
    selectors = [{"cel": {"expression": one}} for one in expressions]
    base: dict[str, Any] = {
        "deviceClassName": "gpu",
        "allocationMode": "ExactCount",
        "selectors": selectors,
    }
    if fields.get("allocationMode") != "All":
        base["count"] = count
    return {**base, **fields}


def make_claim(name: str = "c", *requests: dict[str, Any], **devices: Any) -> ResourceClaim:
    """Return a claim; a request without a name is called r0, r1 …"""
    named = [
        {"name": f"r{number}", **(one if "firstAvailable" in one else {"exactly": one})}
        for number, one in enumerate(requests)
    ]
    meta = {"name": name, "namespace": "default", "uid": name}
    body = {"devices": {"requests": named, **devices}}
    return msgspec.convert({"metadata": meta, "spec": body}, ResourceClaim)


class Whole:
    """All slices of a test."""

    def __init__(self, slices: Sequence[ResourceSlice]) -> None:
        self.slices = slices

    def of(self, key: PoolKey) -> Sequence[ResourceSlice]:
        return [one for one in self.slices if pool_key(one) == key]


class Selecting:
    """Evaluates at once."""

    def matches(self, text: str, offer: Offer) -> bool:
        device = device_selectors.seen(offer.key[0], offer.device)
        try:
            return device_selectors.matches(device_selectors.compiled(text), device)
        except device_selectors.SelectionFailed as error:
            raise AllocationFailed(f"CEL runtime error: {error}") from error

    def steps(self, _text: str) -> int:
        return 1


def node_info(name: str = "n0", **labels: str) -> NodeInfo:
    node = NodeInfo(name)
    node.set_node(make_node(name, labels=labels))
    return node


def allocate(
    slices: Sequence[ResourceSlice],
    *claims: ResourceClaim,
    classes: Sequence[DeviceClass] = (make_class(),),
    usage: Usage | None = None,
    node: NodeInfo | None = None,
    selecting: SelectingProtocol | None = None,
) -> list[AllocationResult] | None:
    """Return what claims get on a node, None if nothing."""
    where = node or node_info()
    by_name = {one.metadata.name: one for one in classes}
    pools = gathered((one for one in slices if is_relevant(one, where)), Whole(slices))
    asked = [Asked(one, by_name.get) for one in claims]
    found = at_once(
        Allocator(where, asked, pools, usage or Usage(), selecting or Selecting()).allocate()
    )
    if found is None:
        return None
    return [
        allocation(one, chosen, picked, where.name, lambda: "share")
        for one, chosen, picked in zip(claims, *found, strict=True)
    ]


def devices_of(found: AllocationResult) -> list[str]:
    """Return the names of the devices that a claim got."""
    return [one.device for one in found.devices.results]


def got(found: list[AllocationResult] | None) -> list[list[str]] | None:
    """Return the names of the devices by claim."""
    return None if found is None else [devices_of(one) for one in found]
