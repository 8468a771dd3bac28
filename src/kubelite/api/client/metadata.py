"""Keeps equal parts of the metadata in a mirror once: labels, owner references and namespaces."""

import sys
from typing import Any

from msgspec.structs import force_setattr

from kubelite.api.kinds.meta import OwnerReference
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.limits import SHARED_METADATA

PART_MAX = 1024  # characters; what is remembered outlives its object, so it is short
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
        force_setattr(kept, "labels", self._labels(kept.labels))
        if kept.ownerReferences:
            references = self._references(kept.ownerReferences)
            force_setattr(kept, "ownerReferences", references)

    def _labels(self, labels: dict[str, str]) -> dict[str, str]:
        if not labels:
            return _NO_LABELS
        if sum(map(len, labels)) + sum(map(len, labels.values())) > PART_MAX:
            return labels
        found: dict[str, str] = self._one(tuple(labels.items()), labels)
        return found

    def _references(self, references: tuple[OwnerReference, ...]) -> tuple[OwnerReference, ...]:
        texts = ((one.apiVersion, one.kind, one.name, one.uid) for one in references)
        if sum(len(text) for one in texts for text in one) > PART_MAX:
            return references
        found: tuple[OwnerReference, ...] = self._one(references, references)
        return found

    def _one(self, key: Any, value: Any) -> Any:
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= SHARED_METADATA.value:
                SHARED_METADATA.reached()
                self._known.clear()
            found = self._known[key] = value
        return found
