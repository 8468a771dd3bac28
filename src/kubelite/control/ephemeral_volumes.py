"""Creates the claims of generic ephemeral volumes: those with a volumeClaimTemplate."""

from collections.abc import Sequence
from typing import Any

from kubelite.api.client.events import WARNING
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.pod_claims import claim_name, foreign_claim
from kubelite.control.ownership import controlled_by, controller_reference
from kubelite.control.pods import is_terminal
from kubelite.control.runtime import Context, Key, Watch


class NotOurs(Exception):
    """A claim of the name exists and is not the pod's."""


def claim_for(pod: Pod, volume: Volume) -> PersistentVolumeClaim:
    """Return the claim to create for a volume; the pod controls it."""
    assert volume.ephemeral is not None
    template = volume.ephemeral.volumeClaimTemplate
    assert template is not None
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name=claim_name(pod, volume),
            namespace=pod.metadata.namespace,
            labels=template.metadata.labels,
            annotations=template.metadata.annotations,
            ownerReferences=[controller_reference(pod)],
        ),
        spec=template.spec,
    )


class EphemeralVolumeController:
    """Reconciles pods with ephemeral volumes."""

    name = "ephemeral-volume-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods = context.mirror(Pod)
        self._claims = context.mirror(PersistentVolumeClaim)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch pods with ephemeral volumes, and deletions of their claims, which are created again."""
        return (
            Watch(Pod, where=_has_ephemeral),
            Watch(PersistentVolumeClaim, controlled_by(Pod), where=_is_deletion),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Create the claims that are missing."""
        pod = self._pods.get(key.name, key.namespace)
        if pod is None or pod.metadata.deletionTimestamp is not None or is_terminal(pod):
            return None
        for volume in pod.spec.volumes:
            if volume.ephemeral is not None and volume.ephemeral.volumeClaimTemplate is not None:
                await self._ensure(pod, claim_for(pod, volume))
        return None

    async def _ensure(self, pod: Pod, wanted: PersistentVolumeClaim) -> None:
        meta = wanted.metadata
        current = self._claims.get(meta.name, meta.namespace)
        if current is not None:
            if refusal := foreign_claim(pod, current):
                raise NotOurs(refusal)
            return
        try:
            await self._context.client.create(wanted)
        except APIError as error:
            text = f"ephemeral volume {meta.name}: {error.message}"
            self._context.events.event(pod, WARNING, "EphemeralVolume", text)
            raise


def _is_deletion(
    _before: PersistentVolumeClaim | None, after: PersistentVolumeClaim | None
) -> bool:
    return after is None


def _has_ephemeral(_before: Pod | None, after: Pod | None) -> bool:
    return after is not None and any(volume.ephemeral is not None for volume in after.spec.volumes)
