"""The objects that a pod or persistent volume refers to, which its node must be able to read."""

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import msgspec

from kubelite.api.kinds.core.containers import Container, EphemeralContainer
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeSpec
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume

CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS = "configmaps", "secrets", "serviceaccounts"
CLAIMS, VOLUMES, RESOURCE_CLAIMS = "persistentvolumeclaims", "persistentvolumes", "resourceclaims"
MIRROR = "kubernetes.io/config.mirror"


class Reference(NamedTuple):
    """Resource, namespace and name of an object referred to."""

    resource: str
    namespace: str
    name: str


def references_of(pod: Pod) -> set[Reference]:
    """Return the objects that a pod refers to; none for a mirror pod, since the node itself creates it."""
    if MIRROR in pod.metadata.annotations:
        return set()
    names = set(_names(pod))
    namespace = pod.metadata.namespace
    return {Reference(resource, namespace, name) for resource, name in names if name}


def volume_secrets(volume: PersistentVolume) -> set[Reference]:
    """Return the Secrets that a node needs for a bound volume, without those that only controllers use."""
    claim = volume.spec.claimRef
    if claim is None:
        return set()
    found = set()
    for source in _sources(volume.spec):
        for field in source.__struct_fields__:
            ref = getattr(source, field)
            if field.lower().endswith("secretref") and not field.startswith("controller") and ref:
                found.add(Reference(SECRETS, ref.namespace or claim.namespace, ref.name))
        if name := getattr(source, "secretName", ""):
            place = getattr(source, "secretNamespace", None) or claim.namespace
            found.add(Reference(SECRETS, place, name))
    return found


def _names(pod: Pod) -> Iterator[tuple[str, str]]:
    spec = pod.spec
    yield SERVICE_ACCOUNTS, spec.serviceAccountName
    for ref in spec.imagePullSecrets:
        yield SECRETS, ref.name
    containers: list[Container | EphemeralContainer] = [*spec.initContainers, *spec.containers]
    for container in [*containers, *spec.ephemeralContainers]:
        yield from _container_names(container)
    for volume in spec.volumes:
        yield from _volume_names(volume)
        if volume.ephemeral is not None:
            yield CLAIMS, f"{pod.metadata.name}-{volume.name}"
    for claim in spec.resourceClaims:
        yield RESOURCE_CLAIMS, claim.resourceClaimName or ""
    for made in pod.status.resourceClaimStatuses:
        yield RESOURCE_CLAIMS, made.resourceClaimName or ""
    if extended := pod.status.extendedResourceClaimStatus:
        yield RESOURCE_CLAIMS, extended.resourceClaimName


def _container_names(container: Container | EphemeralContainer) -> Iterator[tuple[str, str]]:
    for source in container.envFrom:
        if source.configMapRef:
            yield CONFIG_MAPS, source.configMapRef.name
        if source.secretRef:
            yield SECRETS, source.secretRef.name
    for variable in container.env:
        if variable.valueFrom and variable.valueFrom.configMapKeyRef:
            yield CONFIG_MAPS, variable.valueFrom.configMapKeyRef.name
        if variable.valueFrom and variable.valueFrom.secretKeyRef:
            yield SECRETS, variable.valueFrom.secretKeyRef.name


def _volume_names(volume: Volume) -> Iterator[tuple[str, str]]:
    if volume.configMap:
        yield CONFIG_MAPS, volume.configMap.name
    if volume.persistentVolumeClaim:
        yield CLAIMS, volume.persistentVolumeClaim.claimName
    for projection in volume.projected.sources if volume.projected else []:
        if projection.configMap:
            yield CONFIG_MAPS, projection.configMap.name
        if projection.secret:
            yield SECRETS, projection.secret.name
    for source in _sources(volume):
        yield SECRETS, getattr(source, "secretName", "")
        for field in ("secretRef", "nodePublishSecretRef"):
            if ref := getattr(source, field, None):
                yield SECRETS, ref.name


def _sources(holder: Any) -> Iterator[Any]:
    """Yield the volume sources that are set and can name Secrets."""
    for field in SECRET_SOURCES[type(holder)]:
        if (value := getattr(holder, field)) is not None:
            yield value


def _source_fields(holder: type[Any]) -> tuple[str, ...]:
    """Return the fields whose type has a field with "secret" in its name."""
    return tuple(
        field.name for field in msgspec.structs.fields(holder) if _may_name_secrets(field.type)
    )


def _may_name_secrets(kind: Any) -> bool:
    types = get_args(kind) or (kind,)
    return any(
        "secret" in name.lower() for one in types for name in getattr(one, "__struct_fields__", ())
    )


SECRET_SOURCES = {kind: _source_fields(kind) for kind in (Volume, PersistentVolumeSpec)}
