"""Binding of claims to volumes, and the phases of both."""

import pytest
from fakes.fake_client import FakeClient
from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.persistent_volumes import (
    CSIPersistentVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
)
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.core.volumes import PersistentVolumeClaimSpec, VolumeResourceRequirements
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery.local_volumes import PROVISIONED_BY
from kubelite.control.volume_binder import (
    BETA_PROVISIONER,
    BIND_COMPLETED,
    MIGRATED_TO,
    PROVISIONER,
    VolumeClaimBinder,
    VolumePhaseController,
)
from kubelite.control.volume_matching import BOUND_BY_CONTROLLER, NO_PROVISIONER, SELECTED_NODE

BOTH = (VolumeClaimBinder, VolumePhaseController)


def claim(
    volume: str = "",
    class_name: str = "",
    annotations: dict[str, str] | None = None,
    phase: str = "",
) -> PersistentVolumeClaim:
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name="data", namespace="default", annotations=annotations or {}),
        spec=PersistentVolumeClaimSpec(
            accessModes=["ReadWriteOnce"],
            resources=VolumeResourceRequirements(requests={"storage": "1Gi"}),
            storageClassName=class_name,
            volumeName=volume,
        ),
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def volume(
    name: str = "pv", size: str = "1Gi", reference: ObjectReference | None = None
) -> PersistentVolume:
    return PersistentVolume(
        metadata=ObjectMeta(name=name),
        spec=PersistentVolumeSpec(
            capacity={"storage": size},
            accessModes=["ReadWriteOnce", "ReadWriteMany"],
            claimRef=reference,
        ),
    )


def storage_class(provisioner: str = NO_PROVISIONER, mode: str = "Immediate") -> StorageClass:
    return StorageClass(
        metadata=ObjectMeta(name="fast"), provisioner=provisioner, volumeBindingMode=mode
    )


def reserved(uid: str = "", name: str = "data") -> ObjectReference:
    return ObjectReference(kind="PersistentVolumeClaim", namespace="default", name=name, uid=uid)


def the_claim(client: FakeClient) -> PersistentVolumeClaim:
    (found,) = client.all(PersistentVolumeClaim)
    return found


def events(client: FakeClient) -> list[tuple[str, str]]:
    return [(event.type, event.reason) for event in client.all(Event)]


async def test_a_claim_gets_the_smallest_volume_that_is_large_enough() -> None:
    async with Harness(*BOTH) as harness:
        client = harness.client
        for name, size in (("large", "5Gi"), ("small", "1Mi"), ("fitting", "2Gi")):
            await client.create(volume(name, size))
        await client.create(claim())
        await harness.settle()
        bound = the_claim(client)
        assert (bound.spec.volumeName, bound.status.phase) == ("fitting", "Bound")
        assert bound.status.capacity == {"storage": "2Gi"}
        assert bound.status.accessModes == ["ReadWriteOnce", "ReadWriteMany"]
        marks = {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}
        assert bound.metadata.annotations == marks
        phases = {one.metadata.name: one.status.phase for one in client.all(PersistentVolume)}
        assert phases == {"large": "Available", "small": "Available", "fitting": "Bound"}
        taken = await client.get(PersistentVolume, "fitting")
        assert taken.spec.claimRef is not None
        assert taken.spec.claimRef.uid == bound.metadata.uid
        assert taken.metadata.annotations == {BOUND_BY_CONTROLLER: "yes"}


async def test_two_claims_never_get_one_volume() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(volume())
        await harness.client.create(claim())
        second = claim()
        await harness.client.create(
            replace(second, metadata=replace(second.metadata, name="second"))
        )
        await harness.settle()
        phases = sorted(one.status.phase for one in harness.client.all(PersistentVolumeClaim))
        assert phases == ["Bound", "Pending"]
        await harness.client.create(volume("late"))
        await harness.settle()
        found = {one.spec.volumeName for one in harness.client.all(PersistentVolumeClaim)}
        assert found == {"pv", "late"}


async def test_a_reserved_volume_goes_to_its_claim_though_others_fit_better() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(volume("any"))
        await harness.client.create(volume("mine", "9Gi", reserved()))
        await harness.client.create(claim())
        await harness.settle()
        assert the_claim(harness.client).spec.volumeName == "mine"
        mine = await harness.client.get(PersistentVolume, "mine")
        # It was the administrator who chose this volume, so it does not say that the controller did.
        assert mine.metadata.annotations == {}


async def test_a_claim_that_names_its_volume_is_bound_to_it_without_a_match() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(volume(size="1Mi"))
        await harness.client.create(claim("pv"))
        await harness.settle()
        bound = the_claim(harness.client)
        assert bound.status.phase == "Bound"
        assert BOUND_BY_CONTROLLER not in bound.metadata.annotations


