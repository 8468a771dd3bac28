"""DefaultStorageClass and DefaultIngressClass: set the default class on claims and ingresses without one."""

from collections.abc import Sequence
from typing import ClassVar

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.networking import IngressClass
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery.default_classes import (
    DEFAULT_INGRESS,
    DEFAULT_STORAGE,
    newest_default,
)
from kubelite.api.registry.admission.refusal import is_main, metadata, spec
from kubelite.api.registry.admission.request import AdmissionRequest, Verb

STORAGE_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
INGRESS_ANNOTATION = "kubernetes.io/ingress.class"


class _DefaultClass:
    """Names the default class in new objects that name none."""

    _resource: ClassVar[tuple[str, str]]  # plural and group
    _kind: ClassVar[type[StorageClass | IngressClass]]
    _marks: ClassVar[Sequence[str]]  # of the default class
    _annotation: ClassVar[str]  # which names a class, as the field does
    _field: ClassVar[str]

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def mutate(self, request: AdmissionRequest) -> None:
        """Set the newest default class if the object names none."""
        item = request.object
        if item is None or request.operation is not Verb.CREATE:
            return
        if not is_main(request, *self._resource):
            return
        if self._annotation in (metadata(item).get("annotations") or {}):
            return
        fields = spec(item)
        if fields.get(self._field) is None:
            classes = [found.metadata for found in self._lookup.list(self._kind)]
            if name := newest_default(classes, self._marks):
                fields[self._field] = name


class DefaultStorageClass(_DefaultClass):
    """Sets the default StorageClass of new claims."""

    name: ClassVar = "DefaultStorageClass"
    _resource = ("persistentvolumeclaims", "")
    _kind = StorageClass
    _marks = DEFAULT_STORAGE
    _annotation = STORAGE_ANNOTATION
    _field = "storageClassName"


class DefaultIngressClass(_DefaultClass):
    """Sets the default IngressClass of new ingresses."""

    name: ClassVar = "DefaultIngressClass"
    _resource = ("ingresses", "networking.k8s.io")
    _kind = IngressClass
    _marks = DEFAULT_INGRESS
    _annotation = INGRESS_ANNOTATION
    _field = "ingressClassName"
