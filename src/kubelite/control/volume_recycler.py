"""Empties released volumes with the reclaim policy Recycle, by pods, and makes them available again.

As upstream's (pkg/controller/volume/persistentvolume with pkg/volume/util/recyclerclient), for volumes of hostPath and
NFS. A pod with a recycler's name that this process did not create proves nothing, since its author may have made it
succeed at once: it is deleted, and the volume emptied again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import AlreadyExists, APIError
from kubelite.api.kinds.core.containers import Container, VolumeMount
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.volumes import Volume
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.pod_claims import claim_names
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.times import format_time
from kubelite.control.pods import is_terminal
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.volume_matching import BOUND_BY_CONTROLLER

NAMESPACE, PREFIX = "default", "recycler-for-"
IMAGE = "registry.k8s.io/build-image/debian-base:bookworm-v1.0.6"
SCRIPT = 'test -e /scrub && find /scrub -mindepth 1 -delete && test -z "$(ls -A /scrub)" || exit 1'
GIBIBYTE = 1 << 30
SECONDS_PER_GIBIBYTE = 30
SECONDS_MIN = {"hostPath": 60, "nfs": 300}
SYNC_SECONDS = 15.0  # as upstream looks at all volumes again


def recycled_source(volume: PersistentVolume) -> str:
    """Return the field of a volume's source if it can be emptied by a pod; "" if not."""
    if volume.spec.hostPath is not None:
        return "hostPath"
    return "nfs" if volume.spec.nfs is not None else ""


