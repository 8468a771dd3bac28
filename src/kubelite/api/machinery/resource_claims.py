"""Which resource claims a pod has, and for whom a claim is reserved (dynamic resource allocation)."""

from typing import Final

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim, ResourceClaimConsumerReference

CLAIM_ANNOTATION: Final = "resource.kubernetes.io/pod-claim-name"
FINALIZER: Final = "resource.kubernetes.io/delete-protection"
RESERVED_MAX: Final = 256  # pods of one claim, a limit of the field


def claim_names(pod: Pod) -> dict[str, str]:
    """Return the name of the claim of each entry of a pod.

    It is "" where none is needed, and an entry is missing for as long as its claim has not been made.
    """
    made = {one.name: one.resourceClaimName or "" for one in pod.status.resourceClaimStatuses}
    found: dict[str, str] = {}
    for entry in pod.spec.resourceClaims:
        if entry.resourceClaimName is not None:
            found[entry.name] = entry.resourceClaimName
        elif entry.name in made:
            found[entry.name] = made[entry.name]
    return found


def claims_of(pod: Pod) -> list[str]:
    """Return the names of all claims of a pod that are made, that of its extended resources included."""
    found = [name for name in claim_names(pod).values() if name]
    if extended := pod.status.extendedResourceClaimStatus:
        found.append(extended.resourceClaimName)
    return found


def foreign_claim(pod: Pod, claim: ResourceClaim) -> str:
    """Return why a claim is not the one that was made for a pod, in Kubernetes' wording; "" if it is."""
    controllers = [one.uid for one in claim.metadata.ownerReferences if one.controller]
    is_near = claim.metadata.namespace == pod.metadata.namespace
    if is_near and pod.metadata.uid and controllers[:1] == [pod.metadata.uid]:
        return ""
    return (
        f"ResourceClaim {claim.metadata.namespace}/{claim.metadata.name} was not created for pod "
        f"{pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)"
    )


def is_reserved_for(pod: Pod, claim: ResourceClaim) -> bool:
    """Return whether a claim is reserved for a pod."""
    return any(one.uid == pod.metadata.uid for one in claim.status.reservedFor)


def can_be_reserved(claim: ResourceClaim) -> bool:
    """Return whether one more pod may use a claim."""
    return len(claim.status.reservedFor) < RESERVED_MAX


def reservation_for(pod: Pod) -> ResourceClaimConsumerReference:
    """Return the reservation of a claim for a pod."""
    return ResourceClaimConsumerReference(
        resource="pods", name=pod.metadata.name, uid=pod.metadata.uid
    )
