"""Released volumes are emptied by pods, and nobody can pretend that they were."""

import pytest
from fakes.fake_client import FakeClient
from fakes.harness import Harness
from msgspec.structs import replace

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.persistent_volumes import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
)
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.core.volumes import (
    HostPathVolumeSource,
    NFSVolumeSource,
    PersistentVolumeClaimVolumeSource,
    Volume,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.volume_binder import VolumePhaseController
from kubelite.control.volume_matching import BOUND_BY_CONTROLLER
from kubelite.control.volume_recycler import SYNC_SECONDS, VolumeRecycler, recycler_for

BOTH = (VolumePhaseController, VolumeRecycler)
NAME = "recycler-for-pv"
GONE = ObjectReference(namespace="default", name="data", uid="gone")


def volume(size: str = "1Gi", *, is_reserved: bool = False, nfs: bool = False) -> PersistentVolume:
    annotations = {} if is_reserved else {BOUND_BY_CONTROLLER: "yes"}
    return PersistentVolume(
        metadata=ObjectMeta(name="pv", annotations=annotations),
        spec=PersistentVolumeSpec(
            capacity={"storage": size},
            accessModes=["ReadWriteOnce"],
            persistentVolumeReclaimPolicy="Recycle",
            claimRef=GONE,
            hostPath=None if nfs else HostPathVolumeSource(path="/disks/1"),
            nfs=NFSVolumeSource(server="files", path="/1") if nfs else None,
        ),
    )


def the_volume(client: FakeClient) -> PersistentVolume:
    (found,) = client.all(PersistentVolume)
    return found


async def ends(harness: Harness, phase: str, message: str = "") -> None:
    pod = await harness.client.get(Pod, NAME, "default")
    await harness.client.update(
        replace(pod, status=PodStatus(phase=phase, message=message)), "status"
    )
    await harness.settle()


async def later(harness: Harness) -> None:
    harness.clock.advance(SYNC_SECONDS)
    found = the_volume(harness.client)
    labels = replace(found.metadata, labels={"look": "again"})
    await harness.client.update(replace(found, metadata=labels))
    await harness.settle()


def reasons(client: FakeClient) -> list[tuple[str, str]]:
    return [(event.type, event.reason) for event in client.all(Event)]


@pytest.mark.parametrize(
    ("size", "nfs", "seconds"),
    [("1Gi", False, 60), ("10Gi", False, 300), ("1Gi", True, 300), ("100Gi", True, 3000)],
)
def test_a_recycler_has_time_by_the_size_of_its_volume(size: str, nfs: bool, seconds: int) -> None:
    pod = recycler_for(volume(size, nfs=nfs))
    assert (pod.metadata.name, pod.metadata.namespace) == (NAME, "default")
    assert pod.spec.activeDeadlineSeconds == seconds
    assert pod.spec.restartPolicy == "Never"
    (source,) = pod.spec.volumes
    assert (source.nfs is not None, source.hostPath is not None) == (nfs, not nfs)
    (container,) = pod.spec.containers
    assert [(one.name, one.mountPath) for one in container.volumeMounts] == [("vol", "/scrub")]


@pytest.mark.parametrize("is_reserved", [False, True])
async def test_a_released_volume_is_emptied_and_available_again(is_reserved: bool) -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(volume(is_reserved=is_reserved))
        await harness.settle()
        assert the_volume(harness.client).status.phase == "Released"
        await ends(harness, "Running")
        assert the_volume(harness.client).status.phase == "Released"
        await ends(harness, "Succeeded")
        found = the_volume(harness.client)
        assert found.status.phase == "Available"
        assert found.spec.claimRef == (replace(GONE, uid="") if is_reserved else None)
        assert BOUND_BY_CONTROLLER not in found.metadata.annotations
        assert harness.client.all(Pod) == []
        assert reasons(harness.client) == [("Normal", "VolumeRecycled")]


async def test_a_recycler_that_fails_is_told_and_followed_by_another() -> None:
    async with Harness(*BOTH) as harness:
        await harness.client.create(volume())
        await harness.settle()
        await ends(harness, "Failed", "no disk")
        found = the_volume(harness.client)
        assert found.status.phase == "Failed"
        assert found.status.message == "Recycle failed: failed to recycle volume: no disk"
        assert ("Warning", "VolumeFailedRecycle") in reasons(harness.client)
        assert harness.client.all(Pod) == []  # one that fails at once would else follow another
        await later(harness)
        (again,) = harness.client.all(Pod)
        assert again.status.phase != "Failed"
        await ends(harness, "Succeeded")
        assert the_volume(harness.client).status.phase == "Available"


async def test_a_pod_that_somebody_else_made_empties_nothing() -> None:
    """Whoever may create pods could else hand the data of a volume to its next claim."""
    async with Harness(*BOTH) as harness:
        forged = Pod(metadata=ObjectMeta(name=NAME, namespace="default"), spec=PodSpec())
        forged = await harness.client.create(forged)
        await ends(harness, "Succeeded")
        await harness.client.create(volume())
        await harness.settle()
        found = the_volume(harness.client)
        assert found.spec.claimRef is not None
        assert harness.client.all(Pod) == []
        await later(harness)
        (own,) = harness.client.all(Pod)
        assert own.metadata.uid != forged.metadata.uid
        assert own.spec.containers[0].name == "pv-recycler"


async def test_a_volume_that_a_pod_still_uses_waits() -> None:
    async with Harness(*BOTH) as harness:
        source = PersistentVolumeClaimVolumeSource(claimName="data")
        user = Pod(
            metadata=ObjectMeta(name="user", namespace="default"),
            spec=PodSpec(volumes=[Volume(name="v", persistentVolumeClaim=source)]),
        )
        await harness.client.create(user)
        await harness.client.create(volume())
        await harness.settle()
        assert [pod.metadata.name for pod in harness.client.all(Pod)] == ["user"]
        assert ("Normal", "VolumeFailedRecycle") in reasons(harness.client)
        claim = PersistentVolumeClaim(metadata=ObjectMeta(name="data", namespace="default"))
        await harness.client.create(claim)  # its namesake's pod uses another volume
        await later(harness)
        assert {pod.metadata.name for pod in harness.client.all(Pod)} == {"user", NAME}


@pytest.mark.parametrize(
    ("policy", "phase"), [("Retain", "Released"), ("Recycle", "Bound"), ("Recycle", "Available")]
)
async def test_other_volumes_are_left_alone(policy: str, phase: str) -> None:
    async with Harness(VolumeRecycler) as harness:
        item = volume()
        item = replace(
            item,
            spec=replace(item.spec, persistentVolumeReclaimPolicy=policy),
            status=PersistentVolumeStatus(phase=phase),
        )
        await harness.client.create(item)
        await harness.settle()
        assert harness.client.all(Pod) == []