def recycler_for(volume: PersistentVolume) -> Pod:
    """Return the pod that empties a volume."""
    field = recycled_source(volume)
    size = parse_quantity(volume.spec.capacity.get("storage", "0")).value()
    seconds = max(size // GIBIBYTE * SECONDS_PER_GIBIBYTE, SECONDS_MIN[field])
    source = Volume(name="vol", hostPath=volume.spec.hostPath, nfs=volume.spec.nfs)
    container = Container(
        name="pv-recycler",
        image=IMAGE,
        command=["/bin/sh"],
        args=["-c", SCRIPT],
        volumeMounts=[VolumeMount(name="vol", mountPath="/scrub")],
    )
    return Pod(
        metadata=ObjectMeta(name=f"{PREFIX}{volume.metadata.name}", namespace=NAMESPACE),
        spec=PodSpec(
            activeDeadlineSeconds=seconds,
            restartPolicy="Never",
            volumes=[source],
            containers=[container],
        ),
    )


def is_to_recycle(volume: PersistentVolume) -> bool:
    """Return whether a volume waits to be emptied, perhaps after a failure."""
    return (
        volume.metadata.deletionTimestamp is None
        and volume.spec.persistentVolumeReclaimPolicy == "Recycle"
        and volume.status.phase in {"Released", "Failed"}
        and volume.spec.claimRef is not None
        and bool(recycled_source(volume))
    )


def unbound(volume: PersistentVolume) -> PersistentVolume:
    """Return a volume without its claim; one that a user reserved for a claim's name stays reserved."""
    meta, reference = volume.metadata, volume.spec.claimRef
    if BOUND_BY_CONTROLLER in meta.annotations or reference is None:
        others = {k: v for k, v in meta.annotations.items() if k != BOUND_BY_CONTROLLER}
        spec = replace(volume.spec, claimRef=None)
        return replace(volume, metadata=replace(meta, annotations=others), spec=spec)
    kept = replace(reference, uid="", resourceVersion="")
    return replace(volume, spec=replace(volume.spec, claimRef=kept))


class VolumeRecycler:
    """Reconciles volumes."""

    name = "persistent-volume-recycler"
    identity = "persistent-volume-binder"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._clock = context.clock
        self._volumes = context.mirror(PersistentVolume)
        self._claims = context.mirror(PersistentVolumeClaim)
        self._pods = context.mirror(Pod)
        self._made: dict[str, str] = {}  # uid of the recycler by uid of the volume
        self._retry_at: dict[str, datetime] = {}  # by uid of a volume that could not be emptied

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch volumes, and the pods that empty them."""
        return (
            Watch(PersistentVolume, where=_concerns),
            Watch(Pod, _volume_of, where=lambda before, after: _is_named(after or before)),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Empty a volume, or see how far its recycler is; return when to look again."""
        volume = self._volumes.get(key.name)
        if volume is None or not is_to_recycle(volume):
            self._forget()
            return None
        if seconds := self._pause_seconds(volume):
            return seconds
        if users := self._users(volume):
            text = f"Volume is used by pods: {','.join(users)}"
            self._events.event(volume, NORMAL, "VolumeFailedRecycle", text)
            return SYNC_SECONDS
        uid = volume.metadata.uid
        recycler = self._pods.get(f"{PREFIX}{key.name}", NAMESPACE)
        if recycler is None:
            if uid in self._made:
                del self._made[uid]
                return await self._failed(volume, "recycler pod was deleted")
            return await self._start(volume)
        if recycler.metadata.uid != self._made.get(uid):
            await self._delete(recycler)
            return await self._failed(volume, "old recycler pod found, will retry later")
        if not is_terminal(recycler):
            return None
        del self._made[uid]
        await self._delete(recycler)
        if recycler.status.phase == "Failed":
            message = recycler.status.message or "pod failed, pod.Status.Message unknown"
            return await self._failed(volume, f"failed to recycle volume: {message}")
        self._events.event(volume, NORMAL, "VolumeRecycled", "Volume recycled")
        await self._client.update(unbound(volume))
        return None

    def _forget(self) -> None:
        """Forget the recyclers of volumes that need none any more."""
        known = {one.metadata.uid for one in self._volumes.list() if is_to_recycle(one)}
        for uid in (self._made.keys() | self._retry_at.keys()) - known:
            self._made.pop(uid, None)
            self._retry_at.pop(uid, None)

    def _pause_seconds(self, volume: PersistentVolume) -> float:
        """Return how long a volume that could not be emptied has to wait still; 0: not at all."""
        retry_at, now = self._retry_at.get(volume.metadata.uid), self._clock.now()
        return max((retry_at - now).total_seconds(), 0.0) if retry_at is not None else 0.0

    def _users(self, volume: PersistentVolume) -> list[str]:
        """Return the pods that still use a volume whose claim is gone; a namesake of the claim has its own volume."""
        reference = volume.spec.claimRef
        assert reference is not None
        if self._claims.get(reference.name, reference.namespace) is not None:
            return []
        return sorted(
            f"{pod.metadata.namespace}/{pod.metadata.name}"
            for pod in self._pods.list()
            if pod.metadata.namespace == reference.namespace
            and not is_terminal(pod)
            and any(name == reference.name for name, _ in claim_names(pod))
        )

    async def _start(self, volume: PersistentVolume) -> float | None:
        try:
            made = await self._client.create(recycler_for(volume))
        except AlreadyExists:
            return SYNC_SECONDS  # it was just created: the mirror does not have it yet
        except APIError as error:
            return await self._failed(volume, f"unexpected error creating recycler pod:  {error}")
        self._made[volume.metadata.uid] = made.metadata.uid
        return None

    async def _delete(self, recycler: Pod) -> None:
        meta = recycler.metadata
        if meta.deletionTimestamp is None:
            await self._client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)

    async def _failed(self, volume: PersistentVolume, reason: str) -> float:
        """Report a failure; the volume is tried again later."""
        later = self._clock.now() + timedelta(seconds=SYNC_SECONDS)
        self._retry_at[volume.metadata.uid] = later
        text = f"Recycle failed: {reason}"
        since = format_time(self._clock.now())
        status = replace(volume.status, phase="Failed", message=text)
        if status != volume.status:
            status = replace(status, lastPhaseTransitionTime=since)
            await self._client.update(replace(volume, status=status), "status")
        self._events.event(volume, WARNING, "VolumeFailedRecycle", text)
        return SYNC_SECONDS


def _concerns(before: PersistentVolume | None, after: PersistentVolume | None) -> bool:
    return any(
        one is not None and one.spec.persistentVolumeReclaimPolicy == "Recycle"
        for one in (before, after)
    )


def _is_named(pod: Pod | None) -> bool:
    return (
        pod is not None
        and pod.metadata.namespace == NAMESPACE
        and pod.metadata.name.startswith(PREFIX)
    )


def _volume_of(pod: Pod) -> Sequence[Key]:
    return (Key("", pod.metadata.name.removeprefix(PREFIX)),)
