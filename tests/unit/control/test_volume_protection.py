from fakes.harness import Harness

from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.volumes import (
    EphemeralVolumeSource,
    PersistentVolumeClaimSpec,
    Volume,
)
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.kinds.storage import VolumeAttributesClass
from kubelite.control.volume_protection import (
    ATTRIBUTES_FINALIZER,
    CLAIM_FINALIZER,
    AttributesProtectionController,
    ClaimProtectionController,
)


def silver() -> VolumeAttributesClass:
    return VolumeAttributesClass(metadata=ObjectMeta(name="silver"), driverName="d")


async def test_an_attributes_class_stays_while_a_claim_names_it() -> None:
    async with Harness(AttributesProtectionController) as harness:
        client = harness.client
        await client.create(silver())
        claim = PersistentVolumeClaim(
            metadata=ObjectMeta(name="c", namespace="default"),
            spec=PersistentVolumeClaimSpec(volumeAttributesClassName="silver"),
        )
        await client.create(claim)
        await harness.settle()
        assert client.all(VolumeAttributesClass)[0].metadata.finalizers == [ATTRIBUTES_FINALIZER]
        await client.delete(VolumeAttributesClass, "silver")
        await harness.settle()
        (going,) = client.all(VolumeAttributesClass)
        assert going.metadata.deletionTimestamp is not None
        await client.delete(PersistentVolumeClaim, "c", "default")
        await harness.settle()
        assert client.all(VolumeAttributesClass) == []


async def test_a_pod_guards_the_claim_of_its_ephemeral_volume_and_no_other_of_that_name() -> None:
    async with Harness(ClaimProtectionController) as harness:
        client = harness.client
        volumes = [Volume(name="v", ephemeral=EphemeralVolumeSource())]
        pods = [
            await client.create(
                Pod(
                    metadata=ObjectMeta(name=name, namespace="default"),
                    spec=PodSpec(nodeName="n", volumes=volumes),
                )
            )
            for name in ("own", "other")
        ]
        owner = OwnerReference(
            apiVersion="v1", kind="Pod", name="own", uid=pods[0].metadata.uid, controller=True
        )
        for name in ("own-v", "other-v"):
            await client.create(
                PersistentVolumeClaim(
                    metadata=ObjectMeta(
                        name=name,
                        namespace="default",
                        ownerReferences=[owner] if name == "own-v" else [],
                    )
                )
            )
        await harness.settle()
        for name in ("own-v", "other-v"):
            await client.delete(PersistentVolumeClaim, name, "default")
        await harness.settle()
        (left,) = client.all(PersistentVolumeClaim)
        assert left.metadata.name == "own-v"
        assert left.metadata.finalizers == [CLAIM_FINALIZER]
