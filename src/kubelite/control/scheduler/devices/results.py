"""The status of a claim that devices were found for: the devices, their settings and the nodes that can use them."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from kubelite.api.kinds.core.node_affinity import (
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
)
from kubelite.api.kinds.resource import (
    AllocationResult,
    DeviceAllocationConfiguration,
    DeviceAllocationResult,
    DeviceRequestAllocationResult,
    ResourceClaim,
)
from kubelite.api.machinery.quantity import Quantity
from kubelite.control.scheduler.devices.pools import Offer
from kubelite.control.scheduler.devices.requests import Wanted


class Picked(Struct, frozen=True, eq=False):
    """A device for a request; `amounts` is what is taken of a shared one."""

    offer: Offer
    wanted: Wanted
    amounts: dict[str, Quantity] = {}


def allocation(
    claim: ResourceClaim,
    chosen: Sequence[Wanted],
    picked: Sequence[Picked],
    node: str,
    new_uid: Callable[[], str],
) -> AllocationResult:
    """Return what to write into a claim; `chosen` has the alternative of each request."""
    return AllocationResult(
        devices=DeviceAllocationResult(
            results=[_result(one, new_uid) for one in picked],
            config=[*_of_classes(chosen), *_of_claim(claim, chosen)],
        ),
        nodeSelector=_node_selector(picked, node),
    )


def _result(one: Picked, new_uid: Callable[[], str]) -> DeviceRequestAllocationResult:
    driver, pool, device = one.offer.key
    return DeviceRequestAllocationResult(
        request=one.wanted.whole_name,
        driver=driver,
        pool=pool,
        device=device,
        adminAccess=True if one.wanted.is_admin else None,
        tolerations=list(one.wanted.tolerations),
        shareID=new_uid() if one.offer.is_shared else None,
        consumedCapacity={name: str(amount) for name, amount in one.amounts.items()},
        bindingConditions=one.offer.device.bindingConditions,
        bindingFailureConditions=one.offer.device.bindingFailureConditions,
    )


def _of_classes(chosen: Sequence[Wanted]) -> list[DeviceAllocationConfiguration]:
    requests: dict[str, list[str]] = {}  # by the name of their class
    for wanted in chosen:
        requests.setdefault(wanted.device_class.metadata.name, []).append(wanted.whole_name)
    classes = {wanted.device_class.metadata.name: wanted.device_class for wanted in chosen}
    return [
        DeviceAllocationConfiguration(
            source="FromClass", requests=requests[name], opaque=one.opaque
        )
        for name, found in classes.items()
        for one in found.spec.config
    ]


def _of_claim(
    claim: ResourceClaim, chosen: Sequence[Wanted]
) -> list[DeviceAllocationConfiguration]:
    names = {name for wanted in chosen for name in (wanted.request, wanted.whole_name)}
    return [
        DeviceAllocationConfiguration(source="FromClaim", requests=one.requests, opaque=one.opaque)
        for one in claim.spec.devices.config
        if not one.requests or not names.isdisjoint(one.requests)
    ]


def _node_selector(picked: Sequence[Picked], node: str) -> NodeSelector | None:
    """Return which nodes can use all the devices; None: all nodes."""
    expressions: list[NodeSelectorRequirement] = []
    fields: list[NodeSelectorRequirement] = []
    for one in picked:
        spec, device = one.offer.slice.spec, one.offer.device
        place = device if spec.perDeviceNodeSelection else spec
        if place.nodeName is not None or device.bindsToNode:
            only = NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])
            return NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchFields=[only])])
        if place.nodeSelector is None:
            continue
        for term in place.nodeSelector.nodeSelectorTerms:  # validation allows one
            _extend(expressions, term.matchExpressions)
            _extend(fields, term.matchFields)
    if not expressions and not fields:
        return None
    term = NodeSelectorTerm(matchExpressions=expressions, matchFields=fields)
    return NodeSelector(nodeSelectorTerms=[term])


def _extend(known: list[NodeSelectorRequirement], more: Sequence[NodeSelectorRequirement]) -> None:
    for one in more:
        if not any(_is_same(one, other) for other in known):
            known.append(one)


def _is_same(one: NodeSelectorRequirement, other: NodeSelectorRequirement) -> bool:
    return (one.key, one.operator, set(one.values)) == (
        other.key,
        other.operator,
        set(other.values),
    )
