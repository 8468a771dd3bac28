"""Warnings about volumes, claims, storage classes and drivers."""

from collections.abc import Iterator

from kubelite.api.registry.rules.values import JSON, items, part
from kubelite.api.registry.rules.warnings.texts import (
    OLD_NODE_LABELS,
    node_requirements,
)
from kubelite.api.registry.rules.warnings.volumes import claim_spec, plugins

_CLASS = "volume.beta.kubernetes.io/storage-class"
_OPTIONS = "volume.beta.kubernetes.io/mount-options"
_CLASS_TEXT = 'deprecated since v1.8; use "storageClassName" attribute instead'
_OPTIONS_TEXT = 'deprecated since v1.31; use "mountOptions" attribute instead'
_TOKENS = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true "
    "to prevent possible logging of tokens in volume attributes"
)


def volume(thing: JSON) -> Iterator[str]:
    """Warn about a PersistentVolume."""
    spec, annotations = part(thing, "spec"), part(thing, "metadata", "annotations")
    for key, about in ((_CLASS, _CLASS_TEXT), (_OPTIONS, _OPTIONS_TEXT)):
        if key in annotations:
            yield f"metadata.annotations[{key}]: {about}"
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        yield (
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, "
            "the recommended approach is to use dynamic provisioning."
        )
    terms = items(part(spec, "nodeAffinity", "required"), "nodeSelectorTerms")
    for index, term in enumerate(terms):
        path = f"spec.nodeAffinity.required.nodeSelectorTerms[{index}].matchExpressions"
        yield from node_requirements(path, items(term, "matchExpressions"))
    yield from plugins("spec", spec)


def claim(thing: JSON) -> Iterator[str]:
    """Warn about a PersistentVolumeClaim."""
    if _CLASS in part(thing, "metadata", "annotations"):
        yield f"metadata.annotations[{_CLASS}]: {_CLASS_TEXT}"
    yield from claim_spec("spec", part(thing, "spec"))


def storage_class(thing: JSON) -> Iterator[str]:
    """Warn about the topologies of a StorageClass."""
    for index, topology in enumerate(items(thing, "allowedTopologies")):
        for place, expression in enumerate(items(topology, "matchLabelExpressions")):
            if (about := OLD_NODE_LABELS.get(expression.get("key", ""))) is not None:
                path = f"allowedTopologies[{index}].matchLabelExpressions[{place}].key"
                yield f"{path}: {about}"


def capacity(thing: JSON) -> Iterator[str]:
    """Warn about the nodes of a CSIStorageCapacity."""
    topology = part(thing, "nodeTopology")
    expressions = items(topology, "matchExpressions")
    yield from node_requirements("nodeTopology.matchExpressions", expressions)
    for label in topology.get("matchLabels") or ():
        if (about := OLD_NODE_LABELS.get(label)) is not None:
            yield f"nodeTopology.matchLabels.{label}: {about}"


def driver(thing: JSON) -> Iterator[str]:
    """Warn about a new CSIDriver."""
    spec = part(thing, "spec")
    if spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None:
        yield _TOKENS


def driver_update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about a CSIDriver whose token requests changed."""
    requests = part(thing, "spec").get("tokenRequests") or []
    if requests != (part(old, "spec").get("tokenRequests") or []):
        yield from driver(thing)
