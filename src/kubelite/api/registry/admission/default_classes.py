"""DefaultStorageClass and DefaultIngressClass: set the default class on claims and ingresses without one."""

from collections.abc import Sequence
from typing import ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import IngressClass
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.registry.admission.refusal import is_main, metadata, spec
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

DEFAULT_STORAGE = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
DEFAULT_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)
STORAGE_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
INGRESS_ANNOTATION = "kubernetes.io/ingress.class"


class DefaultStorageClass:
    """Sets the default StorageClass of new claims."""

    name: ClassVar = "DefaultStorageClass"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def mutate(self, request: AdmissionRequest) -> None:
        """Set the newest default class if the object names none."""
        item = request.object
        if item is None or request.operation is not Verb.CREATE:
            return
        if not is_main(request, "persistentvolumeclaims") or STORAGE_ANNOTATION in _annotations(
            item
        ):
            return
        claim = spec(item)
        if claim.get("storageClassName") is None:
            classes = [found.metadata for found in self._lookup.list(StorageClass)]
            if name := newest_default(classes, DEFAULT_STORAGE):
                claim["storageClassName"] = name


class DefaultIngressClass:
    """Sets the default IngressClass of new ingresses."""

    name: ClassVar = "DefaultIngressClass"

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def mutate(self, request: AdmissionRequest) -> None:
        """Set the newest default class if the object names none."""
        item = request.object
        if item is None or request.operation is not Verb.CREATE:
            return
        if not is_main(
            request, "ingresses", "networking.k8s.io"
        ) or INGRESS_ANNOTATION in _annotations(item):
            return
        ingress = spec(item)
        if ingress.get("ingressClassName") is None:
            classes = [found.metadata for found in self._lookup.list(IngressClass)]
            if name := newest_default(classes, DEFAULT_INGRESS):
                ingress["ingressClassName"] = name


def newest_default(classes: Sequence[ObjectMeta], marks: Sequence[str]) -> str:
    """Return the name of the class marked as default, of several the newest, then the first by name; "": none."""
    marked = [
        meta for meta in classes if any(meta.annotations.get(mark) == "true" for mark in marks)
    ]
    newest = max((meta.creationTimestamp for meta in marked), default="")
    return min((meta.name for meta in marked if meta.creationTimestamp == newest), default="")


def _annotations(item: dict[str, object]) -> dict[str, str]:
    return metadata(item).get("annotations") or {}
