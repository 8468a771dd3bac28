"""Keeps equal parts of the metadata in a mirror once: labels, owner references and namespaces."""

import sys
from typing import Any

from msgspec.structs import force_setattr

from kubelite.api.kinds.object_metadata import ObjectMetadata

SHARED_MAX = 1024  # different labels and references that are remembered
_NO_LABELS: dict[str, str] = {}


class Sharing:
    """Replaces equal parts of successive objects by one."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def __call__(self, item: ObjectMetadata) -> None:
        """Replace parts of a fresh object, which nobody has seen yet."""
        kept = item.metadata
        if kept.namespace:
            force_setattr(kept, "namespace", sys.intern(kept.namespace))
        labels = self._one(tuple(kept.labels.items()), kept.labels) if kept.labels else _NO_LABELS
        force_setattr(kept, "labels", labels)
        if kept.ownerReferences:
            references = self._one(kept.ownerReferences, kept.ownerReferences)
            force_setattr(kept, "ownerReferences", references)

    def _one(self, key: Any, value: Any) -> Any:
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= SHARED_MAX:
                self._known.clear()
            found = self._known[key] = value
        return found
