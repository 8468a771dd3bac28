"""Claims of ephemeral volumes belong to the pod that they were made for."""

import pytest

from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.volumes import (
    EphemeralVolumeSource,
    PersistentVolumeClaimVolumeSource,
    Volume,
)
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.machinery.pod_claims import claim_names, foreign_claim

POD = Pod(
    metadata=ObjectMeta(name="web", namespace="prod", uid="7"),
    spec=PodSpec(
        volumes=[
            Volume(
                name="a", persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName="c")
            ),
            Volume(name="b", ephemeral=EphemeralVolumeSource()),
            Volume(name="d"),
        ]
    ),
)


def claim(
    namespace: str = "prod", uid: str = "7", *, controller: bool = True
) -> PersistentVolumeClaim:
    owner = OwnerReference(
        apiVersion="v1", kind="Pod", name="web", uid=uid, controller=controller or None
    )
    meta = ObjectMeta(name="web-b", namespace=namespace, ownerReferences=[owner] if uid else [])
    return PersistentVolumeClaim(metadata=meta)


def test_claims_of_a_pod() -> None:
    assert list(claim_names(POD)) == [("c", False), ("web-b", True)]


def test_a_claim_that_the_pod_controls_is_its_own() -> None:
    assert not foreign_claim(POD, claim())


@pytest.mark.parametrize(
    "other", [claim(uid=""), claim(uid="8"), claim(controller=False), claim(namespace="dev")]
)
def test_any_other_claim_of_that_name_is_refused(other: PersistentVolumeClaim) -> None:
    place = f"{other.metadata.namespace}/web-b"
    wording = f"PVC {place} was not created for pod prod/web (pod is not owner)"
    assert foreign_claim(POD, other) == wording
