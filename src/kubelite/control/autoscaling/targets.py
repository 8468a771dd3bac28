"""The target of an autoscaler: any resource with a scale subresource, found by its group and kind."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from kubelite.api.client.protocol import Object, ServedResource
from kubelite.api.kinds.autoscaling_v2 import CrossVersionObjectReference
from kubelite.control.ownership import group_of


class TargetUnknown(Exception):
    """No served resource has the group and kind; the message says so in Kubernetes' words."""


class ScaleOf(Struct, frozen=True):
    """The scale of a target."""

    spec_replicas: int
    status_replicas: int
    selector: str  # "" if it has none


def resource_of(
    reference: CrossVersionObjectReference, served: Sequence[ServedResource]
) -> ServedResource:
    """Return the resource of a reference; raises TargetUnknown."""
    group = group_of(reference.apiVersion)
    for one in served:
        if (one.group, one.kind) == (group, reference.kind):
            return one
    raise TargetUnknown(f'no matches for kind "{reference.kind}" in group "{group}"')


def scale_of(scale: Object) -> ScaleOf:
    """Return what a Scale says; its server may leave out what is zero."""
    spec: dict[str, Any] = scale.get("spec") or {}
    status: dict[str, Any] = scale.get("status") or {}
    return ScaleOf(
        spec.get("replicas") or 0, status.get("replicas") or 0, status.get("selector") or ""
    )
