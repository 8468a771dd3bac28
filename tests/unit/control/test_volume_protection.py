from fakes.harness import Harness

from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.volumes import PersistentVolumeClaimSpec
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.storage import VolumeAttributesClass
from kubelite.control.volume_protection import ATTRIBUTES_FINALIZER, AttributesProtectionController


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
