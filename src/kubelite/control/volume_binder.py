"""Binds claims to persistent volumes, and keeps the phase of volumes.

Existing volumes are matched here. Volumes of a class with a provisioner are created and deleted by that provisioner;
the claim only gets its name. A claim whose class has WaitForFirstConsumer is left to the scheduler, which reserves a
volume.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.kinds.core.persistent_volumes import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimStatus,
)
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery.default_classes import DEFAULT_STORAGE, newest_default
from kubelite.api.machinery.local_volumes import PROVISIONED_BY
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.times import format_time
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.volume_matching import (
    BETA_CLASS,
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    best,
    class_of,
    is_for,
    reference_to_claim,
)
from kubelite.control.volume_recycler import recycled_source

VOLUME_COST_BYTES = 20  # cost of comparing a volume with a claim, for the offload
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
MIGRATED_TO = "pv.kubernetes.io/migrated-to"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"


class VolumeClaimBinder:
    """Reconciles claims."""

    name = "persistent-volume-claim-binder"
    identity = "persistent-volume-binder"
    workers = 1  # one at a time, so that no two claims get one volume

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._claims = context.mirror(PersistentVolumeClaim)
        self._volumes = context.mirror(PersistentVolume)
        self._classes = context.mirror(StorageClass)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch claims, and volumes and classes that may let pending claims bind."""
        return (
            Watch(PersistentVolumeClaim),
            Watch(PersistentVolume, self._concerned),
            Watch(StorageClass, lambda _: self._waiting()),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Bind the claim, or record an event that says what it waits for."""
        claim = self._claims.get(key.name, key.namespace)
        if claim is None or claim.metadata.deletionTimestamp is not None:
            return None
        if claim.spec.volumeName:
            await self._follow(claim)
        else:
            await self._find(claim)
        return None

    async def _follow(self, claim: PersistentVolumeClaim) -> None:
        """Complete the binding to the volume that the claim names."""
        volume = self._volumes.get(claim.spec.volumeName)
        if volume is None:
            if BIND_COMPLETED in claim.metadata.annotations and claim.status.phase != "Lost":
                text = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
                self._context.events.event(claim, WARNING, "ClaimLost", text)
                await self._report(claim, replace(claim.status, phase="Lost"))
            elif not claim.status.phase:
                await self._report(claim, replace(claim.status, phase="Pending"))
            return
        if volume.spec.claimRef is None or is_for(volume, claim):
            await self._bind(claim, volume)
        elif claim.status.phase not in ("Pending", "Lost"):
            await self._report(claim, replace(claim.status, phase="Pending"))

    async def _find(self, claim: PersistentVolumeClaim) -> None:
        found = self._classes.get(class_of(claim))
        waits = found is not None and found.volumeBindingMode == "WaitForFirstConsumer"
        volumes = self._volumes.list()
        if waits:
            # The scheduler reserves a volume that the pod's node can reach, so match no other.
            volumes = [volume for volume in volumes if is_for(volume, claim)]
        wanted = claim
        volume = await self._context.offload.run(
            VOLUME_COST_BYTES * len(volumes), lambda: best(wanted, volumes)
        )
        if volume is not None:
            await self._bind(claim, volume)
            return
        if await self._given_default(claim):
            return
        if not claim.status.phase:
            claim = await self._report(claim, replace(claim.status, phase="Pending"))
        if waits and SELECTED_NODE not in claim.metadata.annotations:
            text = "waiting for first consumer to be created before binding"
            self._context.events.event(claim, NORMAL, "WaitForFirstConsumer", text)
        elif found is not None and found.provisioner != NO_PROVISIONER:
            await self._ask(claim, found.provisioner)
        else:
            text = "no persistent volumes available for this claim and no storage class is set"
            self._context.events.event(claim, NORMAL, "FailedBinding", text)

    async def _given_default(self, claim: PersistentVolumeClaim) -> bool:
        """Return whether a claim older than the default class was given that class; its update enqueues it again."""
        if claim.spec.storageClassName is not None or BETA_CLASS in claim.metadata.annotations:
            return False
        name = newest_default([one.metadata for one in self._classes.list()], DEFAULT_STORAGE)
        if name:
            await self._client.update(
                replace(claim, spec=replace(claim.spec, storageClassName=name))
            )
        return bool(name)

    async def _ask(self, claim: PersistentVolumeClaim, provisioner: str) -> None:
        """Annotate the claim with its provisioner, which then creates the volume."""
        annotations = claim.metadata.annotations
        if annotations.get(PROVISIONER) != provisioner:
            more = {PROVISIONER: provisioner, BETA_PROVISIONER: provisioner}
            metadata = replace(claim.metadata, annotations={**annotations, **more})
            claim = await self._client.update(replace(claim, metadata=metadata))
        text = (
            "Waiting for a volume to be created either by the external provisioner "
            f"'{provisioner}' or manually by the system administrator. If volume creation is delayed, "
            "please verify that the provisioner is running and correctly registered."
        )
        self._context.events.event(claim, NORMAL, "ExternalProvisioning", text)

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """Write both sides, the volume's claimRef first, since it decides which claim has the volume."""
        reference = volume.spec.claimRef
        if reference is None or reference.uid != claim.metadata.uid:
            annotations = dict(volume.metadata.annotations)
            if reference is None:
                annotations[BOUND_BY_CONTROLLER] = "yes"
            volume = await self._client.update(
                replace(
                    volume,
                    metadata=replace(volume.metadata, annotations=annotations),
                    spec=replace(volume.spec, claimRef=reference_to_claim(claim)),
                )
            )
        name = volume.metadata.name
        if claim.spec.volumeName != name or BIND_COMPLETED not in claim.metadata.annotations:
            annotations = {**claim.metadata.annotations, BIND_COMPLETED: "yes"}
            if not claim.spec.volumeName:
                annotations[BOUND_BY_CONTROLLER] = "yes"
            claim = await self._client.update(
                replace(
                    claim,
                    metadata=replace(claim.metadata, annotations=annotations),
                    spec=replace(claim.spec, volumeName=name),
                )
            )
        status = replace(
            claim.status,
            phase="Bound",
            accessModes=volume.spec.accessModes,
            capacity=claim.status.capacity or volume.spec.capacity,
        )
        if claim.status.phase != "Bound":
            # From then on the driver's resizer tells which attributes the volume has.
            attributes = volume.spec.volumeAttributesClassName or None
            status = replace(status, currentVolumeAttributesClassName=attributes)
        if status != claim.status:
            claim = await self._report(claim, status)
        if volume.spec.csi is not None and _is_to_grow(claim):
            text = "waiting for an external controller to expand this PVC"
            self._context.events.event(claim, NORMAL, "ExternalExpanding", text)

    async def _report(
        self, claim: PersistentVolumeClaim, status: PersistentVolumeClaimStatus
    ) -> PersistentVolumeClaim:
        return await self._client.update(replace(claim, status=status), "status")

    def _waiting(self) -> Iterable[Key | None]:
        return (
            Key(claim.metadata.namespace, claim.metadata.name)
            if claim.status.phase != "Bound"
            else None
            for claim in self._claims.list()
        )

    def _concerned(self, volume: PersistentVolume) -> Iterable[Key | None]:
        reference = volume.spec.claimRef
        if reference is not None:
            return (Key(reference.namespace, reference.name),)
        return self._waiting()


class VolumePhaseController:
    """Reconciles the phase of persistent volumes."""

    name = "persistent-volume-binder"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._claims = context.mirror(PersistentVolumeClaim)
        self._volumes = context.mirror(PersistentVolume)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch volumes, and the claims bound to them."""
        return (Watch(PersistentVolume), Watch(PersistentVolumeClaim, _volume_of))

    async def reconcile(self, key: Key) -> float | None:
        """Write the phase if it differs."""
        volume = self._volumes.get(key.name)
        if volume is None or volume.metadata.deletionTimestamp is not None:
            return None
        phase = self._phase(volume)
        if phase != volume.status.phase:
            volume = await self._report(volume, phase)
        if phase == "Released" and (failure := unreclaimable(volume)):
            volume = await self._report(volume, "Failed", failure)
            policy = volume.spec.persistentVolumeReclaimPolicy
            reason = "VolumeFailedRecycle" if policy == "Recycle" else "VolumeFailedDelete"
            self._context.events.event(volume, WARNING, reason, failure)
        return None

    async def _report(
        self, volume: PersistentVolume, phase: str, message: str = ""
    ) -> PersistentVolume:
        since = format_time(self._context.clock.now())
        status = replace(volume.status, phase=phase, message=message, lastPhaseTransitionTime=since)
        return await self._client.update(replace(volume, status=status), "status")

    def _phase(self, volume: PersistentVolume) -> str:
        reference = volume.spec.claimRef
        if reference is None:
            return "Available"
        if not reference.uid:
            return "Available"  # reserved for a claim that may not exist yet
        claim = self._claims.get(reference.name, reference.namespace)
        if claim is None or claim.metadata.uid != reference.uid:
            return "Failed" if volume.status.phase == "Failed" else "Released"
        return "Bound"


def _is_to_grow(claim: PersistentVolumeClaim) -> bool:
    has = claim.status.capacity.get("storage", "0")
    return parse_quantity(has) < parse_quantity(claim.spec.resources.requests.get("storage", "0"))


def unreclaimable(volume: PersistentVolume) -> str:
    """Return why nothing carries out the reclaim policy of a released volume, in upstream's words; "" if something may.

    Drivers and external provisioners delete their own, and `control.volume_recycler` empties volumes. Other data is
    nobody's to delete: upstream's deleter of hostPath volumes, for tests on one host, has no counterpart here.
    """
    policy = volume.spec.persistentVolumeReclaimPolicy
    if policy == "Recycle":
        can = recycled_source(volume) or MIGRATED_TO in volume.metadata.annotations
        return "" if can else "No recycler plugin found for the volume!"
    provisioner = volume.metadata.annotations.get(PROVISIONED_BY, "")
    is_external = provisioner and not provisioner.startswith("kubernetes.io/")
    is_migrated = MIGRATED_TO in volume.metadata.annotations
    if policy != "Delete" or is_external or is_migrated or volume.spec.csi is not None:
        return ""
    return (
        f'error getting deleter volume plugin for volume "{volume.metadata.name}": '
        "no deletable volume plugin matched"
    )


def _volume_of(claim: PersistentVolumeClaim) -> tuple[Key, ...]:
    return (Key("", claim.spec.volumeName),) if claim.spec.volumeName else ()
