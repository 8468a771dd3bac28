"""The claims that a pod uses, and whether the claim of an ephemeral volume was created for the pod.

The claim of an ephemeral volume is found by its name. A user who may create claims can take that name before the pod
exists, so that the volume would have foreign data. Only the controller reference to the pod proves that it is the
pod's.
"""

from collections.abc import Iterator

from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume


def claim_name(pod: Pod, volume: Volume) -> str:
    """Return the name of the claim of a volume; "" for a volume of another type."""
    if volume.persistentVolumeClaim is not None:
        return volume.persistentVolumeClaim.claimName
    if volume.ephemeral is not None:
        return f"{pod.metadata.name}-{volume.name}"
    return ""


def claim_names(pod: Pod) -> Iterator[tuple[str, bool]]:
    """Yield the name of each claim of a pod, and whether it belongs to an ephemeral volume."""
    for volume in pod.spec.volumes:
        if name := claim_name(pod, volume):
            yield name, volume.ephemeral is not None


def foreign_claim(pod: Pod, claim: PersistentVolumeClaim) -> str:
    """Return why an ephemeral volume of a pod must not use a claim, in Kubernetes' wording; "" if it may."""
    controllers = [one.uid for one in claim.metadata.ownerReferences if one.controller]
    is_near = claim.metadata.namespace == pod.metadata.namespace
    if is_near and pod.metadata.uid and controllers[:1] == [pod.metadata.uid]:
        return ""
    return (
        f"PVC {claim.metadata.namespace}/{claim.metadata.name} was not created for pod "
        f"{pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)"
    )
