"""Which claims a pod has, what its containers want of them, and whether a claim may be prepared. Pure.

Names, order and texts are upstream's (dynamic-resource-allocation/resourceclaim, pkg/kubelet/cm/dra).
"""

from collections.abc import Sequence

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim
from kubelite.api.machinery.extended_resources import may_be_devices
from kubelite.api.machinery.resource_claims import claim_names, foreign_claim, is_reserved_for
from kubelite.node.devices.protocol import AllocationFailed
from kubelite.node.pods import AnyContainer


class PodClaim(Struct, frozen=True):
    """A claim of a pod."""

    entry: str  # the name in the pod's spec; "" for the claim of its extended resources
    name: str
    is_own: bool = False  # made for this pod alone


def pod_claims(pod: Pod) -> list[PodClaim]:
    """Return the claims of a pod, without entries that need none. Raises AllocationFailed until all are made."""
    names = claim_names(pod)
    found = []
    for entry in pod.spec.resourceClaims:
        if entry.name not in names:
            meta = pod.metadata
            what = f'pod "{meta.namespace}/{meta.name}"'
            if entry.resourceClaimTemplateName is None:
                what += f', spec.resourceClaim "{entry.name}"'
                raise AllocationFailed(f"{what}: none of the supported fields are set")
            raise AllocationFailed(f"{what}: ResourceClaim not created yet")
        if name := names[entry.name]:
            found.append(PodClaim(entry.name, name, entry.resourceClaimName is None))
    if extended := pod.status.extendedResourceClaimStatus:
        found.append(PodClaim("", extended.resourceClaimName))
    return found


def check(pod: Pod, entry: PodClaim, claim: ResourceClaim) -> None:
    """Raise AllocationFailed if a pod may not use a claim, or not yet."""
    if entry.is_own and (reason := foreign_claim(pod, claim)):
        raise AllocationFailed(reason)
    if not is_reserved_for(pod, claim):
        raise AllocationFailed(
            f"pod {pod.metadata.name} ({pod.metadata.uid}) is not allowed to use ResourceClaim "
            f"{entry.name} ({claim.metadata.uid})"
        )
    if claim.status.allocation is None:
        raise AllocationFailed(f"ResourceClaim {entry.name}: not allocated")


def drivers_of(claim: ResourceClaim) -> list[str]:
    """Return the drivers of an allocated claim."""
    allocation = claim.status.allocation
    return sorted({one.driver for one in allocation.devices.results}) if allocation else []


def requests_of(pod: Pod, container: AnyContainer) -> dict[str, list[str]]:
    """Return the requests that a container wants, by name of the claim; "" stands for all. Raises AllocationFailed."""
    asked: dict[str, list[str]] = {}
    for wish in container.resources.claims:
        asked.setdefault(wish.name, []).append(wish.request)
    extended = _extended_requests(pod, container)
    found: dict[str, list[str]] = {}
    for entry in pod_claims(pod) if asked or extended else ():
        requests: Sequence[str] = asked.get(entry.entry, ()) if entry.entry else extended
        if requests:
            found.setdefault(entry.name, []).extend(requests)
    return found


def _extended_requests(pod: Pod, container: AnyContainer) -> list[str]:
    """Return the requests of the pod's claim for extended resources that serve a container."""
    status = pod.status.extendedResourceClaimStatus
    if status is None:
        return []
    wanted = {name for name, amount in container.resources.requests.items() if amount != "0"}
    return [
        one.requestName
        for one in status.requestMappings
        if one.containerName == container.name
        and one.resourceName in wanted
        and may_be_devices(one.resourceName)
    ]