async def test_a_claim_that_names_the_volume_of_another_stays_pending() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(volume(reference=reserved("u", "other")))
        await harness.client.create(claim("pv"))
        await harness.settle()
        assert the_claim(harness.client).status.phase == "Pending"
        (kept,) = harness.client.all(PersistentVolume)
        assert kept.spec.claimRef is not None
        assert kept.spec.claimRef.name == "other"


@pytest.mark.parametrize(
    ("annotations", "phase", "wanted", "reasons"),
    [
        ({}, "", "Pending", []),
        ({BIND_COMPLETED: "yes"}, "Bound", "Lost", [("Warning", "ClaimLost")]),
        ({BIND_COMPLETED: "yes"}, "Lost", "Lost", []),
    ],
)
async def test_a_claim_whose_volume_is_not_there(
    annotations: dict[str, str], phase: str, wanted: str, reasons: list[tuple[str, str]]
) -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(claim("pv", annotations=annotations, phase=phase))
        await harness.settle()
        assert the_claim(harness.client).status.phase == wanted
        assert events(harness.client) == reasons
        await harness.client.create(volume())
        await harness.settle()
        assert the_claim(harness.client).status.phase == "Bound"


async def test_without_a_volume_and_a_provisioner_binding_fails() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(claim())
        await harness.settle()
        assert the_claim(harness.client).status.phase == "Pending"
        assert events(harness.client) == [("Normal", "FailedBinding")]


async def test_a_provisioner_is_named_in_the_claim_and_makes_the_volume() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(storage_class("x.io/disk"))
        await harness.client.create(claim(class_name="fast"))
        await harness.settle()
        waiting = the_claim(harness.client)
        provisioner = {PROVISIONER: "x.io/disk", BETA_PROVISIONER: "x.io/disk"}
        assert waiting.metadata.annotations == provisioner
        assert ("Normal", "ExternalProvisioning") in events(harness.client)
        made = volume("made", reference=reserved(waiting.metadata.uid))
        await harness.client.create(replace(made, spec=replace(made.spec, storageClassName="fast")))
        await harness.settle()
        assert the_claim(harness.client).spec.volumeName == "made"


async def test_a_class_that_comes_later_lets_the_claim_be_provisioned() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(claim(class_name="fast"))
        await harness.settle()
        assert PROVISIONER not in the_claim(harness.client).metadata.annotations
        await harness.client.create(storage_class("x.io/disk"))
        await harness.settle()
        assert the_claim(harness.client).metadata.annotations[PROVISIONER] == "x.io/disk"


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [({}, "WaitForFirstConsumer"), ({SELECTED_NODE: "n"}, "ExternalProvisioning")],
)
async def test_a_claim_that_waits_for_its_first_consumer_takes_no_volume_itself(
    annotations: dict[str, str], reason: str
) -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(storage_class("x.io/disk", "WaitForFirstConsumer"))
        free = volume()
        await harness.client.create(replace(free, spec=replace(free.spec, storageClassName="fast")))
        await harness.client.create(claim(class_name="fast", annotations=annotations))
        await harness.settle()
        assert the_claim(harness.client).spec.volumeName == ""
        assert [found for _, found in events(harness.client)] == [reason]


async def test_the_scheduler_s_reservation_binds_a_claim_that_waits() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(storage_class(mode="WaitForFirstConsumer"))
        created = await harness.client.create(claim(class_name="fast"))
        await harness.settle()
        await harness.client.create(volume(reference=reserved(created.metadata.uid)))
        await harness.settle()
        assert the_claim(harness.client).status.phase == "Bound"


async def test_a_deleted_claim_is_bound_to_nothing() -> None:
    async with Harness(*BOTH) as harness:
        going = claim()
        metadata = replace(
            going.metadata, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["x/y"]
        )
        await harness.client.create(replace(going, metadata=metadata))
        await harness.client.create(volume())
        await harness.settle()
        assert the_claim(harness.client).spec.volumeName == ""


@pytest.mark.parametrize(
    ("reference", "before", "phase"),
    [
        (None, "", "Available"),
        (reserved(), "", "Available"),  # its claim may not exist yet
        (reserved("gone"), "Bound", "Released"),
        (reserved("gone"), "Failed", "Failed"),  # it could not be reclaimed
        (reserved("gone", "missing"), "", "Released"),
    ],
)
async def test_phases_of_volumes(
    reference: ObjectReference | None, before: str, phase: str
) -> None:
    async with Harness(VolumePhaseController) as harness:
        item = replace(volume(reference=reference), status=PersistentVolumeStatus(phase=before))
        await harness.client.create(claim())
        await harness.client.create(item)
        await harness.settle()
        (found,) = harness.client.all(PersistentVolume)
        assert found.status.phase == phase
        assert bool(found.status.lastPhaseTransitionTime) is (before != phase)


