"""What the rest of the scheduler knows of devices; all else is imported with the first pod that needs some."""

from typing import Final

from msgspec import Struct

from kubelite.api.kinds.core.pods import ContainerExtendedResourceRequest
from kubelite.api.kinds.resource import AllocationResult, ResourceClaim
from kubelite.control.scheduler.filters import Rejection

FILTER: Final = "DynamicResources"
CANNOT_ALLOCATE: Final = Rejection(FILTER, ["cannot allocate all claims"], resolvable=False)


class AllocationFailed(Exception):
    """A claim, a class or a pool is not such that devices can be given out; `str()` is worded as upstream."""


class NotPrepared(Exception):
    """A slice or a class came after the decision was prepared, so another decision has to be made."""


class ClaimNotMade(Exception):
    """A claim is not made from its template yet; the pod's status will name it, which requeues the pod."""


class DeviceNotReady(Exception):
    """A driver says that a device cannot be made ready, or does not say for too long that it is."""


class AllocationLost(Exception):
    """A claim changed, or cannot be made, so that it is not reserved as decided; the message is upstream's."""


class ExtendedReservation(Struct):
    """The claim for a pod's extended resources, which is made before the pod is bound."""

    claim: ResourceClaim  # as it is to be made
    mappings: tuple[ContainerExtendedResourceRequest, ...]
    allocation: AllocationResult
    made: ResourceClaim | None = None  # once it is


class Reservation(Struct, frozen=True):
    """The claims to reserve for a pod, and what to allocate to those that have nothing yet."""

    claims: tuple[tuple[ResourceClaim, AllocationResult | None], ...] = ()
    reserved: tuple[ResourceClaim, ...] = ()  # for the pod already
    extended: ExtendedReservation | None = None
