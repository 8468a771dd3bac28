"""The metadata of an object of any resource, as far as controllers of all resources read it.

Annotations and managed fields, which are most of an object's metadata, are not decoded.
"""

from msgspec import Struct

from kubelite.api.kinds.meta import OwnerReference


class KeptMetadata(Struct, frozen=True, gc=False, omit_defaults=True):
    """The fields of `ObjectMeta` that a mirror of metadata keeps."""

    deletionTimestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    name: str = ""
    namespace: str = ""
    ownerReferences: tuple[OwnerReference, ...] = ()
    resourceVersion: str = ""
    uid: str = ""


class ObjectMetadata(Struct, frozen=True, gc=False, omit_defaults=True):
    """An object of any resource, without all but its metadata."""

    metadata: KeptMetadata = KeptMetadata()
