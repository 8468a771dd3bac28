"""Merge patch (RFC 7386) of objects as JSON values, and errors common to all patches.

The document may be changed in place, which saves copies, so pass one that is not shared.
"""

from typing import Any

from kubelite.api.errors import BadRequest, Invalid
from kubelite.api.machinery import causes
from kubelite.api.machinery.json_patch import json_patch
from kubelite.api.machinery.mismatch import as_conversion, value_name
from kubelite.api.machinery.strategic import go_map

__all__ = ["json_patch", "merge_patch", "not_decodable", "not_mergeable"]

JSON = dict[str, Any]


def merge_patch(document: JSON, patch: Any) -> JSON:
    """Apply a merge patch: null removes, objects merge, anything else replaces.

    Raises:
        BadRequest: The patch is not an object.
    """
    if patch is None:
        raise BadRequest("Invalid JSON Patch")
    if not isinstance(patch, dict):
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {value_name(patch)} into Go value of type "
            "map[string]interface {}"
        )
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


def not_mergeable(patch: JSON, problem: str) -> Invalid:
    """Return the error for a strategic patch whose result does not fit the kind: a wrong type, an unknown field.

    Of the patch only names are shown, since Kubernetes prints the rest as Go does.
    """
    return not_decodable(go_map(patch), as_conversion(problem))


def not_decodable(shown: str, problem: str) -> Invalid:
    """Return the error for a patched object, shown as JSON, that does not fit its kind."""
    return causes.invalid_object("", "", "", [causes.invalid("patch", shown, problem)])
