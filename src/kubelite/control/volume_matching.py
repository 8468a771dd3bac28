"""Which persistent volume satisfies a claim: shared by the binder and the scheduler."""

from collections.abc import Iterable

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.machinery.quantity import Quantity, parse_quantity
from kubelite.control.selection import matcher

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def class_of(claim: PersistentVolumeClaim) -> str:
    """Return the storage class of a claim; "" matches volumes without one."""
    return claim.metadata.annotations.get(BETA_CLASS, claim.spec.storageClassName or "")


def is_for(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Return whether a volume is bound to, or reserved for, a claim."""
    reference = volume.spec.claimRef
    return (
        reference is not None
        and reference.namespace == claim.metadata.namespace
        and reference.name == claim.metadata.name
        and reference.uid in {"", claim.metadata.uid}
    )


def satisfies(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Return whether a volume has the size, class, modes and labels that a claim requires."""
    wanted = claim.spec.resources.requests.get("storage", "0")
    if parse_quantity(volume.spec.capacity.get("storage", "0")) < parse_quantity(wanted):
        return False
    if volume.spec.storageClassName != class_of(claim):
        return False
    if (volume.spec.volumeMode or "Filesystem") != (claim.spec.volumeMode or "Filesystem"):
        return False
    if not set(claim.spec.accessModes) <= set(volume.spec.accessModes):
        return False
    return claim.spec.selector is None or matcher(claim.spec.selector)(volume.metadata.labels)


def is_candidate(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Return whether a claim may bind a volume: it is reserved for the claim, or available and satisfies it."""
    if volume.metadata.deletionTimestamp is not None:
        return False
    return is_for(volume, claim) or (volume.spec.claimRef is None and satisfies(volume, claim))


def rank(volume: PersistentVolume, claim: PersistentVolumeClaim) -> tuple[bool, Quantity, str]:
    """Return the sort key of a candidate: a volume reserved for the claim first, then the smallest."""
    size = parse_quantity(volume.spec.capacity.get("storage", "0"))
    return not is_for(volume, claim), size, volume.metadata.name


def best(
    claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]
) -> PersistentVolume | None:
    """Return the volume reserved for the claim, else the smallest available one that satisfies it, or None."""
    candidates = (volume for volume in volumes if is_candidate(volume, claim))
    return min(candidates, key=lambda volume: rank(volume, claim), default=None)


def reference_to_claim(claim: PersistentVolumeClaim) -> ObjectReference:
    """Return the claimRef of a volume that is bound to the claim."""
    return ObjectReference(
        apiVersion="v1",
        kind="PersistentVolumeClaim",
        namespace=claim.metadata.namespace,
        name=claim.metadata.name,
        uid=claim.metadata.uid,
        resourceVersion=claim.metadata.resourceVersion,
    )
