"""The owners of the claims of a StatefulSet's pods, which implement persistentVolumeClaimRetentionPolicy.

With whenDeleted: Delete the set owns its claims. With whenScaled: Delete a pod beyond the wanted ordinals owns its
claims. A claim with another controller, or owned by a former set or pod of the same name, is left unchanged.
"""

from collections.abc import Sequence
from typing import Any

from kubelite.api.kinds.apps import StatefulSet
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.control.ownership import controller_reference


def deletes(owner: StatefulSet) -> tuple[bool, bool]:
    """Return whether claims are deleted with the set, and when it is scaled down."""
    policy = owner.spec.persistentVolumeClaimRetentionPolicy
    if policy is None:
        return False, False
    return policy.whenDeleted == "Delete", policy.whenScaled == "Delete"


def owners_of_claim(
    claim: PersistentVolumeClaim, owner: StatefulSet, pod: Pod, *, is_wanted: bool
) -> list[OwnerReference]:
    """Return the owner references the claim should have; `is_wanted`: the pod's ordinal is wanted."""
    present = claim.metadata.ownerReferences
    if any(_is_former(one, owner) or _is_former(one, pod) for one in present):
        return list(present)
    ours = {owner.metadata.uid, pod.metadata.uid}
    others = [one for one in present if one.uid not in ours]
    when_deleted, when_scaled = deletes(owner)
    if any(one.controller for one in others) and (when_deleted or when_scaled):
        return others
    wanted = _wanted(owner, pod, when_deleted=when_deleted, when_scaled=when_scaled, kept=is_wanted)
    # Correct references keep their order, so that nothing is written.
    if [one for one in present if one.uid in ours] == wanted:
        return list(present)
    return [*others, *wanted]


def _wanted(
    owner: StatefulSet, pod: Pod, *, when_deleted: bool, when_scaled: bool, kept: bool
) -> Sequence[OwnerReference]:
    if when_scaled and not kept:
        return [controller_reference(pod)]
    return [controller_reference(owner)] if when_deleted else []


def _is_former(reference: OwnerReference, item: Any) -> bool:
    """Return whether a reference names a former object of the same name: its uid differs."""
    gvk: GroupVersionKind = type(item).gvk
    meta: ObjectMeta = item.metadata
    named = (reference.apiVersion, reference.kind, reference.name)
    return named == (gvk.api_version, gvk.kind, meta.name) and reference.uid != meta.uid
