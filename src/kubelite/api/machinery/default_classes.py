"""The class that objects without one get: which one of those that are marked as default."""

from collections.abc import Sequence

from kubelite.api.kinds.meta import ObjectMeta

DEFAULT_STORAGE = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
DEFAULT_INGRESS = ("ingressclass.kubernetes.io/is-default-class",)


def newest_default(classes: Sequence[ObjectMeta], marks: Sequence[str]) -> str:
    """Return the name of the class marked as default, of several the newest, then the first by name; "": none."""
    marked = [
        meta for meta in classes if any(meta.annotations.get(mark) == "true" for mark in marks)
    ]
    newest = max((meta.creationTimestamp for meta in marked), default="")
    return min((meta.name for meta in marked if meta.creationTimestamp == newest), default="")
