"""The scale subresource: the replicas of a workload as a Scale object."""

from typing import Any

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.machinery import causes
from kubelite.api.machinery.selectors import label_selector, labels_selector
from kubelite.api.machinery.shaping.go import GoShape

SHAPE = GoShape(Scale)
_CARRIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return the Scale of a workload."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    metadata = item["metadata"]
    shown: dict[str, Any] = {"replicas": status.get("replicas", 0)}
    if selector := selector_text(spec.get("selector")):
        shown["selector"] = selector
    wanted = spec.get("replicas") or 0
    return {
        "kind": Scale.gvk.kind,
        "apiVersion": Scale.gvk.api_version,
        "metadata": {name: metadata[name] for name in _CARRIED if name in metadata},
        "spec": {"replicas": wanted} if wanted else {},
        "status": shown,
    }


def selector_text(selector: dict[str, Any] | None) -> str:
    """Return a workload's selector in the syntax of a labelSelector parameter; "": none."""
    if not selector:
        return ""
    typed = "matchLabels" in selector or "matchExpressions" in selector
    return str(label_selector(selector) if typed else labels_selector(selector))


def put_scale(item: dict[str, Any], scale: dict[str, Any]) -> dict[str, Any]:
    """Set the replicas of `item`, which is changed, from a Scale; raises BadRequest and Invalid."""
    metadata = scale.get("metadata") or {}
    name = item["metadata"]["name"]
    if metadata.get("name", name) != name:
        raise BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        cause = causes.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise causes.invalid_object("Scale", "autoscaling", name, [cause])
    item["spec"]["replicas"] = replicas
    for field in ("resourceVersion", "uid"):
        if metadata.get(field):
            item["metadata"][field] = metadata[field]
        elif field == "resourceVersion":
            item["metadata"].pop(field, None)
    return item


class WorkloadScale:
    """The scale of a built-in workload, at the fields that all of them have."""

    shape = SHAPE

    def read(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the Scale of a workload."""
        return scale_of(item)

    def write(self, item: dict[str, Any], shown: dict[str, Any]) -> dict[str, Any]:
        """Return `item` with the replicas of a Scale; raises BadRequest and Invalid."""
        return put_scale(item, shown)
