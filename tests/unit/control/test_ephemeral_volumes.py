"""Claims of generic ephemeral volumes."""

from fakes.harness import Harness

from kubelite.api.errors import APIError, Forbidden
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus
from kubelite.api.kinds.core.volumes import (
    EmptyDirVolumeSource,
    EphemeralVolumeSource,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate,
    Volume,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.ephemeral_volumes import EphemeralVolumeController

TEMPLATE = PersistentVolumeClaimTemplate(
    metadata=ObjectMeta(labels={"a": "b"}, annotations={"c": "d"}),
    spec=PersistentVolumeClaimSpec(accessModes=["ReadWriteOnce"], storageClassName="fast"),
)


def pod(phase: str = "Pending", deleted: str | None = None) -> Pod:
    ephemeral = EphemeralVolumeSource(volumeClaimTemplate=TEMPLATE)
    return Pod(
        metadata=ObjectMeta(
            name="web",
            namespace="default",
            deletionTimestamp=deleted,
            finalizers=["x/y"] if deleted else [],
        ),
        spec=PodSpec(
            volumes=[
                Volume(name="scratch", ephemeral=ephemeral),
                Volume(name="other", emptyDir=EmptyDirVolumeSource()),
            ]
        ),
        status=PodStatus(phase=phase),
    )


async def test_a_claim_is_created_as_the_template_says_and_the_pod_controls_it() -> None:
    async with Harness(EphemeralVolumeController) as harness:
        created = await harness.client.create(pod())
        await harness.settle()
        (claim,) = harness.client.all(PersistentVolumeClaim)
    assert (claim.metadata.namespace, claim.metadata.name) == ("default", "web-scratch")
    assert claim.metadata.labels == {"a": "b"}
    assert claim.metadata.annotations == {"c": "d"}
    assert claim.spec == TEMPLATE.spec
    (owner,) = claim.metadata.ownerReferences
    assert (owner.kind, owner.uid, owner.controller) == ("Pod", created.metadata.uid, True)


async def test_a_pod_that_is_over_or_deleted_gets_no_claim() -> None:
    for item in (pod("Succeeded"), pod("Failed"), pod(deleted="2026-01-01T00:00:00Z")):
        async with Harness(EphemeralVolumeController) as harness:
            await harness.client.create(item)
            await harness.settle()
            assert harness.client.all(PersistentVolumeClaim) == []


async def test_a_claim_of_the_name_that_is_not_the_pods_stays_as_it_is() -> None:
    async with Harness(EphemeralVolumeController) as harness:
        taken = await harness.client.create(
            PersistentVolumeClaim(metadata=ObjectMeta(name="web-scratch", namespace="default"))
        )
        await harness.client.create(pod())
        await harness.settle()
        assert harness.client.all(PersistentVolumeClaim) == [taken]


async def test_a_refused_claim_is_an_event_of_the_pod_and_is_retried() -> None:
    async with Harness(EphemeralVolumeController) as harness:

        def refuse(verb: str, kind: str) -> APIError | None:
            is_claim = (verb, kind) == ("create", "PersistentVolumeClaim")
            return Forbidden("exceeded quota") if is_claim else None

        harness.client.refuse = refuse
        await harness.client.create(pod())
        await harness.settle()
        event = harness.client.all(Event)[0]
        assert (event.type, event.reason) == ("Warning", "EphemeralVolume")
        assert event.message == "ephemeral volume web-scratch: exceeded quota"
        assert event.involvedObject.name == "web"


async def test_a_claim_that_is_deleted_under_its_pod_is_created_again() -> None:
    async with Harness(EphemeralVolumeController) as harness:
        await harness.client.create(pod())
        await harness.settle()
        (claim,) = harness.client.all(PersistentVolumeClaim)
        await harness.client.delete(PersistentVolumeClaim, "web-scratch", "default")
        await harness.settle()
        (again,) = harness.client.all(PersistentVolumeClaim)
        assert again.metadata.uid != claim.metadata.uid
