"""Merge patch (RFC 7386) of objects as JSON values, and the door to JSON patch.

The document given is changed in place where that saves copies: pass one that nobody else holds.
"""

from typing import Any

from kubelite.api.errors import BadRequest
from kubelite.api.machinery.json_patch import json_patch

__all__ = ["json_patch", "merge_patch"]

JSON = dict[str, Any]


def merge_patch(document: JSON, patch: Any) -> JSON:
    """Apply a merge patch: null removes, objects merge, anything else replaces.

    Raises:
        BadRequest: The patch is no object.
    """
    if not isinstance(patch, dict):
        raise BadRequest("Invalid JSON Patch")
    return _merge(document, patch)


def _merge(target: JSON, patch: JSON) -> JSON:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            present = target.get(key)
            target[key] = _merge(present if isinstance(present, dict) else {}, value)
        else:
            target[key] = value
    return target