@pytest.mark.parametrize(
    ("policy", "annotations", "phase", "told"),
    [
        ("Retain", {}, "Released", []),
        ("Delete", {PROVISIONED_BY: "example.com/other"}, "Released", []),
        ("Delete", {MIGRATED_TO: "example.com/other"}, "Released", []),
        ("Delete", {}, "Failed", [("Warning", "VolumeFailedDelete")]),
        (
            "Delete",
            {PROVISIONED_BY: "kubernetes.io/aws-ebs"},
            "Failed",
            [("Warning", "VolumeFailedDelete")],
        ),
        ("Recycle", {}, "Failed", [("Warning", "VolumeFailedRecycle")]),
    ],
)
async def test_a_released_volume_that_nothing_reclaims_has_failed(
    policy: str, annotations: dict[str, str], phase: str, told: list[tuple[str, str]]
) -> None:
    async with Harness(VolumePhaseController) as harness:
        item = volume(reference=reserved("gone"))
        item = replace(
            item,
            metadata=replace(item.metadata, annotations=annotations),
            spec=replace(item.spec, persistentVolumeReclaimPolicy=policy),
        )
        await harness.client.create(item)
        await harness.settle()
        (found,) = harness.client.all(PersistentVolume)
        assert found.status.phase == phase
        assert bool(found.status.message) is (phase == "Failed")
        assert events(harness.client) == told


async def test_a_volume_is_released_when_its_claim_goes() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(volume())
        await harness.client.create(claim())
        await harness.settle()
        await harness.client.delete(PersistentVolumeClaim, "data", "default")
        await harness.settle()
        (found,) = harness.client.all(PersistentVolume)
        assert found.status.phase == "Released"
        await harness.client.create(claim())  # a namesake is another claim
        await harness.settle()
        assert the_claim(harness.client).status.phase == "Pending"


@pytest.mark.parametrize(
    ("class_name", "annotations", "given"),
    [
        (None, {}, "fast"),
        ("", {}, ""),
        ("slow", {}, "slow"),
        (None, {"volume.beta.kubernetes.io/storage-class": ""}, None),
    ],
)
async def test_a_claim_without_a_class_gets_a_default_that_comes_later(
    class_name: str | None, annotations: dict[str, str], given: str | None
) -> None:
    async with Harness(*BOTH) as harness:
        made = claim(annotations=annotations)
        await harness.client.create(
            replace(made, spec=replace(made.spec, storageClassName=class_name))
        )
        await harness.settle()
        assert the_claim(harness.client).spec.storageClassName == class_name
        marks = {"storageclass.kubernetes.io/is-default-class": "true"}
        default = storage_class("x")
        await harness.client.create(
            replace(default, metadata=replace(default.metadata, annotations=marks))
        )
        await harness.settle()
        assert the_claim(harness.client).spec.storageClassName == given


async def test_a_volume_without_a_class_comes_before_the_default_class() -> None:
    async with Harness(*BOTH) as harness:
        marks = {"storageclass.kubernetes.io/is-default-class": "true"}
        default = storage_class("x")
        await harness.client.create(volume())
        await harness.client.create(
            replace(default, metadata=replace(default.metadata, annotations=marks))
        )
        made = claim()
        await harness.client.create(replace(made, spec=replace(made.spec, storageClassName=None)))
        await harness.settle()
        assert the_claim(harness.client).spec.volumeName == "pv"


def csi_volume(size: str = "1Gi", attributes: str = "") -> PersistentVolume:
    source = CSIPersistentVolumeSource(driver="d.example.com", volumeHandle="h")
    made = volume(size=size)
    spec = replace(made.spec, csi=source, volumeAttributesClassName=attributes or None)
    return replace(made, spec=spec)


async def test_a_bound_claim_shows_the_attributes_of_its_volume() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(csi_volume(attributes="gold"))
        await harness.client.create(claim())
        await harness.settle()
        found = await harness.client.get(PersistentVolumeClaim, "data", "default")
        assert found.status.phase == "Bound"
        assert found.status.currentVolumeAttributesClassName == "gold"


async def test_a_claim_that_asks_for_more_is_left_to_the_drivers_resizer() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(csi_volume())
        await harness.client.create(claim())
        await harness.settle()
        assert not [e for e in harness.client.all(Event) if e.reason == "ExternalExpanding"]
        more = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        await harness.client.patch(PersistentVolumeClaim, "data", more, "default")
        await harness.settle()
        (event,) = [e for e in harness.client.all(Event) if e.reason == "ExternalExpanding"]
        assert event.message == "waiting for an external controller to expand this PVC"
        found = await harness.client.get(PersistentVolumeClaim, "data", "default")
        assert found.status.capacity == {"storage": "1Gi"}
