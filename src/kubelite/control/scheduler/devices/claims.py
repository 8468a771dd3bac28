"""Whether a node has the devices that a pod's resource claims want, and what is written before the pod is bound."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kubelite.api.kinds.resource import (
    AllocatedDeviceStatus,
    AllocationResult,
    DeviceRequestAllocationResult,
    DeviceSelector,
    ResourceClaim,
)
from kubelite.api.machinery.node_matching import TermMatcher
from kubelite.api.machinery.resource_claims import (
    can_be_reserved,
    claim_names,
    foreign_claim,
    is_reserved_for,
)
from kubelite.api.machinery.times import seconds_between
from kubelite.control.scheduler.devices.allocator import Allocator, InvalidPools, TookTooLong
from kubelite.control.scheduler.devices.extended import Special, check_count, special_claim
from kubelite.control.scheduler.devices.pools import PoolKey, is_divided
from kubelite.control.scheduler.devices.protocol import (
    CANNOT_ALLOCATE,
    FILTER,
    AllocationFailed,
    ClaimNotMade,
    DeviceNotReady,
    ExtendedReservation,
    Reservation,
)
from kubelite.control.scheduler.devices.requests import Asked
from kubelite.control.scheduler.devices.results import allocation
from kubelite.control.scheduler.devices.usage import key_of
from kubelite.control.scheduler.filters import Rejection
from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.steps import Steps

if TYPE_CHECKING:
    from kubelite.control.scheduler.devices.manager import Devices

NOT_AVAILABLE: Final = Rejection(
    FILTER, ["resourceclaim not available on the node"], resolvable=False
)
LEFTOVER: Final = Rejection(FILTER, ["cannot schedule extended resource claim"], resolvable=False)
INVALID_POOLS: Final = Rejection(
    FILTER, ["invalid resource pools were encountered"], resolvable=False
)
BINDING_TIMEOUT_SECONDS: Final = 600.0
ALTERNATIVES_MAX: Final = 8  # of a request, a limit of the field
STEPS_A_MAPPING: Final = 3
REQUEST_STEPS: Final = 10  # what reading a request takes


class _Found(Struct, frozen=True):
    """What a node has for a pod: the special claim's devices come last. `divided`: pools with shared devices, counters.

    `as_of` is the revision of the usage that it was found with.
    """

    results: Sequence[AllocationResult]
    special: Special | None
    as_of: int
    divided: frozenset[PoolKey]


class ClaimState:
    """The claims of one pod, and what was found for them by node. `read` must have run."""

    def __init__(self, info: PodInfo, devices: "Devices") -> None:
        self.failure = ""  # why no node will do
        self.claims: list[ResourceClaim] = []
        self.unavailable: dict[str, ResourceClaim] = {}  # allocated, but not for some node; by uid
        self.pod = info.pod
        self._devices = devices
        self._places: dict[str, tuple[TermMatcher, ...] | None] = {}  # of allocated claims, by uid
        self._missing: list[ResourceClaim] = []  # those without an allocation
        self._found: dict[str, _Found] = {}  # by node
        self._classes = info.device_classes
        self._requests = info.requests
        self._specials: dict[frozenset[str], Special] = {}  # by the resources that a node lacks
        self.leftover: ResourceClaim | None = None  # for extended resources, of an earlier attempt
        self.has_leftover = False

    def read(self) -> Steps[None]:
        """Sort the claims. Raises ClaimNotMade, and AllocationFailed where the claims are wrong."""
        names = claim_names(self.pod)
        for entry in self.pod.spec.resourceClaims:
            if entry.name not in names:
                raise ClaimNotMade
            if name := names[entry.name]:
                is_own = entry.resourceClaimName is None
                self.failure = self.failure or self._find(name, is_own=is_own)
                yield 1
        for claim in () if self.failure else self.claims:
            self.failure = self.failure or self._sort(claim)
            yield 1 + REQUEST_STEPS * len(claim.spec.devices.requests)
        if self.failure:
            self._missing = []
        self.leftover = self._devices.extended_claim_of(self.pod)
        is_named = self.pod.status.extendedResourceClaimStatus is not None
        self.has_leftover = is_named or self.leftover is not None

    def _find(self, name: str, *, is_own: bool) -> str:
        claim = self._devices.claims.get(name, self.pod.metadata.namespace)
        if claim is None:
            return f'resourceclaim.resource.k8s.io "{name}" not found'
        if claim.metadata.deletionTimestamp is not None:
            return f'resourceclaim "{name}" is being deleted'
        if is_own and (refusal := foreign_claim(self.pod, claim)):
            return refusal
        if all(claim is not one for one in self.claims):
            self.claims.append(claim)
        return ""

    def _sort(self, claim: ResourceClaim) -> str:
        allocated = claim.status.allocation
        uid = claim.metadata.uid
        if allocated is None:
            if self._devices.usage.is_pending(uid):
                name = f"{claim.metadata.namespace}/{claim.metadata.name}"
                return f"resource claim {name} is in the process of being allocated"
            self._missing.append(claim)
            return self._unknown_class(claim)
        if not can_be_reserved(claim) and not is_reserved_for(self.pod, claim):
            return "resourceclaim in use"
        selector = allocated.nodeSelector
        self._places[uid] = (
            None if selector is None else tuple(map(TermMatcher, selector.nodeSelectorTerms))
        )
        return ""

    def _unknown_class(self, claim: ResourceClaim) -> str:
        for request in claim.spec.devices.requests:
            asked: Iterator[tuple[str, str]] = (
                (f"{request.name}/{one.name}", one.deviceClassName)
                for one in request.firstAvailable
            )
            if request.exactly is not None:
                asked = iter([(request.name, request.exactly.deviceClassName)])
            elif not request.firstAvailable:
                name = f"{claim.metadata.namespace}/{claim.metadata.name}"
                return f"resource claim {name}, request {request.name}: unknown request type"
            for name, wanted in asked:
                if self._devices.offers.class_of(wanted) is None:
                    return f"request {name}: device class {wanted} does not exist"
        return ""

    def selectors(self) -> Iterator[str]:
        """Yield the expressions that a decision evaluates."""
        for claim in self._missing:
            for request in claim.spec.devices.requests:
                for one in (request.exactly, *request.firstAvailable):
                    if one is None:
                        continue
                    yield from self._selectors_of(one.deviceClassName)
                    yield from _expressions(one.selectors)
        for name in dict.fromkeys(self._classes.values()):
            yield from self._selectors_of(name)

    def _selectors_of(self, class_name: str) -> Iterator[str]:
        found = self._devices.offers.class_of(class_name)
        return _expressions(found.spec.selectors if found is not None else ())

    def find(self, node: NodeInfo) -> Steps[Rejection | None]:
        """Find the devices for the pod on a node; return why there are none.

        Raises AllocationFailed if the claims or classes are wrong, whatever the node, or the search took too long.
        """
        self._found.pop(node.name, None)
        if self.has_leftover:
            return LEFTOVER
        away = [one for one in self.claims if not self._is_available(one, node)]
        yield 1 + len(self.claims)
        if away:
            self.unavailable |= {one.metadata.uid: one for one in away}
            return NOT_AVAILABLE
        special = yield from self._special(node)
        missing = self._missing if special is None else [*self._missing, special.claim]
        if not missing:
            return None
        usage = self._devices.usage
        as_of = usage.revision
        yield self._devices.offers.steps(node)
        pools = self._devices.offers.pools(node)
        asked = []
        for claim in missing:
            asked.append(Asked(claim, self._devices.offers.class_of))
            yield REQUEST_STEPS * len(claim.spec.devices.requests)
        allocator = Allocator(node, asked, pools, usage, self._devices.selectors)
        try:
            found = yield from allocator.allocate()
        except InvalidPools:
            return INVALID_POOLS
        except TookTooLong:
            text = f"node {node.name}: timed out trying to allocate devices"
            raise AllocationFailed(text) from None
        if found is None:
            return CANNOT_ALLOCATE
        results = [
            allocation(one, chosen, picked, node.name, self._devices.new_uid)
            for one, chosen, picked in zip(missing, *found, strict=True)
        ]
        divided = frozenset(
            one.offer.pool.key for picked in found.picked for one in picked if is_divided(one.offer)
        )
        self._found[node.name] = _Found(results, special, as_of, divided)
        return None

    def _special(self, node: NodeInfo) -> Steps[Special | None]:
        """Return the claim for what no device plugin of a node offers. Raises AllocationFailed."""
        lacking = frozenset(name for name in self._classes if not node.allocatable.get(name))
        if not lacking:
            return None
        known = self._specials.get(lacking)
        if known is None:
            # Before anything is made of it: a pod may ask for any number of devices in any number of containers.
            check_count(self.pod, sum(self._requests[name] for name in lacking))
            classes = {name: self._classes[name] for name in lacking}
            known = special_claim(self.pod, classes, self._devices.new_uid())
            self._specials[lacking] = known
            yield STEPS_A_MAPPING * len(known.mappings)
        return known

    def _is_available(self, claim: ResourceClaim, node: NodeInfo) -> bool:
        allocated = claim.status.allocation
        if allocated is None:
            return True
        places = self._places[claim.metadata.uid]
        if places is not None and not any(one.matches(node.name, node.labels) for one in places):
            return False
        try:
            return is_ready(claim) or not is_late(claim, self._devices.now())
        except DeviceNotReady:
            return False

    def score(self, node: NodeInfo) -> int:
        """Return how early the alternatives are that were found on a node: the sum over all requests that have any."""
        found = iter(self._results(node.name))
        total = 0
        for claim in self.claims:
            allocated = claim.status.allocation or next(found, None)
            if allocated is None:
                continue
            names = {one.request for one in allocated.devices.results}
            for request in claim.spec.devices.requests:
                for index, one in enumerate(request.firstAvailable):
                    if f"{request.name}/{one.name}" in names:
                        total += ALTERNATIVES_MAX - index
        return total

    @property
    def has_alternatives(self) -> bool:
        """Whether nodes differ in their score."""
        return any(
            one.firstAvailable for claim in self.claims for one in claim.spec.devices.requests
        )

    def is_current(self, node: str = "") -> bool:
        """Return whether the claims, and the devices found on a node if one is named, are still as they were read."""
        for claim in self.claims:
            meta = claim.metadata
            if self._devices.claims.get(meta.name, meta.namespace) is not claim:
                return False
            if self._devices.usage.is_pending(meta.uid):
                return False
        usage = self._devices.usage
        found = self._found.get(node)
        if found is None:
            return True
        # What is left of shared devices and of counters is not counted again: any use of their pools is one too many.
        return not usage.has_grown(found.divided, found.as_of) and not any(
            not one.adminAccess and usage.has_whole(key_of(one))
            for result in found.results
            for one in result.devices.results
        )

    def _results(self, node: str) -> Sequence[AllocationResult]:
        found = self._found.get(node)
        return found.results if found is not None else ()

    def reservation(self, node: str) -> Reservation:
        """Return what to write before the pod is bound to a node that `find` accepted."""
        found = iter(self._results(node))
        new: list[tuple[ResourceClaim, AllocationResult | None]] = []
        reserved: list[ResourceClaim] = []
        for claim in self.claims:
            if claim.status.allocation is None:
                new.append((claim, next(found)))
            elif is_reserved_for(self.pod, claim):
                reserved.append(claim)
            else:
                new.append((claim, None))
        special = self._found[node].special if node in self._found else None
        extended = None
        if special is not None:
            extended = ExtendedReservation(special.claim, special.mappings, next(found))
        return Reservation(tuple(new), tuple(reserved), extended)

    def deallocatable(self) -> ResourceClaim | None:
        """Return an allocated claim that kept the pod from a node and that no other pod has reserved."""
        uid = self.pod.metadata.uid
        for claim in self.unavailable.values():
            if [one.uid for one in claim.status.reservedFor] in ([], [uid]):
                return claim
        return None


def _expressions(selectors: Iterable[DeviceSelector]) -> Iterator[str]:
    return (one.cel.expression for one in selectors if one.cel is not None)


def is_ready(claim: ResourceClaim) -> bool:
    """Return whether all devices of a claim are ready for the pod to be bound. Raises DeviceNotReady."""
    allocated = claim.status.allocation
    if allocated is None:
        return False
    for one in allocated.devices.results:
        if not one.bindingConditions:
            continue
        status = _status_of(claim, one)
        if status is None:
            return False
        states = {each.type: each for each in status.conditions}
        for name in one.bindingFailureConditions:
            failed = states.get(name)
            if failed is not None and failed.status == "True":
                raise DeviceNotReady(
                    f"device binding failed: claim={claim.metadata.name}, "
                    f'reason={failed.reason}, message="{failed.message}"'
                )
        if any(
            name not in states or states[name].status != "True" for name in one.bindingConditions
        ):
            return False
    return True


def must_be_bound(claims: Sequence[ResourceClaim]) -> bool:
    """Return whether a driver has to make a device ready first."""
    return any(
        one.bindingConditions
        for claim in claims
        if claim.status.allocation is not None
        for one in claim.status.allocation.devices.results
    )


def is_late(claim: ResourceClaim, now: datetime) -> bool:
    """Return whether a driver has had its time to make the devices of a claim ready."""
    allocated = claim.status.allocation
    if allocated is None or allocated.allocationTimestamp is None or not must_be_bound([claim]):
        return False
    return seconds_between(allocated.allocationTimestamp, now) > BINDING_TIMEOUT_SECONDS


def _status_of(
    claim: ResourceClaim, result: DeviceRequestAllocationResult
) -> AllocatedDeviceStatus | None:
    for one in claim.status.devices:
        if (one.driver, one.pool, one.device) == key_of(result):
            return one
    return None
