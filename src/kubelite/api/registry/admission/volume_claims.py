"""StorageObjectInUseProtection, PersistentVolumeClaimResize: protect volumes in use, and limit resizing to classes."""

from typing import Any, ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.registry.admission.refusal import forbidden, is_main, metadata
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

FINALIZERS = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


class StorageObjectInUseProtection:
    """Adds to volumes and claims the finalizer that their protection controller removes."""

    name: ClassVar = "StorageObjectInUseProtection"

    async def mutate(self, request: AdmissionRequest) -> None:
        """Add the finalizer to a new volume or claim."""
        if (
            request.object is None
            or request.operation is not Verb.CREATE
            or request.attributes.subresource
        ):
            return
        finalizer = FINALIZERS.get((request.resource.group, request.resource.plural))
        if finalizer is None:
            return
        meta = request.object["metadata"]
        present = meta.get("finalizers") or []
        if finalizer not in present:
            meta["finalizers"] = [*present, finalizer]


class PersistentVolumeClaimResize:
    """Rejects growing a claim whose class does not allow volume expansion."""

    name: ClassVar = "PersistentVolumeClaimResize"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def validate(self, request: AdmissionRequest) -> None:
        """Check an update that grows a claim; raises Forbidden."""
        item, old = request.object, request.old
        if item is None or old is None or not is_main(request, "persistentvolumeclaims"):
            return
        if parse_quantity(_size(item)) <= parse_quantity(_size(old)):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise forbidden(request, "Only bound persistent volume claims can be expanded")
        name = _class_of(item)
        storage_class = (
            self._lookup.get(StorageClass, name) if name and name == _class_of(old) else None
        )
        if storage_class is None or not storage_class.allowVolumeExpansion:
            raise forbidden(
                request,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
                "must support resize",
            )


def _size(claim: dict[str, Any]) -> str:
    resources = (claim.get("spec") or {}).get("resources") or {}
    return str((resources.get("requests") or {}).get("storage", "0"))


def _class_of(claim: dict[str, Any]) -> str:
    annotated = (metadata(claim).get("annotations") or {}).get(CLASS_ANNOTATION)
    return annotated or (claim.get("spec") or {}).get("storageClassName") or ""
