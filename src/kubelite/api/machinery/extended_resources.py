"""Extended resources: device plugins offer them, or they stand for the devices of a DeviceClass."""

from typing import Final

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim

CLASS_PREFIX: Final = "deviceclass.resource.kubernetes.io/"  # of resources that name a DeviceClass
CLAIM_ANNOTATION: Final = "resource.kubernetes.io/extended-resource-claim"


def is_extended(name: str) -> bool:
    """Return whether a resource is one that Kubernetes itself gives no meaning (the concept "Extended Resources")."""
    domain, slash, _ = name.partition("/")
    return bool(slash) and not (domain == "kubernetes.io" or domain.endswith(".kubernetes.io"))


def may_be_devices(name: str) -> bool:
    """Return whether a DeviceClass may serve a resource."""
    return name.startswith(CLASS_PREFIX) or is_extended(name)


def is_extended_claim(claim: ResourceClaim) -> bool:
    """Return whether a scheduler made a claim for the extended resources of a pod."""
    return claim.metadata.annotations.get(CLAIM_ANNOTATION) == "true"


def claimed_resources(pod: Pod) -> frozenset[str]:
    """Return the extended resources of a pod that its claim serves, so that its node has to have none of them."""
    status = pod.status.extendedResourceClaimStatus
    return frozenset(one.resourceName for one in status.requestMappings) if status else frozenset()
