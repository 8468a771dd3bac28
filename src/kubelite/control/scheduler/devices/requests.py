"""What a claim asks for, request by request, with the classes it names."""

from collections.abc import Callable, Iterator, Sequence

from kubelite.api.kinds.resource import (
    DeviceClass,
    DeviceRequest,
    DeviceSelector,
    DeviceSubRequest,
    DeviceToleration,
    ExactDeviceRequest,
    ResourceClaim,
)
from kubelite.api.machinery.device_tolerations import covers
from kubelite.control.scheduler.devices.pools import Offer
from kubelite.control.scheduler.devices.protocol import AllocationFailed

RESULTS_MAX = 32  # devices of one claim, a limit of the field
_EFFECTS = frozenset({"NoExecute", "NoSchedule"})

ClassOf = Callable[[str], DeviceClass | None]


class Wanted:
    """One alternative of a request, and the devices that it may have on a node as far as they were looked at."""

    __slots__ = (
        "capacity",
        "count",
        "device_class",
        "everything",
        "fitting",
        "is_admin",
        "is_all",
        "looked_at",
        "name",
        "request",
        "selectors",
        "tolerations",
        "whole_name",
    )

    def __init__(
        self,
        request: DeviceRequest,
        asked: ExactDeviceRequest | DeviceSubRequest,
        device_class: DeviceClass,
    ) -> None:
        is_alternative = isinstance(asked, DeviceSubRequest)
        self.request = request.name
        self.name = asked.name if isinstance(asked, DeviceSubRequest) else request.name
        self.whole_name = f"{request.name}/{self.name}" if is_alternative else request.name
        self.device_class = device_class
        self.selectors: Sequence[DeviceSelector] = asked.selectors
        self.tolerations: Sequence[DeviceToleration] = asked.tolerations
        self.capacity = asked.capacity
        self.is_admin = isinstance(asked, ExactDeviceRequest) and bool(asked.adminAccess)
        self.is_all = asked.allocationMode == "All"
        self.count = 0 if self.is_all else asked.count
        self.everything: list[Offer] = []  # for all devices: these
        self.fitting: list[Offer] = []  # for some: of those looked at so far
        self.looked_at = 0  # of the node's offers

    def tolerates(self, offer: Offer) -> bool:
        """Return whether no taint of a device keeps it from being given out."""
        return all(
            taint.effect not in _EFFECTS or any(covers(one, taint) for one in self.tolerations)
            for taint in offer.device.taints
        )


class Asked:
    """A claim that has no devices yet: for each request its alternatives, of which one is to be had."""

    def __init__(self, claim: ResourceClaim, class_of: ClassOf) -> None:
        """Read a claim. Raises AllocationFailed if a class is missing or a request is of an unknown sort."""
        self.claim = claim
        self.name = f"{claim.metadata.namespace}/{claim.metadata.name}"
        self.requests = [
            tuple(self._wanted(request, asked, class_of) for asked in _alternatives(request))
            for request in claim.spec.devices.requests
        ]

    def _wanted(
        self,
        request: DeviceRequest,
        asked: ExactDeviceRequest | DeviceSubRequest,
        class_of: ClassOf,
    ) -> Wanted:
        name = asked.name if isinstance(asked, DeviceSubRequest) else request.name
        about = f"claim {self.name}, request {name}"
        for number, selector in enumerate(asked.selectors):
            if selector.cel is None:
                what = "CEL expression empty (unsupported selector type?)"
                raise AllocationFailed(f"{about}, selector #{number}: {what}")
        if not asked.deviceClassName:
            problem = "missing device class name (unsupported request type?)"
            raise AllocationFailed(f"{about}: {problem}")
        if asked.allocationMode not in ("ExactCount", "All"):
            raise AllocationFailed(f"{about}: unsupported count mode {asked.allocationMode}")
        found = class_of(asked.deviceClassName)
        if found is None:
            named = asked.deviceClassName
            raise AllocationFailed(
                f"{about}: could not retrieve device class {named}: "
                f'deviceclass.resource.k8s.io "{named}" not found'
            )
        return Wanted(request, asked, found)


def _alternatives(
    request: DeviceRequest,
) -> Iterator[ExactDeviceRequest | DeviceSubRequest]:
    if request.exactly is not None:
        yield request.exactly
    else:
        yield from request.firstAvailable
