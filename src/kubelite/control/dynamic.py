"""Objects of any resource of which a controller needs only the metadata."""

from functools import lru_cache

from kubelite.api.kinds.meta import PartialObjectMetadata
from kubelite.api.kinds.model import GroupVersionKind, ModelMeta
from kubelite.control.options import Resource


@lru_cache(maxsize=4096)
def metadata_kind(resource: Resource) -> type[PartialObjectMetadata]:
    """Return a type that has the resource's kind and only metadata; an update with it would drop the rest."""
    gvk = GroupVersionKind(resource.group, resource.version, resource.kind)
    made: type[PartialObjectMetadata] = ModelMeta(  # type: ignore[assignment]  # a class made from a base is a subclass
        f"{resource.kind}Metadata",
        (PartialObjectMetadata,),
        {"gvk": gvk, "__module__": __name__, "__doc__": f"Metadata of {resource.kind}."},
    )
    return made
