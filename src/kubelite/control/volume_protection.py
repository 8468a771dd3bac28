"""Protects claims in use by pods, bound volumes, and attributes classes in use from deletion, by finalizers."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.storage import VolumeAttributesClass
from kubelite.api.machinery.pod_claims import claim_names, foreign_claim
from kubelite.control.pods import is_terminal
from kubelite.control.runtime import Context, Key, Watch

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
ATTRIBUTES_FINALIZER = "kubernetes.io/vac-protection"
CLAIM_INDEX = "claim"
ATTRIBUTES_INDEX = "attributes class"

K = TypeVar("K")
Guarded = PersistentVolumeClaim | PersistentVolume | VolumeAttributesClass


def claims_of_pod(pod: Pod) -> tuple[str, ...]:
    """Index pods by the claims they use."""
    namespace = pod.metadata.namespace
    return tuple(f"{namespace}/{name}" for name, _ in claim_names(pod))


def _uses(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    """Return whether a pod uses a claim whose name it has; not if the claim of an ephemeral volume is foreign."""
    names = claim_names(pod)
    is_named = any(name == claim.metadata.name and not is_own for name, is_own in names)
    return is_named or not foreign_claim(pod, claim)


class ClaimProtectionController:
    """Reconciles claims."""

    name = "pvc-protection-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._claims = context.mirror(PersistentVolumeClaim)
        self._pods = context.mirror(Pod)
        self._pods.add_index(CLAIM_INDEX, claims_of_pod)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch claims, and pods that stop using them."""
        return (Watch(PersistentVolumeClaim), Watch(Pod, _claims_of, where=_ends))

    async def reconcile(self, key: Key) -> float | None:
        """Add the finalizer to a live claim; remove it from one that is being deleted and unused."""
        claim = self._claims.get(key.name, key.namespace)
        if claim is None:
            return None
        await _guard(self._client, claim, CLAIM_FINALIZER, lambda: self._is_used(claim))
        return None

    def _is_used(self, claim: PersistentVolumeClaim) -> bool:
        """Return whether a pod that is bound and not terminal uses the claim."""
        meta = claim.metadata
        pods = self._pods.indexed(CLAIM_INDEX, f"{meta.namespace}/{meta.name}")
        return any(pod.spec.nodeName and not is_terminal(pod) and _uses(pod, claim) for pod in pods)


class VolumeProtectionController:
    """Reconciles persistent volumes."""

    name = "pv-protection-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._volumes = context.mirror(PersistentVolume)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch volumes."""
        return (Watch(PersistentVolume),)

    async def reconcile(self, key: Key) -> float | None:
        """Add the finalizer to a live volume; remove it from one that is being deleted and not bound."""
        volume = self._volumes.get(key.name)
        if volume is None:
            return None
        await _guard(self._client, volume, VOLUME_FINALIZER, lambda: volume.status.phase == "Bound")
        return None


def attributes_of_claim(claim: PersistentVolumeClaim) -> tuple[str, ...]:
    """Index claims by the attributes classes that they want, have, or are being changed to."""
    status = claim.status
    target = (
        status.modifyVolumeStatus.targetVolumeAttributesClassName
        if status.modifyVolumeStatus
        else ""
    )
    named = (claim.spec.volumeAttributesClassName, status.currentVolumeAttributesClassName, target)
    return tuple(dict.fromkeys(name for name in named if name))


def attributes_of_volume(volume: PersistentVolume) -> tuple[str, ...]:
    """Index volumes by their attributes class."""
    name = volume.spec.volumeAttributesClassName
    return (name,) if name else ()


class AttributesProtectionController:
    """Reconciles volume attributes classes."""

    name = "volumeattributesclass-protection-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._classes = context.mirror(VolumeAttributesClass)
        self._claims = context.mirror(PersistentVolumeClaim)
        self._claims.add_index(ATTRIBUTES_INDEX, attributes_of_claim)
        self._volumes = context.mirror(PersistentVolume)
        self._volumes.add_index(ATTRIBUTES_INDEX, attributes_of_volume)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch classes, and claims and volumes that stop using them."""
        return (
            Watch(VolumeAttributesClass),
            Watch(PersistentVolumeClaim, _keys(attributes_of_claim)),
            Watch(PersistentVolume, _keys(attributes_of_volume)),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Add the finalizer to a live class; remove it from one that is being deleted and unused."""
        found = self._classes.get(key.name)
        if found is None:
            return None
        await _guard(self._client, found, ATTRIBUTES_FINALIZER, lambda: self._is_used(key.name))
        return None

    def _is_used(self, name: str) -> bool:
        return bool(
            self._claims.indexed(ATTRIBUTES_INDEX, name)
            or self._volumes.indexed(ATTRIBUTES_INDEX, name)
        )


async def _guard(
    client: Client, item: Guarded, finalizer: str, is_used: Callable[[], bool]
) -> None:
    """Add the finalizer to a live object; remove it from one that is being deleted and unused."""
    finalizers = item.metadata.finalizers
    is_live, is_guarded = item.metadata.deletionTimestamp is None, finalizer in finalizers
    if is_live == is_guarded or (is_guarded and is_used()):
        return
    others = [name for name in finalizers if name != finalizer]
    wanted = [*others, finalizer] if is_live else others
    await client.update(replace(item, metadata=replace(item.metadata, finalizers=wanted)))


def _keys(named: Callable[[K], Iterable[str]]) -> Callable[[K], Iterable[Key]]:
    return lambda item: (Key("", name) for name in named(item))


def _claims_of(pod: Pod) -> Iterable[Key]:
    return (Key(*text.split("/", 1)) for text in claims_of_pod(pod))


def _ends(before: Pod | None, after: Pod | None) -> bool:
    return after is None or (is_terminal(after) and (before is None or not is_terminal(before)))
