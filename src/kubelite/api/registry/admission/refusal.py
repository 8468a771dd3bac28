"""The rejections of admission, and accessors for the objects that plugins check."""

from collections.abc import Sequence
from typing import Any

from kubelite.api.errors import Cause, Forbidden
from kubelite.api.registry.admission.request import AdmissionRequest


def forbidden(request: AdmissionRequest, reason: str, causes: Sequence[Cause] = ()) -> Forbidden:
    """Return the Forbidden error of a rejected write, worded as Kubernetes words it."""
    name = object_name(request)
    subject = request.resource.group_resource
    if name:
        subject += f' "{name}"'
    return Forbidden(
        f"{subject} is forbidden: {reason}",
        group=request.resource.group,
        kind=request.resource.plural,
        name=name,
        causes=causes,
    )


def object_name(request: AdmissionRequest) -> str:
    """Return the name of the written object."""
    if request.attributes.name:
        return request.attributes.name
    name: str = metadata(request.object or request.old or {}).get("name", "")
    return name


def is_main(request: AdmissionRequest, plural: str, group: str = "") -> bool:
    """Return whether the request writes an object of the resource, not a subresource."""
    return (
        request.resource.plural == plural
        and request.resource.group == group
        and not request.attributes.subresource
    )


def metadata(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object's metadata; empty if it has none."""
    return item.get("metadata") or {}


def spec(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object's spec, added if absent."""
    found = item.get("spec")
    if not isinstance(found, dict):
        found = item["spec"] = {}
    return found
